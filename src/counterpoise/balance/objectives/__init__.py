"""Objectives: losses over embeddings of the whole training set."""

from __future__ import annotations

from typing import TYPE_CHECKING

from counterpoise.balance._slot import open_slot
from counterpoise.catalogs import Entry

if TYPE_CHECKING:
    from counterpoise.balance.objectives.base import Embedder, Objective
    from counterpoise.balance.objectives.dos import DOS
    from counterpoise.balance.objectives.lmle import LMLE

OBJECTIVES, __getattr__, __dir__, __all__ = open_slot(
    __name__,
    "objective",
    [
        Entry(
            name="dos",
            target="counterpoise.balance.objectives.dos:DOS",
            summary="Deep oversampling: classification loss at mixtures of an embedding and its in-class neighbors.",
            source="Ando & Huang 2017; thesis, section 3.3.2",
        ),
        Entry(
            name="lmle",
            target="counterpoise.balance.objectives.lmle:LMLE",
            summary="Large margin local embedding: hinge losses on distances within and between clusters and classes.",
            source="Huang et al. 2016; thesis, section 3.3.1",
        ),
    ],
    {
        "OBJECTIVES": __name__,
        "Embedder": "counterpoise.balance.objectives.base",
        "Objective": "counterpoise.balance.objectives.base",
    },
)
