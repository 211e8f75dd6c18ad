"""Adjustments: what is done to the logits after training.

Examples
--------
>>> from counterpoise.balance.adjust import LogitAdjustment
>>> adjustment = LogitAdjustment().fit(None, None, [90, 10])
>>> adjustment.transform([[0.5, 0.0]]).argmax(axis=1)
array([1])
"""

from counterpoise.balance.adjust.base import Adjustment
from counterpoise.balance.adjust.class_thresholds import ClassThresholds
from counterpoise.balance.adjust.expected_cost import ExpectedCost
from counterpoise.balance.adjust.logit_adjustment import LogitAdjustment
from counterpoise.balance.adjust.sigmoid_scores import SigmoidScores
from counterpoise.balance.adjust.state import adjustment_from_state
from counterpoise.balance.adjust.temperature_scaling import TemperatureScaling

__all__ = [
    "Adjustment",
    "ClassThresholds",
    "ExpectedCost",
    "LogitAdjustment",
    "SigmoidScores",
    "TemperatureScaling",
    "adjustment_from_state",
]
