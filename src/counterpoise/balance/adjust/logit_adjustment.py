"""Post-hoc logit adjustment."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from sklearn.metrics import recall_score

from counterpoise.balance.adjust.base import Adjustment
from counterpoise.exceptions import InputError

if TYPE_CHECKING:
    from torch import Tensor

CHOSEN = "validation"
TAUS = np.arange(0.0, 2.25, 0.25)


class LogitAdjustment(Adjustment):
    """logits - tau * log p_c, with p_c the class's share of the training set (Menon et al. 2021, Eq. 9).

    Parameters
    ----------
    tau : float or "validation", default=1.0
        Factor of the logarithms; 0 changes nothing. "validation": the one of 0, 0.25, .., 2 with the highest mean
        recall on the validation images (the smallest of equals).

    Attributes
    ----------
    offset_ : ndarray of float64, shape (C,)
        Added to the logits. 0 for a class without training images, which the formula would always predict.

    Notes
    -----
    ``z_c - tau * log p_c``. With tau = 1 the decision maximizes the mean recall, if the softmax of the logits gives the
    true probabilities under the training shares.

    Helps: any trained network, without training.

    Hurts: where training never learned a rare class, there is little to adjust.

    Examples
    --------
    >>> LogitAdjustment().fit(None, None, [3, 1]).transform([[0.0, 0.0]]).round(3)
    array([[0.288, 1.386]])
    """

    def __init__(self, *, tau: float | str = 1.0) -> None:
        self.tau = tau

    @property
    def needs_logits(self) -> bool:
        """Whether tau is chosen."""
        return self.tau == CHOSEN

    def _fit(self, logits: np.ndarray, labels: np.ndarray, class_counts: np.ndarray) -> None:
        logs = log_shares(class_counts)
        if self.tau == CHOSEN:
            recalls = [_macro_recall(labels, logits - tau * logs) for tau in TAUS]
            # Rounding must not decide between equals.
            self.tau_ = float(TAUS[np.argmax(np.round(recalls, 12))])
        elif isinstance(self.tau, (int, float)) and np.isfinite(self.tau):
            self.tau_ = float(self.tau)
        else:
            raise InputError(f"tau is {self.tau}; expected a number or {CHOSEN!r}")
        self.offset_ = -self.tau_ * logs

    def _transform(self, logits: np.ndarray) -> np.ndarray:
        return logits + self.offset_

    def _transform_tensor(self, logits: Tensor) -> Tensor:
        return logits + logits.new_tensor(self.offset_)


def log_shares(class_counts: np.ndarray) -> np.ndarray:
    """Return the logarithms of the class shares, float64 (C,); 0 for a class without images."""
    present = class_counts > 0
    logs = np.zeros(len(class_counts))
    logs[present] = np.log(class_counts[present] / class_counts.sum())
    return logs


def _macro_recall(labels: np.ndarray, logits: np.ndarray) -> float:
    decisions = logits.argmax(axis=1)
    return recall_score(labels, decisions, labels=np.unique(labels), average="macro", zero_division=0)
