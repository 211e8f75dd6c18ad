"""Adjustments: changes of the logits after training."""

from __future__ import annotations

from typing import TYPE_CHECKING

from counterpoise.balance._slot import open_slot
from counterpoise.catalogs import Entry

if TYPE_CHECKING:
    from counterpoise.balance.adjust.base import Adjustment, adjustment_from_state
    from counterpoise.balance.adjust.class_thresholds import ClassThresholds
    from counterpoise.balance.adjust.expected_cost import ExpectedCost
    from counterpoise.balance.adjust.logit_adjustment import LogitAdjustment
    from counterpoise.balance.adjust.required_rates import RequiredRates
    from counterpoise.balance.adjust.sigmoid_scores import SigmoidScores
    from counterpoise.balance.adjust.temperature_scaling import TemperatureScaling

ADJUSTMENTS, __getattr__, __dir__, __all__ = open_slot(
    __name__,
    "adjustment",
    [
        Entry(
            name="class-thresholds",
            target="counterpoise.balance.adjust.class_thresholds:ClassThresholds",
            summary="A decision threshold for each class, tuned on validation images.",
        ),
        Entry(
            name="expected-cost",
            target="counterpoise.balance.adjust.expected_cost:ExpectedCost",
            summary="The decision of least expected cost.",
            source="Elkan 2001, Eq. 1",
        ),
        Entry(
            name="logit-adjustment",
            target="counterpoise.balance.adjust.logit_adjustment:LogitAdjustment",
            summary="Subtracts the scaled logarithms of the class shares.",
            source="Menon et al. 2021, Eq. 9",
        ),
        Entry(
            name="required-rates",
            target="counterpoise.balance.adjust.required_rates:RequiredRates",
            summary="Thresholds that keep a promise on the recall or precision of a class.",
            source="Angelopoulos et al. 2021, section 3; Clopper and Pearson 1934",
        ),
        Entry(
            name="sigmoid-scores",
            target="counterpoise.balance.adjust.sigmoid_scores:SigmoidScores",
            summary="One-vs-rest sigmoid scores, with a threshold for each class on request.",
            source='lecture, "Sigmoid"; Youden 1950',
        ),
        Entry(
            name="temperature-scaling",
            target="counterpoise.balance.adjust.temperature_scaling:TemperatureScaling",
            summary="Divides the logits by one temperature that calibrates the probabilities.",
            source="Guo et al. 2017, section 4.2",
        ),
    ],
    {
        "ADJUSTMENTS": __name__,
        "Adjustment": "counterpoise.balance.adjust.base",
        "adjustment_from_state": "counterpoise.balance.adjust.base",
    },
)
