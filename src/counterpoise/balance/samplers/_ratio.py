"""Base class of samplers that reach a desired imbalance ratio."""

from __future__ import annotations

import math
from collections.abc import Mapping
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


def binary_classes(ratio: float, counts: Mapping[Any, int]) -> tuple[Any, Any]:
    """Return the smaller and the larger of two classes; InputError for more classes, or a ratio outside (0, 1]."""
    if len(counts) != 2:
        raise InputError(
            f"sampling_strategy={ratio} is a ratio of two classes, found {len(counts)}; give a dict"
        )
    if not 0 < ratio <= 1:
        raise InputError(f"sampling_strategy is {ratio}; a ratio must be in (0, 1]")
    small, large = sorted(counts, key=lambda label: counts[label])
    return small, large
