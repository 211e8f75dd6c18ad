"""Class-balanced sampling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
from sklearn.utils._param_validation import Interval, StrOptions

from counterpoise.balance.deferral import first_epoch
from counterpoise.balance.samplers.base import ImageSampler, RandomState, Strategy
from counterpoise.exceptions import InputError


class ClassBalancedSampler(ImageSampler):
    """Class-balanced sampling: a random class first, then a random image of it.

    Parameters
    ----------
    power : float in [0, 1], default=0.0
        q of the formula: 0 takes all classes equally, 0.5 is square-root sampling, 1 takes all images equally.
    length : {"images", "oversampled"}, default="images"
        Draws per epoch: the number of images, or that of random oversampling, the number of classes times n_max.
    replacement : bool, default=True
        Whether an image may be drawn again before all others of its class were.
    defer_epochs : int or float, default=0
        Number of first epochs in which every image is taken once; a float in (0, 1) is a share of `epochs`. Needs
        :meth:`set_epoch`, which training calls.
    epochs : int, optional
        Number of epochs.
    sampling_strategy : str, dict, list or callable, default="auto"
        ``"auto"`` and ``"all"``: every class takes part. Other names, or a list of classes: only those share their
        images' total count, and the images of the other classes are kept once each. A dict: exact count
        from each class named in it.

    Notes
    -----
    Class c has the probability ``n_c^q / sum_k(n_k^q)`` (Kang et al. 2020, Eq. 1). Class sizes hold in expectation
    only.

    Helps: as random oversampling, without longer epochs.

    Hurts: the same few images are seen many times and memorized.

    Examples
    --------
    >>> labels = np.array([0] * 900 + [1] * 100)
    >>> indices = ClassBalancedSampler(random_state=0).resample_indices(labels)
    >>> len(indices), bool(abs(np.mean(labels[indices]) - 0.5) < 0.05)
    (1000, True)
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **ImageSampler._parameter_constraints,
        "power": [Interval(Real, 0, 1, closed="both")],
        "length": [StrOptions({"images", "oversampled"})],
        "replacement": ["boolean"],
        "defer_epochs": [Real],
        "epochs": [Integral, None],
    }

    def __init__(
        self,
        *,
        power: float = 0.0,
        length: str = "images",
        replacement: bool = True,
        defer_epochs: int | float = 0,
        epochs: int | None = None,
        sampling_strategy: Strategy = "auto",
        random_state: RandomState = None,
    ) -> None:
        super().__init__(sampling_strategy=sampling_strategy, random_state=random_state)
        self.power = power
        self.length = length
        self.replacement = replacement
        self.defer_epochs = defer_epochs
        self.epochs = epochs

    def set_epoch(self, epoch: int) -> None:
        """Start epoch `epoch`; in deferred epochs every image is taken once."""
        self._is_deferred = epoch < first_epoch(self.defer_epochs, self.epochs)

    def _class_targets(self, counts: Mapping[Any, int], chosen: Sequence[Any]) -> dict[Any, int]:
        sizes = [counts[label] for label in chosen]
        if getattr(self, "_is_deferred", False):
            return dict(zip(chosen, sizes, strict=True))
        expected = np.rint(self._total(sizes) * self._shares(sizes)).astype(int)
        return dict(zip(chosen, expected.tolist(), strict=True))

    def _total(self, sizes: Sequence[int]) -> int:
        return len(sizes) * max(sizes) if self.length == "oversampled" else sum(sizes)

    def _shares(self, counts: Sequence[int]) -> np.ndarray:
        raised = np.asarray(counts, dtype=np.float64) ** self.power
        return raised / raised.sum()

    def _draw(self, y: np.ndarray, targets: Mapping[Any, int], generator: np.random.Generator) -> np.ndarray:
        if getattr(self, "_is_deferred", False):
            return np.arange(len(y))
        members = {label: np.flatnonzero(y == label) for label in targets}
        others = np.flatnonzero(~np.isin(y, list(targets)))
        if not (isinstance(self.sampling_strategy, Mapping) or callable(self.sampling_strategy)):
            present = [len(rows) for rows in members.values()]
            sizes = generator.multinomial(self._total(present), self._shares(present))
            targets = dict(zip(targets, sizes.tolist(), strict=True))
            self.sampling_strategy_ = dict(targets)
        drawn = [self._draw_class(members[label], size, generator) for label, size in targets.items()]
        return np.concatenate([others, *drawn])

    def _draw_class(self, members: np.ndarray, size: int, generator: np.random.Generator) -> np.ndarray:
        if self.replacement:
            return generator.choice(members, size=size)
        rounds = [generator.permutation(members) for _ in range(-(-size // len(members)))]
        return np.concatenate([members[:0], *rounds])[:size]

    def _refuse_unused_options(self) -> None:
        for option, default in (("power", 0), ("length", "images")):
            value = getattr(self, option)
            if value != default:
                raise InputError(f"sampling_strategy gives the counts: {option}={value} has no effect")
