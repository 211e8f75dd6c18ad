"""The content of ``summary.json``: all that the page says, in numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd

from counterpoise.evaluation import Ranks, rank_methods
from counterpoise.methods import get_method
from counterpoise.runs.archive import ArchivedRun
from counterpoise.runs.results import COLUMNS as STUDY_COLUMNS
from counterpoise.studies.engine.run import Outcome
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

COLUMNS = ("table", "setting", *STUDY_COLUMNS)


def summarize(
    plan: TablePlan,
    outcomes: Sequence[Outcome],
    results: pd.DataFrame,
    sides: Sequence[Side],
    commands: Sequence[str],
) -> dict[str, Any]:
    """Return the content of ``summary.json``.

    Parameters
    ----------
    plan : TablePlan
        What was to be done.
    outcomes : sequence of Outcome
        What became of each run, in the order of ``plan.tasks``; without a folder and an error where it has not been
        run yet.
    results : DataFrame
        As in ``results.csv``.
    sides : sequence of Side
        The table's cells, published and measured.
    commands : sequence of str
        The command lines that the folder was made by.
    """
    table = plan.table
    numbers = published_numbers(table)
    done = [o.folder.record for o in outcomes if o.folder is not None]
    return {
        "format": 1,
        "table": table.name,
        "title": table.title,
        "paper": table.paper,
        "notes": list(table.notes),
        "draws": plan.draws,
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
        "failed": [
            {"method": o.plan.method, "draw": o.plan.draw, "error": o.error}
            for o in outcomes
            if o.error is not None
        ],
        "runs": _counts(plan, outcomes, done, sides),
        "commands": list(commands),
        "versions": _found([record["versions"] for record in done]),
        "hardware": _found([record["hardware"] for record in done]),
    }


def rehearsal(plan: TablePlan) -> list[str]:
    """Return why numbers of a plan are not those of the published protocol on the real images; empty if they are."""
    reasons = []
    if plan.subset is not None:
        reasons.append(f"{plan.subset} training images of each class at most")
    known = all_tables().get(plan.table.name)
    if known is not None and known != plan.table:
        pairs = zip(known.settings, plan.table.settings, strict=False)
        changed = {
            name for a, b in pairs for name in type(a).model_fields if getattr(a, name) != getattr(b, name)
        }
        reasons.append(f"other settings than the table's own ({', '.join(sorted(changed)) or 'other lines'})")
    cells = {cell.setting.data: cell.dataset for cell in plan.cells}
    others = (stands_in(name, dataset, subset=plan.subset) for name, dataset in cells.items())
    return reasons + [reason for reason in others if reason is not None]


def _counts(
    plan: TablePlan, outcomes: Sequence[Outcome], done: Sequence[Mapping[str, Any]], sides: Sequence[Side]
) -> dict[str, Any]:
    planned = len(outcomes)
    earlier = sum(isinstance(outcome.folder, ArchivedRun) for outcome in outcomes)
    seconds = sum(record["timings"]["total"] for record in done)
    elapsed = busy_seconds(
        (datetime.fromisoformat(record["created"]).timestamp(), record["timings"]["total"]) for record in done
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
    """Return how long at least one run was under way, of the ends of runs and how long they took.

    It is told from the runs alone, and counts no pause between two commands.

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

    Ranked are the methods that stand in all lines, over the lines in which all of these have a number. Of ours
    (``of="mean"``; the papers' are ``"published"``) these are means over draws: draws of one line are no independent
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
