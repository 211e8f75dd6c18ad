"""``summary.json`` of a comparison: conclusions that a page shows as they stand."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from counterpoise.evaluation import MeanInterval
from counterpoise.files import read_object
from counterpoise.runs.records import Count, Items, Record, parse


class MeanRecord(Record):
    """Mean over repeats with its 95 % interval."""

    mean: float | None = None
    low: float | None = None
    high: float | None = None
    n: Count = 0

    @property
    def interval(self) -> MeanInterval:
        """The same as a tuple."""
        return MeanInterval(self.mean, self.low, self.high, self.n)


class MethodSummary(Record):
    """One method: its scores on test images by class group and metric, and by metric on validation images."""

    method: str
    title: str = ""
    n: Count = 0
    best: bool = False
    beats_baseline: bool | None = None
    note: str = ""
    scores: dict[str, dict[str, MeanRecord]] = Field(default_factory=dict)
    validation: dict[str, MeanRecord] = Field(default_factory=dict)


class PairedTestRecord(Record):
    """Paired test between methods `a` and `b` on the same repeats."""

    a: str
    b: str
    metric: str
    classes: str
    difference: float | None = None
    p_value: float | None = None
    p_adjusted: float | None = None


class FailedRun(Record):
    """Run that failed, and why in one line."""

    method: str
    draw: int
    error: str


class ComparisonSummary(Record):
    """``summary.json``. `metric` chose `winner` on validation images."""

    metric: str = "gmean"
    dataset: str = ""
    draws: Count = 0
    methods: Items[MethodSummary] = ()
    tests: Items[PairedTestRecord] = ()
    winner: str | None = None
    failed: Items[FailedRun] = ()
    command: str | None = None
    wall_seconds: float | None = None


def read_summary(folder: Path) -> ComparisonSummary | None:
    """Read ``summary.json`` of a study folder; None where there is none.

    Raises
    ------
    RunFolderError
        If it is damaged.
    """
    path = folder / "summary.json"
    if not path.is_file():
        return None
    return parse(ComparisonSummary, read_object(path), path, remedy="run `compare` again")
