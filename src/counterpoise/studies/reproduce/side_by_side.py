"""Published and measured numbers side by side."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, TypedDict

import pandas as pd

from counterpoise.evaluation import mean_interval
from counterpoise.studies.published import published_numbers
from counterpoise.studies.reproduce.tables import Table

#: Class groups and scores that are shown where a paper gives no numbers.
DEFAULT_KEYS = (("minority", "recall"), ("all", "recall"), ("all", "f1"), ("all", "gmean"))


class Side(NamedTuple):
    """One cell of a table: the published number, and the mean and 95 % interval over `n` of our repeats.

    ``method`` is without its options. Numbers are in [0, 1], None where there are none; intervals need two repeats.
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

    @property
    def half_width(self) -> float | None:
        """Half the width of the interval."""
        return None if self.low is None or self.high is None else (self.high - self.low) / 2

    @property
    def of_one_draw(self) -> tuple[float, float] | None:
        """95 % range of one further repeat of ours, as the papers have one; None for fewer than two repeats.

        ``mean ± t * s * sqrt(1 + 1/n)`` is ``sqrt(n + 1)`` times as wide as the interval of the mean, ``mean ± t * s /
        sqrt(n)``.
        """
        if self.mean is None or self.half_width is None:
            return None
        half = self.half_width * (self.n + 1) ** 0.5
        return self.mean - half, self.mean + half


class Agreement(TypedDict):
    """Distance of our numbers from the published ones, of a method or of ``"all"``.

    Of `compared` numbers, ours minus published is `difference` on average, and its absolute value `spread`. Of the
    `judged` ones, with two repeats or more, the published one is `inside` the range of one further repeat of ours,
    `above` or `below` it.
    """

    method: str
    compared: int
    difference: float | None
    spread: float | None
    judged: int
    inside: int
    above: int
    below: int


class Best(TypedDict):
    """Best methods of a row of a table, several where they tie.

    `same`: whether one of the best published is also best here, among the methods that have both numbers; None with
    fewer than two of those.
    """

    setting: str
    classes: str
    metric: str
    published: tuple[str, ...]
    ours: tuple[str, ...]
    same: bool | None


def record_name(label: str) -> str:
    """Return the method's name without its options.

    Examples
    --------
    >>> record_name("aos:eps=0.1")
    'aos'
    """
    return label.partition(":")[0]


def values_of(results: pd.DataFrame) -> dict[tuple[str, str, str, str], dict[int, float]]:
    """Return (setting, method, classes, metric) -> repeat -> value of a table in long format."""
    found: dict[tuple[str, str, str, str], dict[int, float]] = {}
    rows: Iterable[Any] = results.dropna(subset=["value"]).itertuples()
    for row in rows:
        key = (row.setting, record_name(row.method), str(row.classes), row.metric)
        found.setdefault(key, {})[int(row.draw)] = float(row.value)
    return found


def side_by_side(table: Table, results: pd.DataFrame) -> list[Side]:
    """Return every cell of a table, line by line, method by method: the published number beside our results."""
    numbers = published_numbers(table.name)
    published = {number[:4]: number.value for number in numbers}
    keys = list(dict.fromkeys((number.classes, number.metric) for number in numbers)) or DEFAULT_KEYS
    measured = values_of(results)
    sides = []
    for setting in table.settings:
        ours = [record_name(method) for method in setting.methods]
        theirs = [number.method for number in numbers if number.setting == setting.name]
        for method in dict.fromkeys([*ours, *theirs]):
            for classes, metric in keys:
                key = (setting.name, method, classes, metric)
                found = mean_interval(measured.get(key, {}).values())
                sides.append(Side(*key, published.get(key), *found[:4]))
    return sides


def agreement(sides: Iterable[Side]) -> list[Agreement]:
    """Return how far our numbers are from the published ones: of all methods together, then of each."""
    both = [side for side in sides if side.difference is not None]
    found = [_agreement("all", both)]
    for method in dict.fromkeys(side.method for side in both):
        found.append(_agreement(method, [side for side in both if side.method == method]))
    return found


def _agreement(method: str, both: Sequence[Side]) -> Agreement:
    differences = [side.difference for side in both if side.difference is not None]
    count = len(differences)
    ranges = [(s.published, *s.of_one_draw) for s in both if s.published is not None and s.of_one_draw]
    above = sum(value > high for value, _, high in ranges)
    below = sum(value < low for value, low, _ in ranges)
    return {
        "method": method,
        "compared": count,
        "difference": sum(differences) / count if count else None,
        "spread": sum(map(abs, differences)) / count if count else None,
        "judged": len(ranges),
        "inside": len(ranges) - above - below,
        "above": above,
        "below": below,
    }


def best_of(sides: Iterable[Side]) -> list[Best]:
    """Return the best of every row: one line of a table by one score."""
    rows: dict[tuple[str, str, str], list[Side]] = {}
    for side in sides:
        rows.setdefault((side.setting, side.classes, side.metric), []).append(side)
    found: list[Best] = []
    for (setting, classes, metric), row in rows.items():
        both = [side for side in row if side.difference is not None]
        same = (
            not set(_largest(both, "published")).isdisjoint(_largest(both, "mean")) if len(both) > 1 else None
        )
        theirs, ours = _largest(row, "published"), _largest(row, "mean")
        found.append(
            Best(setting=setting, classes=classes, metric=metric, published=theirs, ours=ours, same=same)
        )
    return found


def _largest(row: Sequence[Side], field: str) -> tuple[str, ...]:
    found = {side.method: getattr(side, field) for side in row if getattr(side, field) is not None}
    return tuple(name for name, value in found.items() if value == max(found.values()))
