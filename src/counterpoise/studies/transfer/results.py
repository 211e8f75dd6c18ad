"""Tables of a transfer study: ``results.csv``, ``summary.json``, and the lecture's findings."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import TypedDict

import pandas as pd

from counterpoise.evaluation import MeanEntry, judge, mean_interval, scores_to_rows
from counterpoise.studies.engine.summaries import StudySummary
from counterpoise.studies.engine.tasks import Outcome, failed_runs, results_of
from counterpoise.studies.transfer.plan import BASES, TREATMENTS, Training, TrainingRecord, TransferPlan

COLUMNS = ("dataset", "split", "draw", "seed", "treatment", "layers", "classes", "metric", "value")
METRIC = "accuracy"
#: As good as: within so much accuracy.
CLOSE = 0.02

Outcomes = Sequence[Outcome[Training, TrainingRecord]]
Records = Sequence[TrainingRecord]
Accuracies = dict[tuple[str, int], pd.Series]
"""(treatment, layers) -> accuracy on the test images by repeat."""


class TaskPair(TypedDict):
    """Classes of the tasks of one repeat, and the numbers of their images: task -> part -> number."""

    draw: int
    A: list[str]
    B: list[str]
    images: dict[str, dict[str, int]]


class _Compared(TypedDict, total=False):
    difference: MeanEntry


class Point(MeanEntry, _Compared):
    """Point of a curve: the mean accuracy over repeats, the `values` it is of, and its difference to ``baseB``."""

    treatment: str
    layers: int
    values: list[float]


class Claim(MeanEntry):
    """A claim of the lecture that `measure` is `at_least` so much, and its verdict."""

    claim: str
    measure: str
    at_least: float
    holds: bool | None
    certain: bool | None


class TransferSummary(StudySummary):
    """Content of ``summary.json``."""

    dataset: str
    split: str
    network: str
    metric: str
    layers: list[int]
    images_per_class: dict[str, int | None]
    training: dict[str, int | float | str | None]
    tasks: list[TaskPair]
    curves: list[Point]
    findings: list[Claim]
    planned: int
    done: int
    command: str
    training_seconds: float


def results_table(plan: TransferPlan, outcomes: Outcomes) -> pd.DataFrame:
    """Return all test scores in long format, one value a row; ``baseA`` is scored on its own task."""
    rows = [
        {"dataset": outcome.task.dataset.name, "split": plan.split}
        | {name: record[name] for name in COLUMNS[2:6]}
        | row
        for outcome in outcomes
        if (record := outcome.result) is not None
        for row in scores_to_rows(record["scores"])
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def summarize(plan: TransferPlan, outcomes: Outcomes) -> TransferSummary:
    """Return the content of ``summary.json``; outcomes stand in the order of ``plan.cells``.

    ``curves`` holds, for each treatment and number of layers, the test accuracy of each repeat, their mean and 95 %
    interval, and the same of the difference to ``baseB`` of the same repeat. ``findings`` holds the lecture's claims
    about such curves, and whether these numbers support them. Of repeats under way only whole ones count, if there are
    any: ``draws`` of those ``planned``.
    """
    dataset = outcomes[0].task.dataset
    under_way = {o.task.repeat for o in outcomes if o.result is None and o.failure is None}
    started = {record["draw"] for record in results_of(outcomes)}
    whole = [repeat for repeat in plan.repeats if repeat not in under_way]
    shown = whole or [repeat for repeat in plan.repeats if repeat in started]
    records = [record for record in results_of(outcomes) if record["draw"] in shown]
    values: dict[tuple[str, int], dict[int, float]] = defaultdict(dict)
    for record in records:
        values[record["treatment"], record["layers"]][record["draw"]] = record["scores"]["all"][METRIC]
    accuracies = {key: pd.Series(own).sort_index() for key, own in values.items()}
    points = [(base, 0) for base in BASES] + [(t, n) for t in TREATMENTS for n in plan.layers]
    return {
        "format": 1,
        "dataset": dataset.name,
        "split": plan.split,
        "network": plan.network,
        "metric": METRIC,
        "draws": len(shown),
        "planned": len(plan.repeats),
        "done": len(whole),
        "layers": list(plan.layers),
        "images_per_class": {"A": plan.source_images_per_class, "B": plan.images_per_class},
        "training": plan.config.model_dump(),
        "tasks": [_describe_tasks(plan, dataset.classes, repeat, records) for repeat in shown],
        "curves": [_point(*point, accuracies) for point in points if point in accuracies],
        "findings": _findings(plan.layers, accuracies),
        "failed": [
            {"name": run["method"], "draw": run["draw"], "error": run["error"]}
            for run in failed_runs(outcomes)
        ],
        "command": plan.command,
        "training_seconds": round(sum(record["seconds"] for record in records), 3),
    }


def _describe_tasks(plan: TransferPlan, classes: Sequence[str], repeat: int, records: Records) -> TaskPair:
    tasks = plan.tasks(repeat, classes)
    images = {
        record["treatment"][4]: record["images"]
        for record in records
        if record["draw"] == repeat and record["treatment"] in BASES
    }
    return {
        "draw": repeat,
        "A": [classes[index] for index in tasks.classes("A")],
        "B": [classes[index] for index in tasks.classes("B")],
        "images": {task: images[task] for task in "AB" if task in images},
    }


def _point(treatment: str, n: int, accuracies: Accuracies) -> Point:
    values = accuracies[treatment, n].tolist()
    interval = mean_interval(values).entry()
    point: Point = {"treatment": treatment, "layers": n, "values": values, **interval}
    if treatment not in BASES:
        point["difference"] = mean_interval(_difference(accuracies, treatment, [n])).entry()
    return point


def _difference(accuracies: Accuracies, treatment: str, layers: Sequence[int]) -> pd.Series:
    """Return the mean difference to baseB over layers, for the repeats that have them all."""
    none = pd.Series(dtype=float)
    base = accuracies.get(("baseB", 0), none)
    each = [accuracies.get((treatment, n), none) - base for n in layers]
    return (sum(each[1:], each[0]) / len(each)).dropna()


def _findings(layers: Sequence[int], accuracies: Accuracies) -> list[Claim]:
    first, last = layers[0], layers[-1]
    frozen_first, frozen_last = (_difference(accuracies, "AnB", [n]) for n in (first, last))
    as_good = f"The first layers transfer: A{first}B is as good as baseB, within {CLOSE:g}"
    worse = f"Later layers transfer less: A{last}B is worse than A{first}B, by {CLOSE:g} or more"
    lost = (frozen_first - frozen_last).dropna()
    helpful = "Copied layers help when they are fine-tuned: AnB+ is at least baseB, on average over n"
    undone = f"Fine-tuning undoes the cut: BnB+ is as good as baseB, on average over n, within {CLOSE:g}"
    return [
        _finding(as_good, f"A{first}B - baseB", frozen_first, -CLOSE),
        *([_finding(worse, f"A{first}B - A{last}B", lost, CLOSE)] if last > first else []),
        _finding(helpful, "AnB+ - baseB", _difference(accuracies, "AnB+", layers), 0.0),
        _finding(undone, "BnB+ - baseB", _difference(accuracies, "BnB+", layers), -CLOSE),
    ]


def _finding(claim: str, measure: str, differences: pd.Series, at_least: float) -> Claim:
    """Return a claim about a difference; certain if the whole interval is on one side of the border."""
    interval = mean_interval(differences)
    holds, certain = judge(interval, border=at_least, inclusive=True)
    return {
        "claim": claim,
        "measure": measure,
        "at_least": at_least,
        "holds": holds,
        "certain": certain,
        **interval.entry(),
    }
