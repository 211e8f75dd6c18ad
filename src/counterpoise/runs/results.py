"""The long table ``results.csv``, one score a row, and what follows from it; ``summary.json``, as a page shows it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
from pydantic import Field

from counterpoise.evaluation import (
    GROUPS,
    METRICS,
    MeanEntry,
    MeanInterval,
    ScoreRow,
    ScoresDict,
    mean_interval,
    score_interval,
    scores_to_rows,
)
from counterpoise.exceptions import RunFolderError
from counterpoise.files import atomic_path, check_file, read_object
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
        table = pd.read_csv(check_file(path), dtype=str, na_filter=False, encoding="utf-8")
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


def mean_scores(
    table: pd.DataFrame, method: str, runs: Sequence[RunFolder] = (), split: str | None = "test"
) -> MeanScores:
    """Return mean and 95 % interval of each score of one method.

    The interval covers the images where `runs` have the confusion matrices of all repeats on `split` (None: the one
    that each is scored on), else only the repeats.
    """
    rows = table[table["method"] == method]
    grouped = rows.groupby(["classes", "metric"], sort=False)
    found = {cast(tuple[str, str], key): group["value"].tolist() for key, group in grouped}
    own = [run for run in runs if run.record.method == method]
    scored = [(run, scores) for run in own if (scores := getattr(run.metrics, split or run.scored_split))]
    rare = {len(run.record.dataset.minority) for run, _ in scored}
    sizes = {len(scores.per_class) for _, scores in scored}
    if len(scored) != rows["draw"].nunique() or len(rare) != 1 or len(sizes) != 1:
        return _by_group(found, lambda group, metric, values: mean_interval(values))
    matrices, images = [], []
    for run, scores in scored:
        # Classes are ordered by group, since the rare ones may differ from repeat to repeat.
        order = sorted(range(*sizes), key=lambda c: c not in run.record.dataset.minority)
        matrices.append(np.array(scores.confusion_matrix)[np.ix_(order, order)])
        support = scores.independent or [entry.support or 0 for entry in scores.per_class]
        images.append(np.array(support, dtype=np.float64)[order])
    independent = np.sum(images, axis=0) * distinct_share([run for run, _ in scored], split)
    members = {"all": range(*sizes), "minority": range(*rare), "majority": range(*rare, *sizes)}

    def interval(group: str, metric: str, values: list[float]) -> MeanInterval:
        return score_interval(metric, matrices, classes=members[group], values=values, images=independent)

    return _by_group(found, interval)


def _by_group(
    found: Mapping[tuple[str, str], list[float]], interval: Callable[[str, str, list[float]], MeanInterval]
) -> MeanScores:
    means = {
        group: {m: interval(group, m, found[group, m]) for m in METRICS.names if (group, m) in found}
        for group in GROUPS.names
    }
    return {group: own for group, own in means.items() if own}


def distinct_share(runs: Sequence[RunFolder], split: str | None = "test") -> float:
    """Return how many different images, as a share of all, the repeats are scored on together.

    An image that is in several repeats gives less new evidence each time: the share is (sum k)^2 / sum k^2 / sum k for
    images that are in k repeats. Where splits are not known, all repeats are taken to have the same images.
    """
    paths = [run.path / "manifest.json" for run in runs]
    if len(runs) < 2 or not all(path.is_file() for path in paths):
        return 1 / max(1, len(runs))
    found = [
        read_object(path).get(split or run.scored_split, []) for path, run in zip(paths, runs, strict=True)
    ]
    times = np.unique(
        np.concatenate([np.asarray(indices, dtype=np.int64) for indices in found]), return_counts=True
    )[1]
    return float(times.sum() / (times.astype(np.float64) ** 2).sum()) if len(times) else 1 / len(runs)


def method_scores(
    table: pd.DataFrame, method: str, runs: Sequence[RunFolder] = (), split: str = "test"
) -> dict[str, dict[str, MeanEntry]]:
    """Return `mean_scores` ready for ``summary.json``."""
    return {
        group: {metric: mean.entry() for metric, mean in own.items()}
        for group, own in mean_scores(table, method, runs, split).items()
    }


def by_draw(table: pd.DataFrame, metric: str, classes: str = "all") -> dict[str, dict[Any, float]]:
    """Return one metric as method -> repeat -> value."""
    rows = table[(table["metric"] == metric) & (table["classes"] == classes)]
    found: dict[str, dict[Any, float]] = {}
    for method, draw, value in zip(rows["method"], rows["draw"], rows["value"], strict=True):
        found.setdefault(method, {})[int(draw)] = float(value)
    return found


class MeanRecord(Record):
    """Mean over repeats with its 95 % interval."""

    mean: float | None = None
    low: float | None = None
    high: float | None = None
    n: Count = 0
    images: Count = 0


class MethodSummary(Record):
    """One method: its scores on test images by class group and metric, and by metric on validation images."""

    method: str
    title: str = ""
    n: Count = 0
    best: bool = False
    beats_baseline: bool | None = None
    gain: MeanRecord | None = None
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


class GroupingRecord(Record):
    """Images that stay together in every split, treatment of copies, and notes in words."""

    group: str | None = None
    duplicates: str = "keep"
    notes: Items[str] = ()


class WinnerRecord(Record):
    """Rule by which the winner was chosen, the metric that decided, the reason, and the scores of all methods."""

    name: str
    rule: str
    metric: str
    reason: str
    scores: dict[str, float] = Field(default_factory=dict)
    images: Count = 0
    candidates: dict[str, Any] | None = None


class ComparisonSummary(Record):
    """``summary.json``. `choice` says how `winner` was chosen on validation images; `metric` was asked for."""

    metric: str = "gmean"
    dataset: str = ""
    draws: Count = 0
    methods: Items[MethodSummary] = ()
    tests: Items[PairedTestRecord] = ()
    winner: str | None = None
    choice: WinnerRecord | None = None
    notes: Items[str] = ()
    failed: Items[FailedRun] = ()
    grouping: GroupingRecord = GroupingRecord()
    command: str | None = None
    wall_seconds: float | None = None


def read_summary(folder: Path) -> ComparisonSummary | None:
    """Read ``summary.json`` of a study folder; None where there is none. Damage raises RunFolderError."""
    path, remedy = folder / "summary.json", "run `compare` again"
    return parse(ComparisonSummary, read_object(path), path, remedy=remedy) if path.is_file() else None
