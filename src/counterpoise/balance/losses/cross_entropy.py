"""Cross entropy of the softmax."""

import torch.nn.functional as F
from torch import Tensor

from counterpoise.balance.losses.base import ClassificationLoss
from counterpoise.exceptions import InputError


class CrossEntropy(ClassificationLoss):
    """Cross entropy -log softmax(z)_y, with optional label smoothing.

    Parameters
    ----------
    label_smoothing : float in [0, 1), default=0.0
        Share of the target that is spread evenly over all classes (Szegedy et al. 2016, section 7).

    Notes
    -----
    Helps: where classes are about even, or only accuracy on the same class shares matters.

    Hurts: rare classes are missed; at an imbalance ratio of 100 some are hardly ever predicted.

    Examples
    --------
    >>> import torch
    >>> loss = CrossEntropy()
    >>> round(float(loss(torch.tensor([[0.23, 0.63, 0.14]]).log(), torch.tensor([1]))), 3)
    0.462
    """

    def __init__(self, *, label_smoothing: float = 0.0, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)
        if not 0.0 <= label_smoothing < 1.0:
            raise InputError(f"label_smoothing is {label_smoothing}; expected a number from 0 to below 1")
        self.label_smoothing = label_smoothing

    def _unreduced(self, logits: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(logits, targets, reduction="none", label_smoothing=self.label_smoothing)
