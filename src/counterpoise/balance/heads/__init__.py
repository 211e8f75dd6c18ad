"""Heads: how a trained network's last layer is retrained or replaced, its embedding unchanged."""

from __future__ import annotations

from typing import TYPE_CHECKING

from counterpoise.balance._slot import open_slot
from counterpoise.catalogs import Entry

if TYPE_CHECKING:
    from counterpoise.balance.heads.base import HeadStage
    from counterpoise.balance.heads.class_mean_head import ClassMeanHead
    from counterpoise.balance.heads.discriminant_head import DiscriminantHead
    from counterpoise.balance.heads.fine_tuned_head import FineTunedHead
    from counterpoise.balance.heads.nearest_mean_head import NearestMeanHead
    from counterpoise.balance.heads.new_head import NewHead
    from counterpoise.balance.heads.normalized_head import NormalisedHead
    from counterpoise.balance.heads.scaled_head import ScaledHead

HEADS, __getattr__, __dir__, __all__ = open_slot(
    __name__,
    "head",
    [
        Entry(
            name="class-mean-head",
            target="counterpoise.balance.heads.class_mean_head:ClassMeanHead",
            summary="Trains a cosine head that starts from the class means (LIFT).",
            source="Shi et al. 2024, section 4.2",
        ),
        Entry(
            name="discriminant-head",
            target="counterpoise.balance.heads.discriminant_head:DiscriminantHead",
            summary="Linear discriminant analysis with a shrunk covariance and equal priors (LDA).",
            source="Hastie et al. 2009, section 4.3; Ledoit and Wolf 2004",
        ),
        Entry(
            name="fine-tuned-head",
            target="counterpoise.balance.heads.fine_tuned_head:FineTunedHead",
            summary="Continues training the head at a lower learning rate.",
            source="Havaei et al. 2017; Buda et al. 2018, section 2.3",
        ),
        Entry(
            name="nearest-mean-head",
            target="counterpoise.balance.heads.nearest_mean_head:NearestMeanHead",
            summary="Classifies by the nearest class mean of the embeddings (NCM).",
            source="Kang et al. 2020, section 4.2",
        ),
        Entry(
            name="new-head",
            target="counterpoise.balance.heads.new_head:NewHead",
            summary="Trains a reinitialized head on the embeddings (cRT).",
            source="thesis, section 4.2; Kang et al. 2020, section 4.1",
        ),
        Entry(
            name="normalised-head",
            target="counterpoise.balance.heads.normalized_head:NormalisedHead",
            summary="Divides each class's weight vector by a power of its length (tau-norm).",
            source="Kang et al. 2020, Eq. 4",
        ),
        Entry(
            name="scaled-head",
            target="counterpoise.balance.heads.scaled_head:ScaledHead",
            summary="Learns one factor per class for the logits (LWS).",
            source="Kang et al. 2020, Eq. 5",
        ),
    ],
    {"HEADS": __name__, "HeadStage": "counterpoise.balance.heads.base"},
)
