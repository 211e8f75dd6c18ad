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
from counterpoise.balance.losses.class_balanced import ClassBalancedLoss
from counterpoise.balance.losses.class_weights import class_weights
from counterpoise.balance.losses.cost_modified_softmax import CostModifiedSoftmax
from counterpoise.balance.losses.cross_entropy import CrossEntropy
from counterpoise.balance.losses.effective_number import effective_number_weights
from counterpoise.balance.losses.expected_cost import ExpectedCostLoss
from counterpoise.balance.losses.focal import FocalLoss
from counterpoise.balance.losses.ldam import LDAMLoss
from counterpoise.balance.losses.sigmoid_cross_entropy import SigmoidCrossEntropy
from counterpoise.balance.losses.weighted_cross_entropy import WeightedCrossEntropy

__all__ = [
    "BalancedSoftmax",
    "ClassBalancedLoss",
    "ClassificationLoss",
    "CostModifiedSoftmax",
    "CrossEntropy",
    "ExpectedCostLoss",
    "FocalLoss",
    "LDAMLoss",
    "SigmoidCrossEntropy",
    "WeightedCrossEntropy",
    "class_weights",
    "effective_number_weights",
]
