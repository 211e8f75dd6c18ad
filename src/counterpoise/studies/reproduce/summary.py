"""Content of ``summary.json``: everything on the page, in numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypedDict, cast

import numpy as np
import pandas as pd

from counterpoise.datasets import ImageDataset
from counterpoise.evaluation import MeanEntry, Ranks, rank_methods
from counterpoise.methods import get_method
from counterpoise.runs import RESULT_COLUMNS, ArchivedRun, result_rows
from counterpoise.studies.engine.planned_runs import RunOutcome
from counterpoise.studies.engine.summaries import StudySummary
from counterpoise.studies.engine.tasks import failed_runs, not_applicable, results_of
from counterpoise.studies.published import published_numbers
from counterpoise.studies.reproduce.contradictions import Contradiction, find_contradictions
from counterpoise.studies.reproduce.findings import Finding, find
from counterpoise.studies.reproduce.plan import TablePlan
from counterpoise.studies.reproduce.side_by_side import (
    Agreement,
    Best,
    Side,
    agreement,
    best_of,
    record_name,
    side_by_side,
)
from counterpoise.studies.reproduce.sources import stands_in
from counterpoise.studies.reproduce.tables import Setting, Table, all_tables

COLUMNS = ("table", "setting", *RESULT_COLUMNS)


class LineEntry(TypedDict):
    """Line of a table: its settings and its methods."""

    name: str
    title: str
    network: str
    epochs: int
    batch_size: int
    lr: float
    methods: list[str]


class CellEntry(MeanEntry):
    """Cell of a table, see `Side`."""

    setting: str
    method: str
    classes: str
    metric: str
    published: float | None
    half_width: float | None
    difference: float | None


class RanksEntry(TypedDict):
    """Ranks of methods by one score, as published or ours; see `counterpoise.evaluation.Ranks`."""

    classes: str
    metric: str
    of: str
    methods: list[str]
    mean: list[float]
    blocks: int
    p_value: float | None
    critical_difference: float | None


class TableSummary(StudySummary):
    """Content of ``summary.json``."""

    table: str
    title: str
    paper: str
    notes: list[str]
    subset: int | None
    rehearsal: list[str]
    lines: list[LineEntry]
    cells: list[CellEntry]
    methods: dict[str, str]
    best: list[Best]
    agreement: list[Agreement]
    contradictions: list[Contradiction]
    ranks: list[RanksEntry]
    findings: list[Finding]
    runs: dict[str, float | None]
    commands: list[str]
    versions: dict[str, str]
    hardware: dict[str, str]


def results_table(table: str, outcomes: Sequence[RunOutcome]) -> pd.DataFrame:
    """Return all runs' scores in long format, as a comparison's, each row with the table and line it belongs to."""
    rows = [
        {"table": table, "setting": outcome.task.path.parents[1].name, **row}
        for outcome in outcomes
        if outcome.result is not None
        for row in result_rows(outcome.result)
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def summarize(
    plan: TablePlan, outcomes: Sequence[RunOutcome], results: pd.DataFrame, commands: Sequence[str]
) -> TableSummary:
    """Return the content of ``summary.json``; outcomes stand in the order of ``plan.runs()``."""
    table, share, done = plan.table, plan.cells[0].minority_share, results_of(outcomes)
    sides, numbers = side_by_side(table, results), published_numbers(table.name)
    return {
        "format": 1,
        "table": table.name,
        "title": table.title,
        "paper": table.paper,
        "notes": list(table.notes),
        "draws": plan.repeats,
        "subset": plan.subset,
        "rehearsal": rehearsal(table, plan.subset, {c.setting.data: c.dataset for c in plan.cells}),
        "lines": [
            {
                "name": c.setting.name,
                "title": c.setting.title,
                "network": c.setting.network,
                "epochs": c.setting.epochs,
                "batch_size": c.setting.batch_size,
                "lr": c.setting.lr,
                "methods": [record_name(method) for method in c.setting.methods],
            }
            for c in plan.cells
        ],
        "cells": [
            cast(CellEntry, s._asdict() | {"half_width": s.half_width, "difference": s.difference})
            for s in sides
        ],
        "methods": {name: get_method(name).title for name in dict.fromkeys(side.method for side in sides)},
        "best": best_of(sides),
        "agreement": agreement(sides),
        "contradictions": find_contradictions(numbers, minority_share=share),
        "ranks": [
            cast(RanksEntry, {"classes": classes, "metric": metric, "of": name} | ranks._asdict())
            for classes, metric in dict.fromkeys((side.classes, side.metric) for side in sides)
            for of, name in (("published", "published"), ("mean", "ours"))
            if (ranks := ranks_of(sides, classes, metric, of=of)) is not None
        ],
        "findings": find(table, sides, results),
        "failed": [
            failed | {"name": outcome.task.path.parents[1].name}
            for failed, outcome in zip(failed_runs(outcomes), (o for o in outcomes if o.failure), strict=True)
        ],
        **not_applicable(outcomes),
        "runs": _counts(plan, outcomes, sides),
        "commands": list(commands),
        "versions": found_values([run.record.versions for run in done]),
        "hardware": found_values([run.record.hardware for run in done]),
    }


def rehearsal(table: Table, subset: int | None, datasets: Mapping[str, ImageDataset]) -> list[str]:
    """Return the differences from the published protocol on the real images, by data; empty if there are none."""
    reasons = [] if subset is None else [f"{subset} training images of each class at most"]
    tables = all_tables()
    if table.name in tables and (known := tables[table.name]) != table:
        pairs = zip(known.settings, table.settings, strict=False)
        names = {
            name for a, b in pairs for name in Setting.model_fields if getattr(a, name) != getattr(b, name)
        }
        reasons.append(f"other settings than the table's own ({', '.join(sorted(names)) or 'other lines'})")
    others = (stands_in(name, dataset, subset=subset) for name, dataset in datasets.items())
    return reasons + [reason for reason in others if reason is not None]


def _counts(
    plan: TablePlan, outcomes: Sequence[RunOutcome], sides: Sequence[Side]
) -> dict[str, float | None]:
    done = results_of(outcomes)
    ends = [
        (datetime.fromisoformat(run.record.created).timestamp(), run.record.timings["total"]) for run in done
    ]
    seconds, elapsed, trainings = sum(total for _, total in ends), busy_seconds(ends), plan.trainings()
    return {
        "planned": len(outcomes),
        "done": len(done),
        "earlier": sum(isinstance(run, ArchivedRun) for run in done),
        "numbers": sum(side.mean is not None for side in sides),
        "trainings": trainings,
        "factor": round(len(outcomes) / max(1, trainings), 3),
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


def found_values(values: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Return each entry of several records, all its values where they differ."""
    names = dict.fromkeys(name for value in values for name in value)
    return {name: " and ".join(dict.fromkeys(str(v[name]) for v in values if name in v)) for name in names}


def ranks_of(sides: Sequence[Side], classes: str, metric: str, *, of: str = "mean") -> Ranks | None:
    """Return the ranks of methods by one score, one line of the table a block; None without any.

    Methods are ranked that all lines have, over the lines in which all of these have a number. Our numbers
    (``of="mean"``; the papers' are ``"published"``) are means over repeats: repeats of one line are no independent
    blocks.
    """
    lines: dict[str, dict[str, float | None]] = {}
    for side in sides:
        if (side.classes, side.metric) == (classes, metric):
            lines.setdefault(side.setting, {})[side.method] = getattr(side, of)
    first = next(iter(lines.values()), {})
    methods = [m for m in first if all(m in line for line in lines.values())]
    methods = [m for m in methods if any(line[m] is not None for line in lines.values())]
    blocks = [[line[m] for m in methods] for line in lines.values()]
    whole = [block for block in blocks if None not in block]
    if len(methods) < 2 or not whole:
        return None
    return rank_methods(methods, np.array(whole, dtype=np.float64))
