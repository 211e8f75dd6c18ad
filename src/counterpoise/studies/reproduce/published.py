"""The published numbers, one value at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from counterpoise.studies.published import accuracy_of, read_published
from counterpoise.studies.reproduce.tables import Table

Row = dict[str, str]


class Published(NamedTuple):
    """A published number, in [0, 1], of a method in a line of a table.

    ``classes`` is ``all``, ``majority``, ``minority`` or the name of a class.
    """

    setting: str
    method: str
    classes: str
    metric: str
    value: float


def published_numbers(table: Table) -> list[Published]:
    """Return the published numbers of a table, in the paper's order.

    Examples
    --------
    >>> from counterpoise.studies.reproduce.tables import get_table
    >>> published_numbers(get_table("poster-2"))[2]
    Published(setting='mnist-mu0.3-ratio500', method='aos', classes='all', metric='f1', value=0.9292)
    """
    if table.published is None:
        return []
    return list(_READERS[table.published](table, read_published(table.published)))


def _thesis(table: Table, rows: Sequence[Row]) -> Iterator[Published]:
    settings = {setting.ratio: setting.name for setting in table.settings}
    number = table.name.rpartition("-")[2]
    for row in rows:
        if row["table"] == number:
            setting = settings[float(row["imbalance_ratio"])]
            yield Published(setting, row["method"], row["classes"], row["metric"], float(row["value"]))


def _digits(table: Table, rows: Sequence[Row]) -> Iterator[Published]:
    for setting in table.settings:
        for row in rows:
            value = float(row[f"recall_rho_{setting.ratio:g}"])
            yield Published(setting.name, "bl", row["digit"], "recall", value)


def _imagenet(table: Table, rows: Sequence[Row]) -> Iterator[Published]:
    groups = {"min": "minority", "maj": "majority", "avg": "all", "test": "all"}
    metrics = {"pr": "precision", "re": "recall", "F1": "f1", "acc": "accuracy"}
    for row in rows:
        group, _, metric = row["metric"].partition("_")
        # Accuracy on training images is not measured here.
        for method in table.settings[0].methods if group in groups else ():
            yield Published(
                table.settings[0].name, method, groups[group], metrics[metric], float(row[method])
            )


def _poster(table: Table, rows: Sequence[Row]) -> Iterator[Published]:
    settings = {(s.data, s.share, s.ratio): s.name for s in table.settings}
    for row in rows:
        if row["table"] == table.name.rpartition("-")[2]:
            setting = settings[row["dataset"], float(row["mu"]), float(row["rho"])]
            for column, method in (("base", "bl"), ("ros", "ros"), ("aos", "aos")):
                yield Published(setting, method, "all", "f1", accuracy_of(row, column))


def _slides(table: Table, rows: Sequence[Row]) -> Iterator[Published]:
    settings = {setting.data: setting.name for setting in table.settings}
    for row in rows:
        for column, method in (("classifier_accuracy", "classifier"), ("combined_accuracy", "combined")):
            value = accuracy_of(row, column)
            yield Published(settings[row["dataset"]], method, row["evaluated_on"], "accuracy", value)


_READERS: dict[str, Callable[[Table, Sequence[Row]], Iterator[Published]]] = {
    "ados-thesis-tables.csv": _thesis,
    "ados-thesis-table-1.1.csv": _digits,
    "ados-thesis-table-7.5.csv": _imagenet,
    "aos-tables.csv": _poster,
    "learned-perturbation-accuracy.csv": _slides,
}
