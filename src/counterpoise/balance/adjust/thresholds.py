"""Class thresholds, tuned on validation images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import log_expit, log_softmax, softmax
from sklearn.metrics import roc_curve

from counterpoise.balance.adjust._threshold_search import (
    CLASS_SCORES,
    DecisionScore,
    MacroScore,
    NegativeCost,
    search_offsets,
)
from counterpoise.balance.adjust.base import Adjustment, highest_at_zero, tensor_highest_at_zero
from counterpoise.balance.costs import Costs, read_costs
from counterpoise.exceptions import InputError, UnknownNameError

if TYPE_CHECKING:
    from torch import Tensor


NONE, YOUDEN = "none", "youden"
# Of a class that has all validation images, or none.
PLAIN_THRESHOLD = 0.5


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


class SigmoidScores(Adjustment):
    """log sigmoid(z_c) - log t_c, for a network with one binary decision per class (lecture, "Sigmoid").

    Parameters
    ----------
    thresholds : str, default="none"
        "none": all equal. "youden": the threshold with the highest Youden's J of each class against all others on the
        validation images (Youden 1950). A score ("gmean", "f1", "recall", "precision", "specificity", "accuracy"):
        those that maximize it on the validation images for all classes together, as in `ClassThresholds`.

    Notes
    -----
    The decision is ``argmax_c sigmoid(z_c) / t_c``; the softmax of the adjusted logits is these quotients, scaled to
    sum 1. Such a network is trained with binary cross entropy, and its sigmoids do not sum to 1.

    Helps: outputs of a one-vs-rest network keep their meaning, and each class can have a threshold.

    Hurts: thresholds tuned on a handful of validation images of a class overfit them.

    Examples
    --------
    >>> from scipy.special import softmax
    >>> adjustment = SigmoidScores().fit(None, None, [90, 10])
    >>> softmax(adjustment.transform([[0.0, -np.log(3)]]), axis=1).round(3)  # sigmoids of 1/2 and 1/4
    array([[0.667, 0.333]])
    """

    def __init__(self, *, thresholds: str = NONE) -> None:
        self.thresholds = thresholds

    @property
    def needs_logits(self) -> bool:
        """Whether thresholds are tuned."""
        return self.thresholds != NONE

    def _fit(self, logits: np.ndarray, labels: np.ndarray, class_counts: np.ndarray) -> None:
        num_classes = len(class_counts)
        if self.thresholds == NONE:
            self.offset_ = np.zeros(num_classes)
        elif self.thresholds == YOUDEN:
            cuts = [_youden_log_threshold(labels == c, log_expit(logits[:, c])) for c in range(num_classes)]
            self.offset_ = -np.array(cuts)
        elif self.thresholds in CLASS_SCORES:
            objective = MacroScore(self.thresholds, labels, num_classes)
            self.offset_ = search_offsets(log_expit(logits), labels, class_counts, objective)
        else:
            raise UnknownNameError("kind of thresholds", str(self.thresholds), {NONE, *CLASS_SCORES})

    def _transform(self, logits: np.ndarray) -> np.ndarray:
        return highest_at_zero(log_expit(logits) + self.offset_)

    def _transform_tensor(self, logits: Tensor) -> Tensor:
        from torch.nn.functional import logsigmoid

        return tensor_highest_at_zero(logsigmoid(logits) + logits.new_tensor(self.offset_))


def _youden_log_threshold(positive: np.ndarray, log_scores: np.ndarray) -> float:
    """Return the logarithm of the highest of the thresholds with the best recall + specificity - 1."""
    if positive.all() or not positive.any():
        return float(np.log(PLAIN_THRESHOLD))
    fpr, tpr, thresholds = roc_curve(positive, log_scores)
    best = int(np.argmax(np.round(tpr - fpr, 12)))  # rounding must not decide between equals
    # The first is infinite: no cut is better than none.
    return float(thresholds[best] if best else log_scores.max())
