"""Class thresholds, tuned on validation images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import log_softmax, softmax

from counterpoise.balance.adjust._threshold_search import (
    DecisionScore,
    MacroScore,
    NegativeCost,
    search_offsets,
)
from counterpoise.balance.adjust.base import Adjustment, highest_at_zero, tensor_highest_at_zero
from counterpoise.balance.costs import Costs, read_costs
from counterpoise.exceptions import InputError

if TYPE_CHECKING:
    from torch import Tensor


class ClassThresholds(Adjustment):
    """Decide for argmax_c p_c / t_c, with thresholds t that maximize a score on the validation images.

    Parameters
    ----------
    score : {"gmean", "f1", "recall", "precision", "specificity", "accuracy", "youden"}, optional
        Score to maximize: the G-mean of the recalls, the accuracy, or the mean over classes of the score; "youden" is
        recall + specificity - 1. "gmean" by default.
    costs : path or array-like of float, shape (C, C), optional
        In place of a score: minimize the mean cost of a decision. Rows are true classes, columns decided ones; a file
        as `read_costs` reads it.
    class_names : sequence of str, optional
        The classes in their order, for a file of costs that names them.

    Notes
    -----
    The adjusted logits are ``log p_c - log t_c``; their softmax is the distribution that the network would give if
    class c were 1 / t_c times as frequent, up to a factor. With two classes and thresholds (1 - t, t), class 1 is
    decided for when its probability exceeds t. The search starts without thresholds and from those of logit adjustment,
    and moves one threshold after the other to its exact best value until nothing improves. It may end in a local
    optimum, but never below the score without thresholds. A class without validation images keeps the mean threshold.

    Helps: any trained network, any score.

    Hurts: with a handful of validation images of a rare class, its threshold overfits them.

    Examples
    --------
    The network never predicts class 1, but gives it a higher probability where it is right:

    >>> log_p = np.log([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.6, 0.4]])
    >>> adjustment = ClassThresholds().fit(log_p, [0, 0, 1, 1], [90, 10])
    >>> adjustment.transform(log_p).argmax(axis=1)
    array([0, 0, 1, 1])
    >>> bool(0.2 < adjustment.thresholds_[1] < 0.3)
    True
    """

    def __init__(
        self,
        *,
        score: str | None = None,
        costs: Costs | None = None,
        class_names: Sequence[str] | None = None,
    ) -> None:
        self.score = score
        self.costs = costs
        self.class_names = class_names

    @property
    def thresholds_(self) -> np.ndarray:
        """The thresholds t, float64 of shape (C,), scaled to sum to 1."""
        return softmax(-self.offset_)

    def _fit(self, logits: np.ndarray, labels: np.ndarray, class_counts: np.ndarray) -> None:
        objective: DecisionScore
        if self.costs is None:
            self.costs_ = None
            objective = MacroScore(self.score or "gmean", labels, len(class_counts))
        elif self.score is None:
            self.costs_ = read_costs(self.costs, len(class_counts), class_names=self.class_names)
            objective = NegativeCost(self.costs_)
        else:
            raise InputError(
                f"thresholds are tuned for a score ({self.score}) or by costs, not both; leave one out"
            )
        self.offset_ = search_offsets(log_softmax(logits, axis=1), labels, class_counts, objective)

    def _transform(self, logits: np.ndarray) -> np.ndarray:
        return highest_at_zero(log_softmax(logits, axis=1) + self.offset_)

    def _transform_tensor(self, logits: Tensor) -> Tensor:
        return tensor_highest_at_zero(logits.log_softmax(dim=1) + logits.new_tensor(self.offset_))
