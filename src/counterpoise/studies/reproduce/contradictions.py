"""Published numbers that contradict each other.

Every published number v was rounded to three decimals, so that it stands for all of [v - 0.0005, v + 0.0005]; a
contradiction is one that no values within these bounds could resolve.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from counterpoise.studies.reproduce.published import Published

#: Class groups in the order of the papers' tables.
GROUPS = ("majority", "minority", "all")
ROUNDING = 0.0005 + 1e-9  # the latter for the rounding of these sums themselves

#: (classes, metric) -> value, of one method in one line of a table.
Column = Mapping[tuple[str, str], float]


class Contradiction(NamedTuple):
    """A published number, and the number (or bound) and rule that follow from the others."""

    setting: str
    method: str
    classes: str
    metric: str
    value: float
    expected: float
    rule: str


def find_contradictions(
    numbers: Iterable[Published], *, minority_share: float | None = None
) -> list[Contradiction]:
    """Return the contradictions among the published numbers of a table.

    Parameters
    ----------
    numbers : iterable of Published
    minority_share : float, optional
        Share of minority classes among all, where it is known: 0.4 in the thesis.

    Notes
    -----
    With a share s of rare classes, averages over all classes follow from those of the two groups: recall and F1
    are ``(1 - s) * majority + s * minority``, and the G-mean, the geometric mean of the classes' recalls, is
    ``majority**(1 - s) * minority**s``. A geometric mean is at most the arithmetic one, so the G-mean is at most
    the recall of the same classes. The F1 score of a class is the harmonic mean of its precision and recall; as
    that is concave in both, the mean F1 is at most the harmonic mean of the mean precision (at most 1 where it is
    not given) and the mean recall.

    Examples
    --------
    >>> cells = {"majority": 0.9, "minority": 0.5, "all": 0.8}
    >>> numbers = [Published("fashion", "bl", group, "recall", value) for group, value in cells.items()]
    >>> (found,) = find_contradictions(numbers, minority_share=0.4)
    >>> found.value, round(found.expected, 3)
    (0.8, 0.74)
    """
    columns: dict[tuple[str, str], dict[tuple[str, str], float]] = {}
    for number in numbers:
        column = columns.setdefault((number.setting, number.method), {})
        column[number.classes, number.metric] = number.value
    found = []
    for (setting, method), column in columns.items():
        for classes, metric, expected, rule in _rules(column, minority_share):
            value = column[classes, metric]
            found.append(Contradiction(setting, method, classes, metric, value, expected, rule))
    return found


def _rules(column: Column, share: float | None) -> Iterator[tuple[str, str, float, str]]:
    for metric in ("recall", "f1", "gmean"):
        parts = [column.get((group, metric)) for group in GROUPS]
        if share is not None and None not in parts:
            majority, minority, value = (part for part in parts if part is not None)
            low, expected, high = (
                combined(max(0.0, majority + d), max(0.0, minority + d), share, metric)
                for d in (-ROUNDING, 0.0, ROUNDING)
            )
            if not low - ROUNDING <= value <= high + ROUNDING:
                parts_words = f"{majority:.3f} of the common classes and {minority:.3f} of the rare ones"
                yield "all", metric, expected, f"follows from {parts_words}"
    for group in GROUPS:
        recall, gmean = column.get((group, "recall")), column.get((group, "gmean"))
        if recall is not None and gmean is not None and gmean > recall + 2 * ROUNDING:
            yield (
                group,
                "gmean",
                recall,
                "is the most that a geometric mean of recalls can be, their arithmetic mean",
            )
        f1 = column.get((group, "f1"))
        if recall is not None and f1 is not None:
            precision = column.get((group, "precision"))
            bound = largest_f1(recall, precision)
            widest = largest_f1(recall + ROUNDING, None if precision is None else precision + ROUNDING)
            if f1 > widest + ROUNDING:
                yield group, "f1", bound, "is the most that precision and recall allow"


def combined(majority: float, minority: float, share: float, metric: str) -> float:
    """Return the average over all classes that those of the two groups make.

    Examples
    --------
    >>> round(combined(0.908, 0.746, 0.4, "recall"), 4), round(combined(0.912, 0.554, 0.4, "gmean"), 3)
    (0.8432, 0.747)
    """
    if metric == "gmean":
        return majority ** (1 - share) * minority**share
    return (1 - share) * majority + share * minority


def largest_f1(recall: float, precision: float | None = None) -> float:
    """Return the largest mean F1 score that mean recall and precision allow; without the latter, with one of 1.

    Examples
    --------
    >>> round(largest_f1(0.5), 4), largest_f1(0.5, 0.5)
    (0.6667, 0.5)
    """
    other = 1.0 if precision is None else precision
    return 2 * recall * other / (recall + other) if recall + other else 0.0
