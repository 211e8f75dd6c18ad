"""Samplers that reach a desired imbalance ratio."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any, ClassVar

from counterpoise.balance.samplers.base import ImageSampler, RandomState, Strategy
from counterpoise.exceptions import InputError


class RatioSampler(ImageSampler):
    """Base of samplers that reach a desired imbalance ratio.

    Parameters
    ----------
    desired_ratio : float, default=1.0
        rho_d >= 1: largest class size over smallest class size afterwards, at most.
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **ImageSampler._parameter_constraints,
        "desired_ratio": [Real],
    }

    def __init__(
        self,
        *,
        desired_ratio: float = 1.0,
        sampling_strategy: Strategy = "auto",
        random_state: RandomState = None,
    ) -> None:
        super().__init__(sampling_strategy=sampling_strategy, random_state=random_state)
        self.desired_ratio = desired_ratio

    def _checked_ratio(self) -> float:
        if not (self.desired_ratio >= 1 and math.isfinite(self.desired_ratio)):
            raise InputError(f"desired_ratio is {self.desired_ratio}; expected a number of at least 1")
        return float(self.desired_ratio)

    def _refuse_unused_options(self) -> None:
        if self._checked_ratio() != 1:
            raise InputError(
                f"sampling_strategy gives the counts: desired_ratio={self.desired_ratio} has no effect"
            )


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
        small, large = _binary_classes(ratio, counts)
        return {small: int(ratio * counts[large])}


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
        small, large = _binary_classes(ratio, counts)
        return {large: int(counts[small] / ratio)}


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


def _binary_classes(ratio: float, counts: Mapping[Any, int]) -> tuple[Any, Any]:
    """Return the smaller and the larger of two classes; InputError for more classes, or a ratio outside (0, 1]."""
    if len(counts) != 2:
        raise InputError(
            f"sampling_strategy={ratio} is a ratio of two classes, found {len(counts)}; give a dict"
        )
    if not 0 < ratio <= 1:
        raise InputError(f"sampling_strategy is {ratio}; a ratio must be in (0, 1]")
    small, large = sorted(counts, key=lambda label: counts[label])
    return small, large
