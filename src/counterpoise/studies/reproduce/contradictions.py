"""Published numbers that contradict each other.

Every published number v was rounded to three decimals, so that it stands for all of [v - 0.0005, v + 0.0005]; a
contradiction is one that no values within these bounds could resolve.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TypedDict

from counterpoise.studies.published import Published

#: Class groups in the order of the papers' tables.
GROUPS = ("majority", "minority", "all")
ROUNDING = 0.0005 + 1e-9  # 1e-9 for the rounding of these sums themselves


class Contradiction(TypedDict):
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

    `minority_share` is the share of minority classes among all, where it is known: 0.4 in the thesis.

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
    >>> found["value"], round(found["expected"], 3)
    (0.8, 0.74)
    """
    columns: dict[tuple[str, str], dict[tuple[str, str], float]] = {}
    for setting, method, classes, metric, value in numbers:
        columns.setdefault((setting, method), {})[classes, metric] = value
    return [
        {
            "setting": setting,
            "method": method,
            "classes": classes,
            "metric": metric,
            "value": column[classes, metric],
            "expected": expected,
            "rule": rule,
        }
        for (setting, method), column in columns.items()
        for classes, metric, expected, rule in _rules(column, minority_share)
    ]


def _rules(
    column: Mapping[tuple[str, str], float], share: float | None
) -> Iterator[tuple[str, str, float, str]]:
    for metric in ("recall", "f1", "gmean"):
        parts = [column[group, metric] for group in GROUPS if (group, metric) in column]
        if share is None or len(parts) < len(GROUPS):
            continue
        majority, minority, value = parts
        low, expected, high = (
            _combined(max(0.0, majority + d), max(0.0, minority + d), share, metric)
            for d in (-ROUNDING, 0.0, ROUNDING)
        )
        if not low - ROUNDING <= value <= high + ROUNDING:
            rule = f"follows from {majority:.3f} of the common classes and {minority:.3f} of the rare ones"
            yield "all", metric, expected, rule
    for group in GROUPS:
        recall = column.get((group, "recall"))
        if recall is None:
            continue
        if column.get((group, "gmean"), 0.0) > recall + 2 * ROUNDING:
            rule = "is the most that a geometric mean of recalls can be, their arithmetic mean"
            yield group, "gmean", recall, rule
        precision = column.get((group, "precision"), 1.0)
        if (
            column.get((group, "f1"), 0.0)
            > _largest_f1(recall + ROUNDING, min(1.0, precision + ROUNDING)) + ROUNDING
        ):
            yield group, "f1", _largest_f1(recall, precision), "is the most that precision and recall allow"


def _combined(majority: float, minority: float, share: float, metric: str) -> float:
    if metric == "gmean":
        return majority ** (1 - share) * minority**share
    return (1 - share) * majority + share * minority


def _largest_f1(recall: float, precision: float) -> float:
    return 2 * recall * precision / (recall + precision) if recall + precision else 0.0
