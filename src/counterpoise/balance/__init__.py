"""The counter-measures, one folder per slot: import them from the slot's package.

``from counterpoise.balance.losses import FocalLoss``; `SLOT_CATALOGS` names all components.
"""

from typing import TYPE_CHECKING

from counterpoise.catalogs import lazy_exports

if TYPE_CHECKING:
    from counterpoise.balance.catalog import SLOT_CATALOGS as SLOT_CATALOGS
    from counterpoise.balance.costs import read_costs as read_costs

__getattr__, __dir__, __all__ = lazy_exports(
    __name__, {"SLOT_CATALOGS": f"{__name__}.catalog", "read_costs": f"{__name__}.costs"}
)
