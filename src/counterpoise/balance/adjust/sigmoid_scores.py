"""Scores of one-vs-rest sigmoids, with class thresholds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.special import log_expit
from sklearn.metrics import roc_curve

from counterpoise.balance.adjust._threshold_search import CLASS_SCORES, MacroScore, search_offsets
from counterpoise.balance.adjust.base import Adjustment, highest_at_zero, tensor_highest_at_zero
from counterpoise.exceptions import UnknownNameError

if TYPE_CHECKING:
    from torch import Tensor

NONE, YOUDEN = "none", "youden"
# Of a class that has all validation images, or none.
PLAIN_THRESHOLD = 0.5


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
