"""The components of every slot, by name; importing it loads none of them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from counterpoise.balance.adjust import ADJUSTMENTS
from counterpoise.balance.features import FEATURES
from counterpoise.balance.heads import HEADS
from counterpoise.balance.losses import LOSSES
from counterpoise.balance.objectives import OBJECTIVES
from counterpoise.balance.perturb import PERTURBATIONS
from counterpoise.balance.samplers import SAMPLERS
from counterpoise.balance.steps import STEPS
from counterpoise.catalogs import Catalog, Entry

SLOT_CATALOGS: Mapping[str, Catalog[Entry]] = MappingProxyType(
    {
        "samplers": SAMPLERS,
        "perturb": PERTURBATIONS,
        "losses": LOSSES,
        "objectives": OBJECTIVES,
        "steps": STEPS,
        "features": FEATURES,
        "heads": HEADS,
        "adjust": ADJUSTMENTS,
    }
)
"""Folder of the slot under ``counterpoise.balance`` -> its components."""
