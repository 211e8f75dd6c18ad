"""Losses: functions of logits and targets that training minimizes; unreduced values on request."""

from __future__ import annotations

from typing import TYPE_CHECKING

from counterpoise.balance._slot import open_slot
from counterpoise.catalogs import Entry

if TYPE_CHECKING:
    from counterpoise.balance.class_weights import class_weights, effective_number_weights
    from counterpoise.balance.losses.balanced_softmax import BalancedSoftmax
    from counterpoise.balance.losses.balpoe import BalPoELoss
    from counterpoise.balance.losses.base import ClassificationLoss
    from counterpoise.balance.losses.class_balanced import ClassBalancedLoss
    from counterpoise.balance.losses.cost_modified_softmax import CostModifiedSoftmax
    from counterpoise.balance.losses.cross_entropy import CrossEntropy
    from counterpoise.balance.losses.expected_cost import ExpectedCostLoss
    from counterpoise.balance.losses.focal import FocalLoss
    from counterpoise.balance.losses.ldam import LDAMLoss
    from counterpoise.balance.losses.sigmoid_cross_entropy import SigmoidCrossEntropy
    from counterpoise.balance.losses.vs_loss import VSLoss
    from counterpoise.balance.losses.weighted_cross_entropy import WeightedCrossEntropy

LOSSES, __getattr__, __dir__, __all__ = open_slot(
    __name__,
    "loss",
    [
        Entry(
            name="balanced-softmax",
            target="counterpoise.balance.losses.balanced_softmax:BalancedSoftmax",
            summary="Cross entropy of logits that are raised by the logarithms of the class counts.",
            source="Ren et al. 2020, Eq. 4; Menon et al. 2021, Eq. 10",
        ),
        Entry(
            name="balpoe",
            target="counterpoise.balance.losses.balpoe:BalPoELoss",
            summary="Mean of logit-adjusted cross entropies, each expert's with another weight of the class counts.",
            source="Sanchez Aimar et al. 2023 (BalPoE)",
        ),
        Entry(
            name="class-balanced-loss",
            target="counterpoise.balance.losses.class_balanced:ClassBalancedLoss",
            summary="Cross entropy or focal loss, weighted by the inverse effective number of samples.",
            source="Cui et al. 2019, Eq. 6",
        ),
        Entry(
            name="cost-modified-softmax",
            target="counterpoise.balance.losses.cost_modified_softmax:CostModifiedSoftmax",
            summary="Cross entropy of a softmax whose terms are multiplied by misclassification costs.",
            source="Khan et al. 2018",
        ),
        Entry(
            name="cross-entropy",
            target="counterpoise.balance.losses.cross_entropy:CrossEntropy",
            summary="Cross entropy, with optional label smoothing.",
            source="Szegedy et al. 2016, section 7",
        ),
        Entry(
            name="expected-cost-loss",
            target="counterpoise.balance.losses.expected_cost:ExpectedCostLoss",
            summary="Expected misclassification cost of a decision drawn from the softmax.",
            source="thesis, section 3.2.2",
        ),
        Entry(
            name="focal-loss",
            target="counterpoise.balance.losses.focal:FocalLoss",
            summary="Cross entropy that gives well-classified images less weight.",
            source="Lin et al. 2017, Eq. 5; thesis, Eq. 3.2",
        ),
        Entry(
            name="ldamloss",
            target="counterpoise.balance.losses.ldam:LDAMLoss",
            summary="Cross entropy with larger margins for rare classes, and deferred re-weighting.",
            source="Cao et al. 2019, Eq. 12-13",
        ),
        Entry(
            name="sigmoid-cross-entropy",
            target="counterpoise.balance.losses.sigmoid_cross_entropy:SigmoidCrossEntropy",
            summary="Sum of binary cross entropies, one class against all others.",
            source='lecture, "Sigmoid"',
        ),
        Entry(
            name="vs-loss",
            target="counterpoise.balance.losses.vs_loss:VSLoss",
            summary="Cross entropy of logits that are scaled and shifted by the class counts.",
            source="Kini et al. 2021 (VS-loss)",
        ),
        Entry(
            name="weighted-cross-entropy",
            target="counterpoise.balance.losses.weighted_cross_entropy:WeightedCrossEntropy",
            summary="Cross entropy times class weights from the inverse class shares.",
            source="thesis, Eq. 4.1 and Algorithm 2",
        ),
    ],
    {
        "LOSSES": __name__,
        "ClassificationLoss": "counterpoise.balance.losses.base",
        "class_weights": "counterpoise.balance.class_weights",
        "effective_number_weights": "counterpoise.balance.class_weights",
    },
)
