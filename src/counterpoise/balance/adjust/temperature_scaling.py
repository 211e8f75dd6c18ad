"""Temperature scaling: calibration by one factor."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from scipy.optimize import brentq
from scipy.special import softmax

from counterpoise.balance.adjust.base import Adjustment, highest_at_zero, tensor_highest_at_zero

if TYPE_CHECKING:
    from torch import Tensor

# Range of the inverse temperature: without mistakes on the validation images the best one is infinite.
LOWEST, HIGHEST = 0.01, 100.0


class TemperatureScaling(Adjustment):
    """logits / T, with the temperature T that maximizes the likelihood of the validation labels (Guo et al. 2017, 4.2).

    Notes
    -----
    T is the same for all classes, in [0.01, 100], and above 1 for an overconfident network. Rows are shifted so that
    their largest value is exactly 0, which does not change the softmax and survives rounding.

    Helps: calibrated probabilities with the same decisions.

    Hurts: it corrects no decision, and one temperature cannot calibrate rare and common classes separately.

    Examples
    --------
    Three of four such images are of class 0, so that its probability should be 3/4:

    >>> from scipy.special import softmax
    >>> logits = [[5.0, 0.0]] * 4
    >>> adjustment = TemperatureScaling().fit(logits, [0, 0, 0, 1], [90, 10])
    >>> softmax(adjustment.transform(logits[:1]), axis=1).round(3)
    array([[0.75, 0.25]])
    """

    #: Addend of the logits, (C,), before they are divided; only a state sets it.
    offset_: ClassVar[np.ndarray | float] = 0.0

    def _fit(self, logits: np.ndarray, labels: np.ndarray, class_counts: np.ndarray) -> None:
        shifted = highest_at_zero(logits)
        of_label = shifted[np.arange(len(labels)), labels]

        def slope(inverse: float) -> float:
            expected = (softmax(inverse * shifted, axis=1) * shifted).sum(axis=1)
            return float((expected - of_label).mean())

        # The mean negative log-likelihood is convex in 1/T: this is its only minimum.
        self.temperature_ = 1.0 / _root_of_rising(slope)

    def _transform(self, logits: np.ndarray) -> np.ndarray:
        return highest_at_zero(logits + self.offset_) / self.temperature_

    def _transform_tensor(self, logits: Tensor) -> Tensor:
        return tensor_highest_at_zero(logits + logits.new_tensor(self.offset_)) / self.temperature_


def _root_of_rising(function: Callable[[float], float]) -> float:
    """Return the zero of a rising function, or the end of the range nearest to it; 1 if the function is flat."""
    low, high = function(LOWEST), function(HIGHEST)
    if low >= 0:
        return 1.0 if high <= 0 else LOWEST
    if high <= 0:
        return HIGHEST
    return float(brentq(function, LOWEST, HIGHEST, xtol=1e-12))
