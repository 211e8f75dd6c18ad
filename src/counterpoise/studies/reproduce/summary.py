"""Content of ``summary.json``: everything on the page, in numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NotRequired, TypedDict

import numpy as np
import pandas as pd

from counterpoise.evaluation import Ranks, rank_methods
from counterpoise.methods import get_method
from counterpoise.runs import RESULT_COLUMNS, ArchivedRun, RunRecord
from counterpoise.studies.engine.planned_runs import RunOutcome
from counterpoise.studies.engine.tasks import failed_runs, not_applicable, results_of
from counterpoise.studies.reproduce.contradictions import find_contradictions
from counterpoise.studies.reproduce.findings import find
from counterpoise.studies.reproduce.plan import TablePlan
from counterpoise.studies.reproduce.published import published_numbers
from counterpoise.studies.reproduce.side_by_side import (
    Side,
    agreement,
    best_of,
    keys_of,
    record_name,
    values_of,
)
from counterpoise.studies.reproduce.sources import stands_in
from counterpoise.studies.reproduce.tables import all_tables

COLUMNS = ("table", "setting", *RESULT_COLUMNS)


class TableSummary(TypedDict):
    """Content of ``summary.json``."""

    format: int
    table: str
    title: str
    paper: str
    notes: list[str]
    draws: int
    subset: int | None
    rehearsal: list[str]
    lines: list[dict[str, Any]]
    cells: list[dict[str, Any]]
    methods: dict[str, str]
    best: list[dict[str, Any]]
    agreement: list[dict[str, Any]]
    contradictions: list[dict[str, Any]]
    ranks: list[dict[str, Any]]
    findings: list[dict[str, Any]]
    failed: list[dict[str, Any]]
    not_applicable: NotRequired[list[dict[str, Any]]]
    runs: dict[str, Any]
    commands: list[str]
    versions: dict[str, str]
    hardware: dict[str, str]


def summarize(
    plan: TablePlan,
    outcomes: Sequence[RunOutcome],
    results: pd.DataFrame,
    sides: Sequence[Side],
    commands: Sequence[str],
) -> TableSummary:
    """Return the content of ``summary.json``; outcomes stand in the order of ``plan.runs()``."""
    table = plan.table
    numbers = published_numbers(table)
    done = [run.record for run in results_of(outcomes)]
    return {
        "format": 1,
        "table": table.name,
        "title": table.title,
        "paper": table.paper,
        "notes": list(table.notes),
        "draws": plan.repeats,
        "subset": plan.subset,
        "rehearsal": rehearsal(plan),
        "lines": [
            {"name": c.setting.name, "title": c.setting.title, "network": c.setting.network}
            | {"epochs": c.setting.epochs, "batch_size": c.setting.batch_size, "lr": c.setting.lr}
            | {"methods": [record_name(method) for method in c.setting.methods]}
            for c in plan.cells
        ],
        "cells": [
            side._asdict()
            | {"half_width": None if side.low is None or side.high is None else (side.high - side.low) / 2}
            | {"difference": side.difference}
            for side in sides
        ],
        "methods": {name: get_method(name).title for name in dict.fromkeys(side.method for side in sides)},
        "best": [best._asdict() for best in best_of(sides)],
        "agreement": [found._asdict() for found in agreement(sides)],
        "contradictions": [
            c._asdict() for c in find_contradictions(numbers, minority_share=plan.cells[0].minority_share)
        ],
        "ranks": _all_ranks(sides, keys_of(numbers)),
        "findings": [f._asdict() for f in find(table, sides, values_of(results))],
        "failed": failed_runs(outcomes),
        **not_applicable(outcomes),  # type: ignore[typeddict-item]
        "runs": _counts(plan, outcomes, done, sides),
        "commands": list(commands),
        "versions": _found([record.versions for record in done]),
        "hardware": _found([record.hardware for record in done]),
    }


def rehearsal(plan: TablePlan) -> list[str]:
    """Return why numbers of a plan are not those of the published protocol on the real images; empty if they are."""
    reasons = []
    if plan.subset is not None:
        reasons.append(f"{plan.subset} training images of each class at most")
    tables = all_tables()
    if plan.table.name in tables and (known := tables[plan.table.name]) != plan.table:
        pairs = zip(known.settings, plan.table.settings, strict=False)
        changed = {
            name for a, b in pairs for name in type(a).model_fields if getattr(a, name) != getattr(b, name)
        }
        reasons.append(f"other settings than the table's own ({', '.join(sorted(changed)) or 'other lines'})")
    cells = {cell.setting.data: cell.dataset for cell in plan.cells}
    others = (stands_in(name, dataset, subset=plan.subset) for name, dataset in cells.items())
    return reasons + [reason for reason in others if reason is not None]


def _counts(
    plan: TablePlan,
    outcomes: Sequence[RunOutcome],
    done: Sequence[RunRecord],
    sides: Sequence[Side],
) -> dict[str, Any]:
    planned = len(outcomes)
    earlier = sum(isinstance(outcome.result, ArchivedRun) for outcome in outcomes)
    seconds = sum(record.timings["total"] for record in done)
    elapsed = busy_seconds(
        (datetime.fromisoformat(record.created).timestamp(), record.timings["total"]) for record in done
    )
    trainings = plan.trainings()
    return {
        "planned": planned,
        "done": len(done),
        "earlier": earlier,
        "numbers": sum(side.mean is not None for side in sides),
        "trainings": trainings,
        "factor": round(planned / max(1, trainings), 3),
        "seconds": round(seconds, 1),
        "elapsed": round(elapsed, 1),
        "at_once": round(seconds / elapsed, 2) if elapsed else None,
    }


def busy_seconds(runs: Iterable[tuple[float, float]]) -> float:
    """Return how long at least one run was under way, given (end, duration) of each; pauses do not count.

    Examples
    --------
    >>> busy_seconds([(10.0, 10.0), (12.0, 10.0), (105.0, 5.0)])
    17.0
    """
    total, last = 0.0, float("-inf")
    for start, end in sorted((end - seconds, end) for end, seconds in runs):
        total += max(0.0, end - max(start, last))
        last = max(last, end)
    return total


def _found(values: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Return each entry of several records, all its values where they differ."""
    names = dict.fromkeys(name for value in values for name in value)
    return {name: " and ".join(dict.fromkeys(str(v[name]) for v in values if name in v)) for name in names}


