"""Objectives: what a step minimises where it takes more than the logits of its own batch."""

from counterpoise.balance.objectives.base import Embedder, Objective

__all__ = ["Embedder", "Objective"]
