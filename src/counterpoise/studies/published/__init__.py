"""The papers' published numbers: ``tables.csv``."""

from __future__ import annotations

import csv
from functools import cache
from importlib.resources import files
from typing import NamedTuple


class Published(NamedTuple):
    """A published number, in [0, 1], of a method in a line of a table.

    ``classes`` is ``all``, ``majority``, ``minority``, the name of a class, or the images of an accuracy.
    """

    setting: str
    method: str
    classes: str
    metric: str
    value: float


@cache
def published_numbers(table: str) -> tuple[Published, ...]:
    """Return the published numbers of a table, in the paper's order.

    Examples
    --------
    >>> published_numbers("poster-2")[2]
    Published(setting='mnist-mu0.3-ratio500', method='aos', classes='all', metric='f1', value=0.9292)
    """
    text = (files(__package__) / "tables.csv").read_text(encoding="utf-8")
    rows = [row for row in csv.reader(text.splitlines()) if row[0] == table]
    return tuple(Published(row[1], row[2], row[3], row[4], float(row[5])) for row in rows)
