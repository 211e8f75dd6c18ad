"""Logit adjustment by the class shares."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from sklearn.metrics import recall_score

from counterpoise.balance.adjust.base import Adjustment, log_shares
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
    power : float in (0, 1], default=1.0
        q of the sampler under which the network was trained: 0.5 after square-root sampling.

    Notes
    -----
    ``z_c - tau * log p_c`` with ``p_c = n_c^q / sum_k(n_k^q)``. With tau = 1 the decision maximizes the
    mean recall, if the softmax of the logits gives the true probabilities under these shares.

    Helps: any trained network, without training.

    Hurts: where training never learned a rare class, there is little to adjust.

    Examples
    --------
    >>> LogitAdjustment().fit(None, None, [3, 1]).transform([[0.0, 0.0]]).round(3)
    array([[0.288, 1.386]])
    """

    added_options: ClassVar[dict[str, float]] = {"power": 1.0}

    def __init__(self, *, tau: float | str = 1.0, power: float = 1.0) -> None:
        if not 0 < power <= 1:
            raise InputError(f"power is {power}; expected a number above 0, at most 1")
        self.tau = tau
        self.power = power

    @property
    def needs_logits(self) -> bool:
        """Whether tau is chosen."""
        return self.tau == CHOSEN

    def _fit(self, logits: np.ndarray, labels: np.ndarray, class_counts: np.ndarray) -> None:
        logs = log_shares(class_counts**self.power)
        if self.tau == CHOSEN:
            decisions = [(logits - tau * logs).argmax(axis=1) for tau in TAUS]
            macro = partial(recall_score, labels=np.unique(labels), average="macro", zero_division=0)
            recalls = [macro(labels, decided) for decided in decisions]
            # Rounding must not decide between equals.
            self.tau_ = float(TAUS[np.argmax(np.round(recalls, 12))])
        elif isinstance(self.tau, (int, float)) and np.isfinite(self.tau):
            self.tau_ = float(self.tau)
        else:
            raise InputError(f"tau is {self.tau}; expected a number or {CHOSEN!r}")
        # 0 for a class without training images, which the formula would always predict.
        self.offset_ = -self.tau_ * logs

    def _transform(self, logits: np.ndarray) -> np.ndarray:
        return logits + self.offset_

    def _transform_tensor(self, logits: Tensor) -> Tensor:
        return logits + logits.new_tensor(self.offset_)
