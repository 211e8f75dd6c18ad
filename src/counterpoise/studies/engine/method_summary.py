"""Summaries of studies that compare methods."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NotRequired, TypedDict

import pandas as pd

from counterpoise.runs import RunFolder, method_scores, results_table
from counterpoise.studies.engine.tasks import FailedRun

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


class GridSummary(TypedDict):
    """Content of ``summary.json`` of a study of methods on repeats."""

    format: int
    dataset: str
    imbalance: dict[str, Any]
    draws: int
    metric: str
    methods: list[MethodSummary]
    tests: list[dict[str, Any]]
    winner: str | None
    failed: list[FailedRun]
    not_applicable: NotRequired[list[dict[str, Any]]]
    command: str
    wall_seconds: float


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
    """Return mean and interval of every score of a method, and the verdict of the study."""
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
