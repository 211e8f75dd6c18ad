"""The papers' tables: run again under their own protocols, side by side with what was published."""

from counterpoise.studies.reproduce.plan import TablePlan, plan_table
from counterpoise.studies.reproduce.study import Reproduced, missing_tasks, publish, reproduce_table
from counterpoise.studies.reproduce.tables import Setting, Table, all_tables, get_table

__all__ = [
    "Reproduced",
    "Setting",
    "Table",
    "TablePlan",
    "all_tables",
    "get_table",
    "missing_tasks",
    "plan_table",
    "publish",
    "reproduce_table",
]