def ranks_of(sides: Sequence[Side], classes: str, metric: str, *, of: str = "mean") -> Ranks | None:
    """Return the ranks of methods by one score, one line of the table a block; None without any.

    Ranked are the methods that stand in all lines, over the lines in which all of these have a number. Our numbers
    (``of="mean"``; the papers' are ``"published"``) are means over repeats: repeats of one line are no independent
    blocks.
    """
    lines: dict[str, dict[str, float | None]] = {}
    for side in sides:
        if (side.classes, side.metric) == (classes, metric):
            lines.setdefault(side.setting, {})[side.method] = getattr(side, of)
    if not lines:
        return None
    methods = [
        method
        for method in dict.fromkeys(method for line in lines.values() for method in line)
        if all(method in line for line in lines.values())
        and any(line[method] is not None for line in lines.values())
    ]
    blocks = [[line[m] for m in methods] for line in lines.values()]
    whole = [block for block in blocks if None not in block]
    if len(methods) < 2 or not whole:
        return None
    return rank_methods(methods, np.array(whole, dtype=np.float64))


def _all_ranks(sides: Sequence[Side], keys: Sequence[tuple[str, str]]) -> list[dict[str, Any]]:
    found = []
    for classes, metric in keys:
        for of, name in (("published", "published"), ("mean", "ours")):
            ranks = ranks_of(sides, classes, metric, of=of)
            if ranks is not None:
                found.append({"classes": classes, "metric": metric, "of": name} | ranks._asdict())
    return found
