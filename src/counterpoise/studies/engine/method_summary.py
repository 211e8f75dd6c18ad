"""Summary of the runs of one method, for studies that compare methods."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NotRequired, TypedDict

import pandas as pd

from counterpoise.runs import RunFolder, method_scores, results_table

GroupScores = dict[str, dict[str, dict[str, Any]]]
"""Class group -> metric -> mean, low, high, n."""


class MethodSummary(TypedDict):
    """Entry of ``methods`` in ``summary.json``."""

    method: str
    title: str
    what: NotRequired[str]
    n: int
    best: bool
    beats_baseline: bool | None
    note: str
    scores: GroupScores
    validation: dict[str, dict[str, Any]]


def method_summary(
    label: str,
    title: str,
    folders: Sequence[RunFolder],
    table: pd.DataFrame,
    *,
    best: bool = False,
    beats_baseline: bool | None = None,
    note: str = "",
) -> MethodSummary:
    """Return mean and interval of every score of a method.

    Parameters
    ----------
    label, title : str
        The method as in ``results.csv``, and its name for people.
    folders : sequence of RunFolder
        The finished runs of the study.
    table : DataFrame
        Their test scores in long format.
    best, beats_baseline, note
        Verdict of the study.
    """
    own = [folder for folder in folders if folder.record.method == label]
    return {
        "method": label,
        "title": title,
        "n": len({folder.record.draw for folder in own}),
        "best": best,
        "beats_baseline": beats_baseline,
        "note": note,
        "scores": method_scores(table, label),
        "validation": method_scores(results_table(own, "validation"), label).get("all", {}),
    }
