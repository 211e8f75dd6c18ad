"""Heads: how a trained network's last layer is retrained or replaced, its embedding unchanged.

Examples
--------
>>> import torch
>>> from counterpoise.balance.heads import NearestMeanHead
>>> head = torch.nn.Linear(2, 2)
>>> z, y = torch.tensor([[0.0, 0.0], [0.0, 2.0], [4.0, 1.0]]), torch.tensor([0, 0, 1])
>>> NearestMeanHead().finish(NearestMeanHead().prepare(head, z, y), head)
>>> head(torch.tensor([[1.0, 1.0], [3.0, 1.0]])).argmax(dim=1)
tensor([0, 1])
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from counterpoise.balance._slot import open_slot
from counterpoise.catalogs import Entry

if TYPE_CHECKING:
    from counterpoise.balance.heads.stages import FineTunedHead as FineTunedHead
    from counterpoise.balance.heads.stages import HeadStage as HeadStage
    from counterpoise.balance.heads.stages import NearestMeanHead as NearestMeanHead
    from counterpoise.balance.heads.stages import NewHead as NewHead
    from counterpoise.balance.heads.stages import NormalisedHead as NormalisedHead
    from counterpoise.balance.heads.stages import ScaledHead as ScaledHead

HEADS, __getattr__, __dir__, __all__ = open_slot(
    __name__,
    "head",
    [
        Entry(
            name="fine-tuned-head",
            target="counterpoise.balance.heads.stages:FineTunedHead",
            summary="Continues training the head at a lower learning rate.",
            source="Havaei et al. 2017; Buda et al. 2018, section 2.3",
        ),
        Entry(
            name="nearest-mean-head",
            target="counterpoise.balance.heads.stages:NearestMeanHead",
            summary="Classifies by the nearest class mean of the embeddings (NCM).",
            source="Kang et al. 2020, section 4.2",
        ),
        Entry(
            name="new-head",
            target="counterpoise.balance.heads.stages:NewHead",
            summary="Trains a reinitialized head on the embeddings (cRT).",
            source="thesis, section 4.2; Kang et al. 2020, section 4.1",
        ),
        Entry(
            name="normalised-head",
            target="counterpoise.balance.heads.stages:NormalisedHead",
            summary="Divides each class's weight vector by a power of its length (tau-norm).",
            source="Kang et al. 2020, Eq. 4",
        ),
        Entry(
            name="scaled-head",
            target="counterpoise.balance.heads.stages:ScaledHead",
            summary="Learns one factor per class for the logits (LWS).",
            source="Kang et al. 2020, Eq. 5",
        ),
    ],
    {
        "HEADS": __name__,
        "HeadStage": "counterpoise.balance.heads.stages",
    },
)
