"""Types of ``summary.json``: what all studies write, and what those write that compare methods."""

from __future__ import annotations

from typing import TypedDict

from counterpoise.datasets import Grouping, ProfileDict
from counterpoise.evaluation import MeanEntry, WinnerDict
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


class GroupingEntry(TypedDict):
    """Images that stay together in every split, treatment of copies, and notes in words."""

    group: str | None
    duplicates: str
    notes: list[str]


def grouping_entry(grouping: Grouping) -> GroupingEntry:
    """Return the entry of a grouping in ``summary.json``."""
    return {"group": grouping.group, "duplicates": grouping.duplicates, "notes": list(grouping.notes)}


class _Described(TypedDict, total=False):
    what: str
    gain: MeanEntry | None


class MethodEntry(_Described):
    """One method: its scores on test images, and by metric on validation images; `what` describes a variant.

    `gain` is over the baseline, by the metric that decided.
    """

    method: str
    title: str
    n: int
    best: bool
    beats_baseline: bool | None
    note: str
    scores: GroupMeans
    validation: dict[str, MeanEntry]


class _Chosen(TypedDict, total=False):
    choice: WinnerDict | None
    notes: list[str]


class GridSummary(StudySummary, _Chosen):
    """Summary of methods on the same repeats; `notes` were said before training, `choice` is that of the winner."""

    dataset: str
    imbalance: ProfileDict
    metric: str
    methods: list[MethodEntry]
    tests: list[PairedTestRow]
    winner: str | None
    grouping: GroupingEntry
    command: str
    wall_seconds: float
