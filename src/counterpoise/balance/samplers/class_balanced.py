"""Class-balanced sampling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from counterpoise.balance.samplers.base import ImageSampler


class ClassBalancedSampler(ImageSampler):
    """Each draw takes a class at random, then one of its images at random.

    The epoch keeps its length; class sizes are equal in expectation only. Images are drawn with replacement
    (Kang et al. 2020, Eq. 1 with q = 0).

    Parameters
    ----------
    sampling_strategy : str, dict, list or callable, default="auto"
        ``"auto"`` and ``"all"``: every class takes part. Other names, or a list of classes: only those share
        their places, and the images of the other classes are kept once each. A dict: exactly so many draws
        from each class named in it.
    random_state : int, numpy Generator, RandomState or None, default=None
        Where the draws come from.

    Attributes
    ----------
    sampling_strategy_ : dict
        How many images each class that takes part has afterwards; after `fit` alone, what is expected.
    sample_indices_ : ndarray of int64, shape (n_new,)
        Which images were taken: those of classes that take no part, then the draws.

    Examples
    --------
    >>> import numpy as np
    >>> labels = np.array([0] * 900 + [1] * 100)
    >>> indices = ClassBalancedSampler(random_state=0).resample_indices(labels)
    >>> len(indices), bool(abs(np.mean(labels[indices]) - 0.5) < 0.05)
    (1000, True)
    """

    def _class_targets(self, counts: Mapping[Any, int], chosen: Sequence[Any]) -> dict[Any, int]:
        return dict.fromkeys(chosen, round(sum(counts[label] for label in chosen) / len(chosen)))

    def _draw(self, y: np.ndarray, targets: Mapping[Any, int], generator: np.random.Generator) -> np.ndarray:
        others = np.flatnonzero(~np.isin(y, list(targets)))
        if not (isinstance(self.sampling_strategy, Mapping) or callable(self.sampling_strategy)):
            sizes = generator.multinomial(len(y) - len(others), np.full(len(targets), 1 / len(targets)))
            targets = dict(zip(targets, sizes.tolist(), strict=True))
            self.sampling_strategy_ = dict(targets)
        drawn = [generator.choice(np.flatnonzero(y == label), size=size) for label, size in targets.items()]
        return np.concatenate([others, *drawn])
