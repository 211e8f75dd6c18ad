"""Post-hoc logit adjustment."""

from __future__ import annotations

import numpy as np

from counterpoise.balance.adjust.base import Adjustment
from counterpoise.exceptions import InputError


class LogitAdjustment(Adjustment):
    """logits - tau * log p_c, with p_c the class's share of the training set (Menon et al. 2021, Eq. 9).

    For tau = 1 the largest adjusted logit is that of the class that is best for the mean recall, if the
    softmax of the logits gives the true probabilities under the training shares.

    Parameters
    ----------
    tau : float, default=1.0
        How much of the shares is taken off; 0 changes nothing.

    Attributes
    ----------
    offset_ : ndarray of float64, shape (C,)
        What is added to the logits. 0 for a class without training images: dividing by its share would
        make a class that the network never saw win always.
    num_classes_ : int
        Width of the logits.

    Examples
    --------
    >>> LogitAdjustment().fit(None, None, [3, 1]).transform([[0.0, 0.0]]).round(3)
    array([[0.288, 1.386]])
    """

    needs_logits = False

    def __init__(self, *, tau: float = 1.0) -> None:
        self.tau = tau

    def _fit(self, logits: np.ndarray, labels: np.ndarray, class_counts: np.ndarray) -> None:
        if not np.isfinite(self.tau):
            raise InputError(f"tau is {self.tau}; expected a number")
        present = class_counts > 0
        self.offset_ = np.zeros(len(class_counts))
        self.offset_[present] = -self.tau * np.log(class_counts[present] / class_counts.sum())

    def _transform(self, logits: np.ndarray) -> np.ndarray:
        return logits + self.offset_
