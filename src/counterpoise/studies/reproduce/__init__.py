"""The papers' tables: run again under their own protocols, beside the published numbers."""

from typing import TYPE_CHECKING

from counterpoise.catalogs import lazy_exports

if TYPE_CHECKING:
    from counterpoise.studies.reproduce.page import closeness as closeness
    from counterpoise.studies.reproduce.page import verdicts as verdicts
    from counterpoise.studies.reproduce.plan import study_commands as study_commands
    from counterpoise.studies.reproduce.summary import TableSummary as TableSummary

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "closeness": f"{__name__}.page",
        "verdicts": f"{__name__}.page",
        "study_commands": f"{__name__}.plan",
        "TableSummary": f"{__name__}.summary",
    },
)
