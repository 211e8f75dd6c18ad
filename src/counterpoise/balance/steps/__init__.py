"""Steps: at which weights the gradient of a step is taken."""

from __future__ import annotations

from typing import TYPE_CHECKING

from counterpoise.balance._slot import open_slot
from counterpoise.catalogs import Entry

if TYPE_CHECKING:
    from counterpoise.balance.steps.base import GradientStep
    from counterpoise.balance.steps.sam import SAM

STEPS, __getattr__, __dir__, __all__ = open_slot(
    __name__,
    "step",
    [
        Entry(
            name="sam",
            target="counterpoise.balance.steps.sam:SAM",
            summary="Sharpness-aware minimization: the gradient where the loss nearby is highest.",
            source="Foret et al. 2021, Algorithm 1; Rangwani et al. 2022",
        )
    ],
    {"STEPS": __name__, "GradientStep": "counterpoise.balance.steps.base"},
)
