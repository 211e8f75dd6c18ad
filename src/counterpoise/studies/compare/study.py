"""Comparison of methods on the same repeats: the study behind ``compare`` and ``demo``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pandas as pd

from counterpoise.datasets import ImageDataset, ProfileDict
from counterpoise.evaluation import METRICS
from counterpoise.files import copy_folder
from counterpoise.runs import RunFolder, best_method, by_draw, compare_methods, results_table, verdict
from counterpoise.studies.engine.planned_runs import (
    RunConclusion,
    RunGrid,
    RunOutcome,
    RunStudy,
    RunTask,
    method_summary,
    run_task,
)
from counterpoise.studies.engine.summaries import GridSummary
from counterpoise.studies.engine.tasks import failed_runs, not_applicable, results_of

ComparisonResult = RunConclusion[GridSummary]


@dataclass(frozen=True)
class ComparisonStudy(RunStudy[GridSummary]):
    """Comparison of methods on the same repeats; methods that train the network in the same way train it once.

    Its folder holds ``runs/``, ``best/``, ``results.csv`` and ``summary.json``.
    """

    kind = "comparison"
    marker = "study.json"
    plan: RunGrid
    dataset: ImageDataset

    def tasks(self, folder: Path) -> list[RunTask]:
        """Return every run, repeat by repeat."""
        return [run_task(plan, self.dataset, folder) for plan in self.plan.plans()]

    def default_jobs(self, waiting: int) -> int:
        """Return 1 for heads on frozen features: embedding uses all cores, and each process needs memory of its own."""
        return 1 if self.plan.template.features is not None else super().default_jobs(waiting)

    def conclude(self, outcomes: Sequence[RunOutcome], folder: Path, seconds: float) -> ComparisonResult:
        """Return means, tests and the winner."""
        table = results_table(results_of(outcomes))
        return ComparisonResult(table, _summary(self.plan, outcomes, table, seconds), outcomes)

    def write_page(self, concluded: ComparisonResult, folder: Path) -> None:
        """Copy the winner to ``best/``."""
        winner = choose(self.plan, concluded.results)
        if winner is not None:
            copy_folder(winner.path, folder / "best")


def choose(grid: RunGrid, folders: Sequence[RunFolder]) -> RunFolder | None:
    """Return the best run of the method with the best mean on validation images; the test set has no part in it."""
    values = by_draw(results_table(folders, "validation"), grid.metric)
    winner = best_method(values, grid.metric, repeats=len(grid.repeats))
    if winner is None:
        return None
    repeat = max(values[winner], key=lambda r: METRICS[grid.metric].gain(values[winner][r]))
    return next(f for f in folders if (f.record.method, f.record.draw) == (winner, repeat))


def _summary(
    grid: RunGrid, outcomes: Sequence[RunOutcome], table: pd.DataFrame, seconds: float
) -> GridSummary:
    folders = results_of(outcomes)
    winner = choose(grid, folders)
    best = None if winner is None else winner.record.method
    methods = []
    for method in grid.methods:
        beats, note = verdict(table, method.label, grid.metric)
        entry = method_summary(method.label, method.title, folders, table)
        entry["best"], entry["beats_baseline"] = method.label == best, beats
        entry["note"] = note if entry["n"] else "no run finished"
        methods.append(entry)
    return {
        "format": 1,
        "dataset": folders[0].record.dataset.name if folders else grid.template.source,
        "imbalance": cast(
            ProfileDict, folders[0].record.imbalance.raw if folders else grid.template.split.profile
        ),
        "draws": len(grid.repeats),
        "metric": grid.metric,
        "methods": methods,
        "tests": compare_methods(table, grid.metric),
        "winner": best,
        "failed": failed_runs(outcomes),
        **not_applicable(outcomes),
        "command": grid.command,
        "wall_seconds": round(seconds, 3),
    }
