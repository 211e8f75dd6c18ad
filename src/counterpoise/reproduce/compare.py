"""Published and measured numbers side by side."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import pandas as pd

from counterpoise.evaluation import mean_interval
from counterpoise.reproduce.published import Published
from counterpoise.reproduce.table import Table

#: Class groups and scores that are shown where a paper gives no numbers.
DEFAULT_KEYS = (("minority", "recall"), ("all", "recall"), ("all", "f1"), ("all", "gmean"))


class Side(NamedTuple):
    """One cell of a table: what was published, and what was measured here.

    Attributes
    ----------
    setting, method, classes, metric
        Which cell; ``method`` without its options.
    published : float or None
        In [0, 1]; None where the paper has no such number.
    mean, low, high : float or None
        Mean over draws and its 95 % interval; None where nothing was run, the interval for fewer than two draws.
    n : int
        How many draws.
    """

    setting: str
    method: str
    classes: str
    metric: str
    published: float | None
    mean: float | None
    low: float | None
    high: float | None
    n: int

    @property
    def difference(self) -> float | None:
        """Measured minus published."""
        return None if self.published is None or self.mean is None else self.mean - self.published


def record_name(label: str) -> str:
    """Return the method's name without its options.

    Examples
    --------
    >>> record_name("aos:eps=0.1")
    'aos'
    """
    return label.partition(":")[0]


def keys_of(numbers: Sequence[Published]) -> list[tuple[str, str]]:
    """Return the class groups and scores that a paper gives, in its order."""
    return list(dict.fromkeys((number.classes, number.metric) for number in numbers)) or list(DEFAULT_KEYS)


def values_of(results: pd.DataFrame) -> dict[tuple[str, str, str, str], dict[int, float]]:
    """Return (setting, method, classes, metric) -> draw -> value of a table in long format."""
    found: dict[tuple[str, str, str, str], dict[int, float]] = {}
    columns: Iterable[Any] = zip(
        *(results[c] for c in ("setting", "method", "classes", "metric", "draw", "value")), strict=True
    )
    for setting, method, classes, metric, draw, value in columns:
        if pd.notna(value):
            key = (setting, record_name(method), str(classes), metric)
            found.setdefault(key, {})[int(draw)] = float(value)
    return found


def side_by_side(table: Table, numbers: Sequence[Published], results: pd.DataFrame) -> list[Side]:
    """Return every cell of a table, line by line, method by method.

    Parameters
    ----------
    table : Table
        Which.
    numbers : sequence of Published
        The paper's.
    results : DataFrame
        Ours, as in ``results.csv``.
    """
    published = {number[:4]: number.value for number in numbers}
    measured = values_of(results)
    sides = []
    for setting in table.settings:
        ours = [record_name(method) for method in setting.methods]
        theirs = [number.method for number in numbers if number.setting == setting.name]
        for method in dict.fromkeys([*ours, *theirs]):
            for classes, metric in keys_of(numbers):
                key = (setting.name, method, classes, metric)
                found = mean_interval(measured.get(key, {}).values())
                sides.append(Side(*key, published.get(key), *found))
    return sides
