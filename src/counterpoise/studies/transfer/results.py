"""Tables of a transfer study: ``results.csv``, ``summary.json``, and the lecture's findings."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypedDict

import pandas as pd

from counterpoise.evaluation import judge, mean_interval, scores_to_rows
from counterpoise.studies.engine.tasks import Outcome, results_of
from counterpoise.studies.transfer.execute import TrainingRecord
from counterpoise.studies.transfer.plan import BASES, TREATMENTS, Training, TransferPlan

COLUMNS = ("dataset", "split", "draw", "seed", "treatment", "layers", "classes", "metric", "value")
METRIC = "accuracy"
#: As good as: within so much accuracy.
CLOSE = 0.02

Outcomes = Sequence[Outcome[Training, TrainingRecord]]
Records = Sequence[TrainingRecord]
Accuracies = dict[tuple[str, int], dict[int, float]]
"""(treatment, layers) -> repeat -> accuracy on the test images."""


class FailedTraining(TypedDict):
    """Entry of ``failed``."""

    draw: int
    name: str
    error: str


class TransferSummary(TypedDict):
    """Content of ``summary.json``."""

    format: int
    dataset: str
    split: str
    network: str
    metric: str
    draws: int
    layers: list[int]
    images_per_class: dict[str, int | None]
    training: dict[str, Any]
    tasks: list[dict[str, Any]]
    curves: list[dict[str, Any]]
    findings: list[dict[str, Any]]
    failed: list[FailedTraining]
    command: str
    wall_seconds: float
    training_seconds: float


def results_table(plan: TransferPlan, outcomes: Outcomes) -> pd.DataFrame:
    """Return all test scores in long format, one value a row; ``baseA`` is scored on its own task."""
    rows = [
        {
            "dataset": outcome.task.dataset.name,
            "split": plan.split,
            "draw": outcome.result["draw"],
            "seed": outcome.result["seed"],
            "treatment": outcome.result["treatment"],
            "layers": outcome.result["layers"],
            **row,
        }
        for outcome in outcomes
        if outcome.result is not None
        for row in scores_to_rows(outcome.result["scores"])
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def summarize(plan: TransferPlan, outcomes: Outcomes, *, seconds: float) -> TransferSummary:
    """Return the content of ``summary.json``; outcomes stand in the order of ``plan.cells``.

    ``curves`` holds, for each treatment and number of layers, the test accuracy of each repeat, their mean and 95 %
    interval, and the same of the difference to ``baseB`` of the same repeat. ``findings`` holds the lecture's claims
    about such curves, and whether these numbers support them.
    """
    dataset = outcomes[0].task.dataset
    records = results_of(outcomes)
    accuracies = _accuracies(records)
    return {
        "format": 1,
        "dataset": dataset.name,
        "split": plan.split,
        "network": plan.network,
        "metric": METRIC,
        "draws": len(plan.repeats),
        "layers": list(plan.layers),
        "images_per_class": {"A": plan.source_images_per_class, "B": plan.images_per_class},
        "training": plan.config.model_dump(),
        "tasks": [_describe_tasks(plan, dataset.classes, repeat, records) for repeat in plan.repeats],
        "curves": [
            _point(treatment, n, accuracies)
            for treatment, n in [
                *((base, 0) for base in BASES),
                *((t, n) for t in TREATMENTS for n in plan.layers),
            ]
            if accuracies.get((treatment, n))
        ],
        "findings": _findings(plan.layers, accuracies),
        "failed": [
            {"draw": o.task.repeat, "name": o.task.name, "error": o.failure.text}
            for o in outcomes
            if o.failure is not None
        ],
        "command": plan.command,
        "wall_seconds": round(seconds, 3),
        "training_seconds": round(sum(record["seconds"] for record in records), 3),
    }


def _accuracies(records: Records) -> Accuracies:
    found: Accuracies = {}
    for record in records:
        place = found.setdefault((record["treatment"], record["layers"]), {})
        accuracy = record["scores"]["all"][METRIC]
        assert accuracy is not None
        place[record["draw"]] = accuracy
    return found


def _describe_tasks(
    plan: TransferPlan, classes: Sequence[str], repeat: int, records: Records
) -> dict[str, Any]:
    tasks = plan.tasks(repeat, classes)
    images = {
        record["treatment"][4]: record["images"]
        for record in records
        if record["draw"] == repeat and record["treatment"] in BASES
    }
    return {
        "draw": repeat,
        **{task: [classes[index] for index in tasks.classes(task)] for task in "AB"},
        "images": {task: images[task] for task in "AB" if task in images},
    }


def _point(treatment: str, n: int, accuracies: Accuracies) -> dict[str, Any]:
    values = accuracies[treatment, n]
    point: dict[str, Any] = {
        "treatment": treatment,
        "layers": n,
        "values": [values[repeat] for repeat in sorted(values)],
        **mean_interval(values.values())._asdict(),
    }
    if treatment not in BASES:
        point["difference"] = mean_interval(_differences(accuracies, treatment, n).values())._asdict()
    return point


def _differences(accuracies: Accuracies, treatment: str, n: int) -> dict[int, float]:
    """Return repeat -> accuracy above that of baseB in the same repeat."""
    values, base = accuracies.get((treatment, n), {}), accuracies.get(("baseB", 0), {})
    return {repeat: values[repeat] - base[repeat] for repeat in sorted(set(values) & set(base))}


def _findings(layers: Sequence[int], accuracies: Accuracies) -> list[dict[str, Any]]:
    def difference(treatment: str, chosen: Iterable[int]) -> dict[int, float]:
        """Return repeat -> mean over layers of the difference to baseB, of the repeats that have them all."""
        each = [_differences(accuracies, treatment, n) for n in chosen]
        repeats = set.intersection(*(set(values) for values in each))
        return {repeat: sum(values[repeat] for values in each) / len(each) for repeat in sorted(repeats)}

    first, last = layers[0], layers[-1]
    frozen_first = difference("AnB", [first])
    findings = [
        _finding(
            f"The first layers transfer: A{first}B is as good as baseB, within {CLOSE:g}",
            f"A{first}B - baseB",
            frozen_first,
            -CLOSE,
        )
    ]
    if last > first:
        frozen_last = difference("AnB", [last])
        lost = {d: frozen_first[d] - frozen_last[d] for d in frozen_first if d in frozen_last}
        claim = f"Later layers transfer less: A{last}B is worse than A{first}B, by {CLOSE:g} or more"
        findings.append(_finding(claim, f"A{first}B - A{last}B", lost, CLOSE))
    claim = "Copied layers help when they are fine-tuned: AnB+ is at least baseB, on average over n"
    findings.append(_finding(claim, "AnB+ - baseB", difference("AnB+", layers), 0.0))
    return findings


def _finding(claim: str, measure: str, differences: dict[int, float], at_least: float) -> dict[str, Any]:
    """Return a claim about a difference; certain if the whole interval is on one side of the border."""
    interval = mean_interval(differences.values())
    return {
        "claim": claim,
        "measure": measure,
        "at_least": at_least,
        **judge(interval, border=at_least, inclusive=True)._asdict(),
        **interval._asdict(),
    }
