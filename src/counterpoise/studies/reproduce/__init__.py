"""The papers' tables: run again under their own protocols, beside the published numbers."""

from counterpoise.studies.reproduce.plan import TablePlan, plan_table
from counterpoise.studies.reproduce.study import Reproduced, ReproductionStudy, publish, reproduce_table
from counterpoise.studies.reproduce.tables import Setting, Table, all_tables, get_table

__all__ = [
    "Reproduced",
    "ReproductionStudy",
    "Setting",
    "Table",
    "TablePlan",
    "all_tables",
    "get_table",
    "plan_table",
    "publish",
    "reproduce_table",
]
