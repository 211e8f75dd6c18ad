"""The papers' published numbers, as CSV files."""

from __future__ import annotations

import csv
from functools import cache
from importlib.resources import files


@cache
def read_published(name: str) -> tuple[dict[str, str], ...]:
    """Return the rows of a file of published numbers, as text by column.

    Examples
    --------
    >>> read_published("learned-perturbation-accuracy.csv")[0]["classifier_accuracy"]
    '82.8'
    """
    text = (files(__package__) / name).read_text(encoding="utf-8")
    return tuple(csv.DictReader(text.splitlines()))


def accuracy_of(row: dict[str, str], column: str) -> float:
    """Return a percentage of a row as a share in [0, 1].

    Examples
    --------
    >>> accuracy_of({"aos": "73.69"}, "aos")
    0.7369
    """
    return round(float(row[column]) / 100, 6)
