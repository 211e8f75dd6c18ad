"""Binary cross entropies of one-vs-rest sigmoids."""

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike
from torch import Tensor

from counterpoise.balance.class_weights import counts_as_array
from counterpoise.balance.losses.base import (
    ClassificationLoss,
    one_for_each_logit,
    towards_truth,
    values_of_classes,
)


class SigmoidCrossEntropy(ClassificationLoss):
    """Sum over the classes of the binary cross entropy of sigmoid(z_c) (lecture, "Sigmoid").

    Parameters
    ----------
    positive_weight : None, "inverse" or array-like of float, shape (C,), default=None
        Factor of a class's own images in the term of its output. None: all 1. "inverse": (n - n_c) / n_c, which gives
        them the same total weight as all other images.
    class_counts : array-like of int, shape (C,), optional
        Training samples of each class; for ``positive_weight="inverse"``.
    reduction : {"mean", "sum", "none"}, default="mean"
        See :class:`ClassificationLoss`; the mean is over samples, not over outputs.

    Notes
    -----
    ``sum_c -log s_c``, with s_c = 1 / (1 + exp(-z_c)) for the target and 1 minus that for all other classes. Each
    output decides for its own class; the sigmoids do not sum to 1. A one-vs-rest head has a bias of -log(C - 1) at the
    start, so each output starts at 1/C (Lin et al. 2017, section 3.3); ``head_layer=linear`` starts near 1/2.

    Helps: outputs with a meaning of their own, and a threshold for each class.

    Hurts: every class has all others against it, so a rare class is even rarer than under a softmax.

    Examples
    --------
    >>> loss = SigmoidCrossEntropy()
    >>> float(loss(torch.tensor([[0.0, 0.0, 0.0]]), torch.tensor([1])).exp().round(decimals=4))  # 2 for each class
    8.0
    """

    positive_weight: Tensor | None

    def __init__(
        self,
        *,
        positive_weight: str | ArrayLike | None = None,
        class_counts: ArrayLike | None = None,
        label_smoothing: float = 0.0,
        reduction: str = "mean",
    ) -> None:
        super().__init__(label_smoothing=label_smoothing, reduction=reduction)
        weights = values_of_classes("positive_weight", positive_weight, class_counts, _negatives_per_positive)
        self.register_buffer("positive_weight", weights, persistent=False)

    def _unreduced(self, logits: Tensor, targets: Tensor) -> Tensor:
        # binary_cross_entropy_with_logits takes z from softplus(z) + z for the other classes, which leaves few digits
        values = -F.logsigmoid(towards_truth(logits, targets))
        if self.positive_weight is not None:
            weighted = self._positive(logits) * values
            values = torch.where(F.one_hot(targets, logits.shape[1]).bool(), weighted, values)
        return values.sum(dim=1)

    def _mixed(self, logits: Tensor, targets: Tensor) -> Tensor:
        own = targets if self.positive_weight is None else targets * self._positive(logits)
        return -(own * F.logsigmoid(logits) + (1 - targets) * F.logsigmoid(-logits)).sum(dim=1)

    def _positive(self, logits: Tensor) -> Tensor:
        assert self.positive_weight is not None
        found = f"positive_weight is of {len(self.positive_weight)} classes"
        return one_for_each_logit(self.positive_weight, logits, found)


def _negatives_per_positive(class_counts: ArrayLike) -> np.ndarray:
    counts = counts_as_array(class_counts)
    # A class without samples has no positive ones.
    return np.divide(counts.sum() - counts, counts, out=np.zeros_like(counts), where=counts > 0)
