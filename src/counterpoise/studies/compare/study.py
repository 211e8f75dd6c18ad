"""Comparison of methods on the same repeats: the study behind ``compare`` and ``demo``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pandas as pd

from counterpoise.datasets import ImageDataset, ProfileDict
from counterpoise.evaluation import METRICS, Winner
from counterpoise.files import copy_folder
from counterpoise.runs import (
    RunFolder,
    by_draw,
    compare_methods,
    gain_over_baseline,
    results_table,
    verdict,
    winner_of,
)
from counterpoise.studies.compare.cross_validated import (
    choose_by_evidence,
    needs_evidence,
    simplicity,
    write_evidence,
)
from counterpoise.studies.engine.planned_runs import (
    RunConclusion,
    RunGrid,
    RunOutcome,
    RunStudy,
    RunTask,
    method_summary,
    run_task,
)
from counterpoise.studies.engine.summaries import GridSummary, grouping_entry
from counterpoise.studies.engine.tasks import failed_runs, not_applicable, results_of
from counterpoise.studies.fit.evidence import evidence_path
from counterpoise.training import Fitted

ComparisonResult = RunConclusion[GridSummary]
FEWEST_FOLD_REPEATS = 3


@dataclass(frozen=True)
class ComparisonStudy(RunStudy[GridSummary]):
    """Comparison of methods on the same repeats; methods that train the network in the same way train it once.

    Its folder holds ``runs/``, ``best/``, ``results.csv`` and ``summary.json``, and ``evidence/`` where
    cross-validation chooses the winner.
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

    def on_fitted(self, task: RunTask, folder: Path, fitted: Fitted, splits: ImageDataset) -> None:
        """Cross-validate heads on frozen features that have few validation images."""
        if len(self.plan.methods) > 1 and needs_evidence(task.plan, splits):
            # Several repeats of the study are as many repeats of the folds.
            repeats = -(-FEWEST_FOLD_REPEATS // len(self.plan.repeats))
            path = evidence_path(folder, task.path)
            write_evidence(task.plan, fitted, splits, path, fold_repeats=repeats)

    def conclude(self, outcomes: Sequence[RunOutcome], folder: Path, seconds: float) -> ComparisonResult:
        """Return means, tests and the winner."""
        folders = results_of(outcomes)
        table = results_table(folders)
        winner = choose_by_evidence(self.plan, self.dataset, folder, folders) or choose(self.plan, folders)
        return ComparisonResult(table, _summary(self.plan, outcomes, table, winner, seconds), outcomes)

    def write_page(self, concluded: ComparisonResult, folder: Path) -> None:
        """Copy the winner to ``best/``."""
        winner = concluded.summary["winner"]
        if winner is not None:
            copy_folder(best_run(concluded.results, winner, self.plan.metric).path, folder / "best")


def choose(grid: RunGrid, folders: Sequence[RunFolder]) -> Winner | None:
    """Return the winner on validation images; the test set has no part in it."""
    return winner_of(folders, grid.metric, repeats=len(grid.repeats), order=simplicity(grid.methods))


def best_run(folders: Sequence[RunFolder], method: str, metric: str) -> RunFolder:
    """Return the run of a method that is best on its validation images, ties broken by mean recall; else the first."""
    own = [folder for folder in folders if folder.record.method == method]
    table = results_table(own, "validation")
    values = [(METRICS[name].gain, by_draw(table, name).get(method, {})) for name in (metric, "recall")]
    return max(own, key=lambda f: [gain(found.get(f.record.draw, -1.0)) for gain, found in values])


def _summary(
    grid: RunGrid, outcomes: Sequence[RunOutcome], table: pd.DataFrame, winner: Winner | None, seconds: float
) -> GridSummary:
    folders = results_of(outcomes)
    best = None if winner is None else winner.name
    metric = grid.metric if winner is None else winner.metric
    methods = []
    for method in grid.methods:
        gain = gain_over_baseline(table, method.label, metric, folders)
        beats, note = verdict(gain, method.label, metric)
        entry = method_summary(method.label, method.title, folders, table)
        entry["best"], entry["beats_baseline"] = method.label == best, beats
        entry["gain"] = None if gain is None else gain.entry()
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
        "tests": compare_methods(table, metric),
        "winner": best,
        "choice": None if winner is None else winner.to_dict(),
        "notes": list(grid.notes),
        "failed": failed_runs(outcomes),
        **not_applicable(outcomes),
        "grouping": grouping_entry(grid.grouping),
        "command": grid.command,
        "wall_seconds": round(seconds, 3),
    }
