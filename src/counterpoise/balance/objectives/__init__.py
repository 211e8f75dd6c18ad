"""Objectives: what a step minimises where it takes more than the logits of its own batch."""

from counterpoise.balance.objectives.base import Embedder, Objective
from counterpoise.balance.objectives.dos import DOS
from counterpoise.balance.objectives.lmle import LMLE

__all__ = ["DOS", "LMLE", "Embedder", "Objective"]
