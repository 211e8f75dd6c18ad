"""Over- and undersampling towards the mean class size."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from counterpoise.balance.samplers._ratio import RatioSampler


class ROSRUS(RatioSampler):
    """Over- and undersampling: classes meet around the mean class size m.

    Parameters
    ----------
    sampling_strategy : str, dict, list or callable, default="auto"
        See :class:`ImageSampler`; ``"auto"`` is ``"all"``.

    Notes
    -----
    Classes of more than ``m * sqrt(rho_d)`` images shrink to that (rounded down), classes of fewer than ``m /
    sqrt(rho_d)`` grow to that (rounded up), with m = n / C. An epoch therefore holds about as many images as the data
    (thesis, section 3.1.3, which does not define where the classes meet). Nothing changes where the ratio is rho_d or
    less already.

    Helps: it costs no more than a baseline epoch.

    Hurts: the few images of rare classes are repeated and memorized, less than under random oversampling.

    Examples
    --------
    >>> import numpy as np
    >>> indices = ROSRUS(random_state=0).resample_indices(labels := np.array([0] * 90 + [1] * 8 + [2] * 22))
    >>> np.bincount(labels[indices])
    array([40, 40, 40])
    """

    def _class_targets(self, counts: Mapping[Any, int], chosen: Sequence[Any]) -> dict[Any, int]:
        ratio = self._checked_ratio()
        sizes = list(counts.values())
        if max(sizes) <= ratio * min(sizes):
            return {label: counts[label] for label in chosen}
        mean = sum(sizes) / len(sizes)
        floor = math.ceil(mean / math.sqrt(ratio))
        # Rounding can turn them round (ratio 1 and a broken mean) or leave them too far apart (tiny classes).
        ceiling = min(max(math.floor(mean * math.sqrt(ratio)), floor), math.floor(floor * ratio))
        return {label: min(max(counts[label], floor), ceiling) for label in chosen}
