"""Perturbations: what happens to a batch's pixels."""

from counterpoise.balance.perturb.base import Perturbation, PerturbedBatch

__all__ = ["Perturbation", "PerturbedBatch"]
