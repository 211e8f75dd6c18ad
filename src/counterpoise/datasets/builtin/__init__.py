"""Built-in data sets: one record per set, found by looking at the modules of this folder.

To add one, put a module here that defines ``RECORDS``, a tuple of `DatasetRecord`.
"""

from __future__ import annotations

import importlib
import pkgutil

from counterpoise.datasets.builtin._record import DatasetRecord

__all__ = ["DATASETS", "DatasetRecord"]


def _discover() -> dict[str, DatasetRecord]:
    records: dict[str, DatasetRecord] = {}
    for module in pkgutil.iter_modules(__path__):
        if not module.name.startswith("_"):
            for record in importlib.import_module(f"{__name__}.{module.name}").RECORDS:
                records[record.name] = record
    return dict(sorted(records.items()))


#: Every built-in data set by name.
DATASETS: dict[str, DatasetRecord] = _discover()
