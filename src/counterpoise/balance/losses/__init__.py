"""Losses: what is minimised. Each takes logits and integer targets, and returns unreduced values on request.

Examples
--------
>>> import torch
>>> from counterpoise.balance.losses import BalancedSoftmax
>>> loss = BalancedSoftmax(class_counts=[90, 10], reduction="none")
>>> loss(torch.zeros(2, 2), torch.tensor([0, 1]))
tensor([0.1054, 2.3026])
"""

from counterpoise.balance.losses.balanced_softmax import BalancedSoftmax
from counterpoise.balance.losses.base import ClassificationLoss
from counterpoise.balance.losses.class_weights import class_weights
from counterpoise.balance.losses.cross_entropy import CrossEntropy
from counterpoise.balance.losses.weighted_cross_entropy import WeightedCrossEntropy

__all__ = ["BalancedSoftmax", "ClassificationLoss", "CrossEntropy", "WeightedCrossEntropy", "class_weights"]
