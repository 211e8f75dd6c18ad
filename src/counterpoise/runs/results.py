"""The long table ``results.csv``, one score a row, and what follows from it; ``summary.json``, as a page shows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict, cast

import numpy as np
import pandas as pd
from pydantic import Field

from counterpoise.evaluation import (
    BASELINE,
    GROUPS,
    METRICS,
    MeanEntry,
    MeanInterval,
    ScoreRow,
    ScoresDict,
    judge,
    mean_interval,
    paired_tests,
    scores_to_rows,
)
from counterpoise.exceptions import RunFolderError
from counterpoise.files import atomic_path, read_object
from counterpoise.runs.folder import RunFolder
from counterpoise.runs.records import Count, Items, Record, Scores, parse

_SETTING = ("dataset", "imbalance", "imbalance_ratio", "draw", "seed", "method")
RESULT_COLUMNS = (*_SETTING, "classes", "metric", "value")
MeanScores = dict[str, dict[str, MeanInterval]]
"""Class group -> metric -> mean over repeats with its 95 % interval."""


class ResultRow(ScoreRow):
    """Row of ``results.csv``."""

    dataset: str
    imbalance: str
    imbalance_ratio: float | None
    draw: int
    seed: int
    method: str


class PairedTestRow(TypedDict):
    """Entry ``tests`` of ``summary.json``."""

    metric: str
    classes: str
    a: str
    b: str
    n: int
    difference: float | None
    p_value: float | None
    p_adjusted: float | None


def result_rows(run: RunFolder, split: str = "test") -> list[ResultRow]:
    """Return the scores of one run as rows of ``results.csv``; an undefined score has no row."""
    record = run.record
    scores: Scores | None = getattr(run.metrics, split)
    if scores is None:
        return []
    counts = [n for n in record.dataset.counts.get("train") or () if n]
    measured = round(max(counts) / min(counts), 4) if counts else None
    common = {
        "dataset": record.dataset.name,
        "imbalance": record.imbalance.profile,
        # The nominal ratio of a made imbalance, the true one of a natural one.
        "imbalance_ratio": record.imbalance.raw.get("ratio") or measured,
        "draw": record.draw,
        "seed": record.seed,
        "method": record.method,
    }
    return [cast(ResultRow, common | row) for row in scores_to_rows(cast(ScoresDict, scores.raw))]


def results_table(runs: Sequence[RunFolder], split: str | None = "test") -> pd.DataFrame:
    """Return the scores of all runs in long format; with None, of the split that each run is scored on."""
    rows = [row for run in runs for row in result_rows(run, split or run.scored_split)]
    return pd.DataFrame(rows, columns=list(RESULT_COLUMNS))


def write_results(path: Path, table: pd.DataFrame) -> None:
    """Write a table in long format atomically."""
    with atomic_path(path) as temporary:
        table.to_csv(temporary, index=False)


def read_results(path: Path) -> pd.DataFrame:
    """Read ``results.csv`` of one comparison.

    Where a class has the name of a group (``all``), the first row counts, which is the group's. Raises RunFolderError
    if columns are missing, a value is not a number, or the file holds more than one comparison.
    """
    try:
        table = pd.read_csv(path, dtype=str, na_filter=False, encoding="utf-8")
    except (OSError, ValueError) as error:
        raise RunFolderError(f"cannot read {path}: {str(error).splitlines()[0]}") from error
    missing = sorted(set(RESULT_COLUMNS) - set(table.columns))
    if missing:
        raise RunFolderError(f"{path} lacks the column {missing[0]!r}; let `compare` write it again")
    for metric in table["metric"].unique():
        METRICS.get(metric)  # an unknown one raises UnknownNameError
    for column in ("draw", "value"):
        numbers = pd.to_numeric(table[column], errors="coerce")
        wrong = numbers.isna() & ~table[column].str.lower().isin(("", "nan"))
        if wrong.any():
            line = int(np.flatnonzero(wrong)[0])
            raise RunFolderError(f"{path}, line {line + 2}: {table[column][line]!r} is not a number")
        table[column] = numbers
    # A natural imbalance is measured, so it differs a little from repeat to repeat.
    ratio = table["imbalance_ratio"].where(table["imbalance"] != "natural", "")
    settings = {*zip(table["dataset"], table["imbalance"], ratio, strict=True)}
    if len(settings) > 1:
        raise RunFolderError(
            f"{path} holds {len(settings)} datasets or ratios; a report takes one comparison"
        )
    table["draw"] = table["draw"].astype(int)
    return table.drop_duplicates(["method", "draw", "classes", "metric"])


def mean_scores(table: pd.DataFrame, method: str) -> MeanScores:
    """Return mean and 95 % interval over repeats of each score of one method."""
    rows = table[table["method"] == method]
    found = {key: group["value"].tolist() for key, group in rows.groupby(["classes", "metric"], sort=False)}
    return {
        group: own
        for group in GROUPS.names
        if (own := {m: mean_interval(found[group, m]) for m in METRICS.names if (group, m) in found})
    }


def method_scores(table: pd.DataFrame, method: str) -> dict[str, dict[str, MeanEntry]]:
    """Return `mean_scores` ready for ``summary.json``."""
    return {
        group: {metric: mean.entry() for metric, mean in own.items()}
        for group, own in mean_scores(table, method).items()
    }


def by_draw(table: pd.DataFrame, metric: str, classes: str = "all") -> dict[str, dict[Any, float]]:
    """Return one metric as method -> repeat -> value."""
    rows = table[(table["metric"] == metric) & (table["classes"] == classes)]
    found: dict[str, dict[Any, float]] = {}
    for method, draw, value in zip(rows["method"], rows["draw"], rows["value"], strict=True):
        found.setdefault(method, {})[int(draw)] = float(value)
    return found


def best_method(values: Mapping[str, Mapping[int, float]], metric: str, *, repeats: int) -> str | None:
    """Return the method with the best mean, None without any; methods that lack repeats count only if all do.

    `values` are those on validation images (method -> repeat -> value): test images are never used for selection.
    """
    complete = {m: v for m, v in values.items() if len(v) == repeats} or values
    means = {method: METRICS[metric].gain(sum(v.values()) / len(v)) for method, v in complete.items() if v}
    return max(means, key=lambda method: means[method]) if means else None


def compare_methods(table: pd.DataFrame, metric: str) -> list[PairedTestRow]:
    """Return the paired tests between all methods on the same repeats, Holm-corrected."""
    tests = paired_tests(by_draw(table, metric))
    return [cast(PairedTestRow, {"metric": metric, "classes": "all"} | test._asdict()) for test in tests]


def verdict(table: pd.DataFrame, method: str, metric: str) -> tuple[bool | None, str]:
    """Return whether a method beats the baseline on the test images (None where that is no question), and a note."""
    values = by_draw(table, metric)
    if method == BASELINE:
        return None, "baseline: the other methods are compared with it"
    shared = sorted(set(values.get(BASELINE, {})) & set(values.get(method, {})))
    if not shared:
        return None, "not compared with the baseline: add bl to `methods`"
    gains = [METRICS[metric].gain(values[method][d], over=values[BASELINE][d]) for d in shared]
    gain = sum(gains) / len(shared)
    repeats = "1 repeat" if len(shared) == 1 else f"{len(shared)} repeats"
    if judge(MeanInterval(gain, None, None, len(shared))).holds:
        return True, f"better than the baseline by {gain:.3f} {metric} (mean of {repeats})"
    if gain == 0:
        return False, f"no better than the baseline ({repeats})"
    return False, f"worse than the baseline by {-gain:.3f} {metric} (mean of {repeats}): do not use it here"


class MeanRecord(Record):
    """Mean over repeats with its 95 % interval."""

    mean: float | None = None
    low: float | None = None
    high: float | None = None
    n: Count = 0


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
    """Read ``summary.json`` of a study folder; None where there is none. Damage raises RunFolderError."""
    path, remedy = folder / "summary.json", "run `compare` again"
    return parse(ComparisonSummary, read_object(path), path, remedy=remedy) if path.is_file() else None
