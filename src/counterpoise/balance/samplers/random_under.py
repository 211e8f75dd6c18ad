"""Random undersampling."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from counterpoise.balance.samplers._ratio import RatioSampler, binary_classes
from counterpoise.exceptions import InputError


class RUS(RatioSampler):
    """Random undersampling: a random part of the images of large classes (thesis, section 3.1.2; Buda et al. 2018).

    Parameters
    ----------
    sampling_strategy : str, float, dict, list or callable, default="auto"
        See :class:`ImageSampler`; ``"auto"`` is ``"not minority"``.

    Notes
    -----
    Every class shrinks to at most ``floor(n_min * rho_d)`` images. Resampling in each epoch changes which are left out.

    Helps: very short epochs; a first look.

    Hurts: most images are not used in an epoch, so it needs many epochs.

    Examples
    --------
    >>> import numpy as np
    >>> images, labels = np.zeros((7, 3, 8, 8)), np.array([0, 0, 0, 0, 0, 1, 1])
    >>> fewer_images, fewer_labels = RUS(random_state=0).fit_resample(images, labels)
    >>> fewer_images.shape, np.bincount(fewer_labels)
    ((4, 3, 8, 8), array([2, 2]))
    """

    _auto = "not minority"

    def _class_targets(self, counts: Mapping[Any, int], chosen: Sequence[Any]) -> dict[Any, int]:
        target = math.floor(min(counts.values()) * self._checked_ratio())
        return {label: min(counts[label], target) for label in chosen}

    def _check_target(self, label: Any, count: int, target: int) -> None:
        if target > count:
            raise InputError(f"RUS cannot grow class {label!r} from {count} to {target} images; use ROSRUS")

    def _binary_targets(self, ratio: float, counts: Mapping[Any, int]) -> dict[Any, int]:
        small, large = binary_classes(ratio, counts)
        return {large: int(counts[small] / ratio)}
