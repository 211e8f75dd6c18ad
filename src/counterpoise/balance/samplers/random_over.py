"""Random oversampling."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from counterpoise.balance.samplers._ratio import RatioSampler, binary_classes
from counterpoise.exceptions import InputError


class ROS(RatioSampler):
    """Random oversampling: copies of images of the small classes (thesis, section 3.1.1; Buda et al. 2018).

    Parameters
    ----------
    sampling_strategy : str, float, dict, list or callable, default="auto"
        See :class:`ImageSampler`; ``"auto"`` is ``"not majority"``.

    Notes
    -----
    Every class grows to at least ``ceil(n_max / rho_d)`` images; the copies are chosen again in each epoch.

    Helps: as class weights do, with a steadier gradient.

    Hurts: the same few images are seen many times and memorized; an epoch becomes longer.

    Examples
    --------
    >>> import numpy as np
    >>> images, labels = np.zeros((7, 3, 8, 8)), np.array([0, 0, 0, 0, 0, 1, 1])
    >>> more_images, more_labels = ROS(random_state=0).fit_resample(images, labels)
    >>> more_images.shape, np.bincount(more_labels)
    ((10, 3, 8, 8), array([5, 5]))
    """

    _auto = "not majority"

    def _class_targets(self, counts: Mapping[Any, int], chosen: Sequence[Any]) -> dict[Any, int]:
        target = math.ceil(max(counts.values()) / self._checked_ratio())
        return {label: max(counts[label], target) for label in chosen}

    def _check_target(self, label: Any, count: int, target: int) -> None:
        if target < count:
            raise InputError(
                f"{type(self).__name__} cannot shrink class {label!r} from {count} to {target} images; use ROSRUS"
            )

    def _binary_targets(self, ratio: float, counts: Mapping[Any, int]) -> dict[Any, int]:
        small, large = binary_classes(ratio, counts)
        return {small: int(ratio * counts[large])}
