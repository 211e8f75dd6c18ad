"""Cross entropy of the softmax."""

from collections.abc import Mapping
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor

from counterpoise.balance.losses.base import ClassificationLoss


class CrossEntropy(ClassificationLoss):
    """Cross entropy -log softmax(z)_y, with optional label smoothing.

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

    added_options: ClassVar[Mapping[str, object]] = {}

    def _unreduced(self, logits: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(logits, targets, reduction="none", label_smoothing=self.label_smoothing)

    _mixed = _unreduced

    def _smoothed(self, targets: Tensor, logits: Tensor) -> Tensor:
        # torch smooths them itself.
        return targets.to(logits.dtype) if targets.is_floating_point() else targets
