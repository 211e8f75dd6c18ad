"""From a table's runs to ``summary.json``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from counterpoise.experiments import Outcome
from counterpoise.experiments.results import COLUMNS as STUDY_COLUMNS
from counterpoise.reproduce.plan import TablePlan

COLUMNS = ("table", "setting", *STUDY_COLUMNS)


def summarise(
    plan: TablePlan, outcomes: Sequence[Outcome], table: pd.DataFrame, commands: Sequence[str]
) -> dict[str, Any]:
    """Return the content of ``summary.json``."""
    return {
        "format": 1,
        "table": plan.table.name,
        "failed": [
            {"method": o.plan.method, "draw": o.plan.draw, "error": o.error}
            for o in outcomes
            if o.error is not None
        ],
        "commands": list(commands),
    }
