"""The content of ``summary.json``: all that the page says, in numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from counterpoise.experiments import Outcome
from counterpoise.experiments.results import COLUMNS as STUDY_COLUMNS
from counterpoise.reproduce.checks import find_contradictions
from counterpoise.reproduce.compare import Side, keys_of, side_by_side, values_of
from counterpoise.reproduce.findings import find
from counterpoise.reproduce.plan import TablePlan
from counterpoise.reproduce.published import published_numbers
from counterpoise.reproduce.ranks import Ranks, rank_methods

COLUMNS = ("table", "setting", *STUDY_COLUMNS)
#: The thesis makes four of ten classes rare.
_MINORITY_SHARE = {"thesis-7.1": 0.4, "thesis-7.2": 0.4, "thesis-7.3": 0.4, "thesis-7.4": 0.4}


def summarise(
    plan: TablePlan,
    outcomes: Sequence[Outcome],
    results: pd.DataFrame,
    commands: Sequence[str],
    *,
    seconds: float | None = None,
) -> dict[str, Any]:
    """Return the content of ``summary.json``.

    Parameters
    ----------
    plan : TablePlan
        What was to be done.
    outcomes : sequence of Outcome
        What became of each run; without a folder and an error where it has not been run yet.
    results : DataFrame
        As in ``results.csv``.
    commands : sequence of str
        The command lines that the folder was made by.
    seconds : float, optional
        How long these took together, from their start to their end.
    """
    table = plan.table
    numbers = published_numbers(table)
    sides = side_by_side(table, numbers, results)
    done = [o.folder.record for o in outcomes if o.folder is not None]
    return {
        "format": 1,
        "table": table.name,
        "title": table.title,
        "paper": table.paper,
        "notes": list(table.notes),
        "subset": plan.subset,
        "lines": [
            {"name": c.setting.name, "title": c.setting.title, "network": c.setting.network}
            | {"epochs": c.setting.epochs, "batch_size": c.setting.batch_size, "lr": c.setting.lr}
            for c in plan.cells
        ],
        "cells": [side._asdict() | {"difference": side.difference} for side in sides],
        "contradictions": [
            c._asdict() for c in find_contradictions(numbers, minority_share=_MINORITY_SHARE.get(table.name))
        ],
        "ranks": _all_ranks(sides, keys_of(numbers)),
        "findings": [f._asdict() for f in find(table, sides, values_of(results))],
        "failed": [
            {"method": o.plan.method, "draw": o.plan.draw, "error": o.error}
            for o in outcomes
            if o.error is not None
        ],
        "runs": {
            "planned": len(outcomes),
            "done": len(done),
            "trainings": plan.trainings(),
            "seconds": round(sum(record["timings"]["total"] for record in done), 1),
            "elapsed": None if seconds is None else round(seconds, 1),
        },
        "commands": list(commands),
        "versions": done[0]["versions"] if done else {},
        "hardware": done[0]["hardware"] if done else {},
    }


def ranks_of(sides: Sequence[Side], classes: str, metric: str) -> Ranks | None:
    """Return the ranks by one score of the methods that all finished lines have, one line a block; None without any.

    Ranked are the means over draws: draws of one line are no independent blocks.
    """
    means: dict[str, dict[str, float]] = {}
    for side in sides:
        if (side.classes, side.metric) == (classes, metric) and side.mean is not None:
            means.setdefault(side.setting, {})[side.method] = side.mean
    if not means:
        return None
    shared = set.intersection(*(set(line) for line in means.values()))
    methods = [m for m in dict.fromkeys(side.method for side in sides) if m in shared]
    if len(methods) < 2:
        return None
    values = np.array([[line[m] for m in methods] for line in means.values()])
    return rank_methods(methods, values)


def _all_ranks(sides: Sequence[Side], keys: Sequence[tuple[str, str]]) -> list[dict[str, Any]]:
    found = []
    for classes, metric in keys:
        ranks = ranks_of(sides, classes, metric)
        if ranks is not None:
            found.append({"classes": classes, "metric": metric} | ranks._asdict())
    return found
