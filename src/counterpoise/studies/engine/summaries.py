"""Types of ``summary.json``: what all studies write, and what those write that compare methods."""

from __future__ import annotations

from typing import TypedDict

from counterpoise.datasets import ProfileDict
from counterpoise.evaluation import MeanEntry
from counterpoise.runs import PairedTestRow

GroupMeans = dict[str, dict[str, MeanEntry]]
"""Class group -> metric -> mean."""


class MissingRun(TypedDict, total=False):
    """Run (`method`) or training (`name`) without a result: its `error`, or the `reason` why it does not apply."""

    method: str
    name: str
    draw: int
    error: str
    reason: str


class NotApplicable(TypedDict, total=False):
    """Runs that do not apply, where there are any."""

    not_applicable: list[MissingRun]


class StudySummary(NotApplicable):
    """What every study writes."""

    format: int
    draws: int
    failed: list[MissingRun]


class _Described(TypedDict, total=False):
    what: str


class MethodEntry(_Described):
    """One method: its scores on test images, and by metric on validation images; `what` describes a variant."""

    method: str
    title: str
    n: int
    best: bool
    beats_baseline: bool | None
    note: str
    scores: GroupMeans
    validation: dict[str, MeanEntry]


class GridSummary(StudySummary):
    """Summary of methods on the same repeats."""

    dataset: str
    imbalance: ProfileDict
    metric: str
    methods: list[MethodEntry]
    tests: list[PairedTestRow]
    winner: str | None
    command: str
    wall_seconds: float
