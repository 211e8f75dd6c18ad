"""From finished trainings to tables: ``results.csv``, ``summary.json``, and the lecture's findings in words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from counterpoise.datasets import ImageDataset
from counterpoise.evaluation import judge, mean_interval, scores_to_rows
from counterpoise.files import atomic_path
from counterpoise.studies.transfer.plan import BASES, TREATMENTS, TransferPlan

COLUMNS = ("dataset", "split", "draw", "seed", "treatment", "layers", "classes", "metric", "value")
METRIC = "accuracy"
#: As good as: within so much accuracy.
CLOSE = 0.02

Records = Sequence[dict[str, Any]]


def results_table(plan: TransferPlan, dataset: str, records: Records) -> pd.DataFrame:
    """Return all test scores in long format, one value a row; ``baseA`` is scored on its own task."""
    rows = [
        {
            "dataset": dataset,
            "split": plan.split,
            "draw": record["draw"],
            "seed": record["seed"],
            "treatment": record["treatment"],
            "layers": record["layers"],
            **row,
        }
        for record in records
        for row in scores_to_rows(record["scores"])
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def write_results(path: Path, table: pd.DataFrame) -> None:
    """Write ``results.csv`` atomically."""
    with atomic_path(path) as temporary:
        table.to_csv(temporary, index=False)


def summarize(
    plan: TransferPlan,
    dataset: ImageDataset,
    records: Records,
    failed: list[dict[str, Any]],
    *,
    seconds: float,
) -> dict[str, Any]:
    """Return the content of ``summary.json``.

    Parameters
    ----------
    plan : TransferPlan
        The study.
    dataset : ImageDataset
        The data set.
    records : sequence of dict
        Of the finished trainings.
    failed : list of dict
        Draw, name and error of the others.
    seconds : float
        How long this call took.

    Returns
    -------
    dict
        ``curves``: for each treatment and number of layers the test accuracy of each draw, their mean and 95 %
        interval, and the same of the difference to ``baseB`` of the same draw. ``findings``: what the lecture says
        of such curves, and whether these show it.
    """
    accuracies = _accuracies(records)
    return {
        "format": 1,
        "dataset": dataset.name,
        "split": plan.split,
        "network": plan.network,
        "metric": METRIC,
        "draws": len(plan.draws),
        "layers": list(plan.layers),
        "images_per_class": {"A": plan.source_images_per_class, "B": plan.images_per_class},
        "training": plan.config.model_dump(),
        "tasks": [_describe_tasks(plan, dataset, draw, records) for draw in plan.draws],
        "curves": [
            _point(treatment, n, accuracies)
            for treatment, n in [
                *((base, 0) for base in BASES),
                *((t, n) for t in TREATMENTS for n in plan.layers),
            ]
            if accuracies.get((treatment, n))
        ],
        "findings": _findings(plan.layers, accuracies),
        "failed": failed,
        "command": plan.command,
        "wall_seconds": round(seconds, 3),
        "training_seconds": round(sum(record["seconds"] for record in records), 3),
    }


def _accuracies(records: Records) -> dict[tuple[str, int], dict[int, float]]:
    """Return (treatment, layers) -> draw -> accuracy on the test images."""
    found: dict[tuple[str, int], dict[int, float]] = {}
    for record in records:
        place = found.setdefault((record["treatment"], record["layers"]), {})
        place[record["draw"]] = record["scores"]["all"][METRIC]
    return found


def _describe_tasks(plan: TransferPlan, dataset: ImageDataset, draw: int, records: Records) -> dict[str, Any]:
    tasks = plan.tasks(draw, dataset.classes)
    images = {
        record["treatment"][4]: record["images"]
        for record in records
        if record["draw"] == draw and record["treatment"] in BASES
    }
    return {
        "draw": draw,
        **{task: [dataset.classes[index] for index in tasks.classes(task)] for task in "AB"},
        "images": {task: images[task] for task in "AB" if task in images},
    }


def _point(treatment: str, n: int, accuracies: dict[tuple[str, int], dict[int, float]]) -> dict[str, Any]:
    values = accuracies[treatment, n]
    point: dict[str, Any] = {
        "treatment": treatment,
        "layers": n,
        "values": [values[draw] for draw in sorted(values)],
        **mean_interval(values.values())._asdict(),
    }
    if treatment not in BASES:
        point["difference"] = mean_interval(_differences(accuracies, treatment, n).values())._asdict()
    return point


def _differences(
    accuracies: dict[tuple[str, int], dict[int, float]], treatment: str, n: int
) -> dict[int, float]:
    """Return draw -> accuracy above that of baseB in the same draw."""
    values, base = accuracies.get((treatment, n), {}), accuracies.get(("baseB", 0), {})
    return {draw: values[draw] - base[draw] for draw in sorted(set(values) & set(base))}


def _findings(
    layers: Sequence[int], accuracies: dict[tuple[str, int], dict[int, float]]
) -> list[dict[str, Any]]:
    """Return what the lecture says, and whether these numbers show it."""

    def difference(treatment: str, chosen: Iterable[int]) -> dict[int, float]:
        """Return draw -> mean over layers of the difference to baseB, of the draws that have them all."""
        each = [_differences(accuracies, treatment, n) for n in chosen]
        draws = set.intersection(*(set(values) for values in each))
        return {draw: sum(values[draw] for values in each) / len(each) for draw in sorted(draws)}

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
