"""Comparing methods on the same draws: the engine behind ``compare`` and ``demo``."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from counterpoise.datasets import ImageDataset
from counterpoise.evaluation import METRICS
from counterpoise.exceptions import RunFolderError
from counterpoise.files import (
    _copy_folder,
    locked_folder,
    read_object,
    refuse_unexpected,
    write_json,
)
from counterpoise.runs.folder import RunFolder
from counterpoise.runs.results import (
    by_draw,
    compare_methods,
    method_scores,
    results_table,
    verdict,
    write_results,
)
from counterpoise.studies.engine.grid import RunGrid
from counterpoise.studies.engine.run import Listener, Outcome, run_grid


@dataclass(frozen=True)
class ComparisonResult:
    """A finished study.

    Attributes
    ----------
    table : DataFrame
        The test scores in long format, as in ``results.csv``.
    summary : dict
        As in ``summary.json``.
    outcomes : list of Outcome
        What became of each run.
    best : Path or None
        The folder of the winner.
    """

    table: pd.DataFrame
    summary: dict[str, Any]
    outcomes: list[Outcome]
    best: Path | None


def run_comparison(
    study: RunGrid, dataset: ImageDataset, out: Path, *, jobs: int = 1, listen: Listener | None = None
) -> ComparisonResult:
    """Run what is missing of `study` and write its tables to `out`.

    Parameters
    ----------
    study : RunGrid
        What to compare.
    dataset : ImageDataset
        The loaded data set.
    out : Path
        The study's folder: ``runs/``, ``best/``, ``results.csv``, ``summary.json``.
    jobs : int
        Runs at the same time.
    listen : callable, optional
        Hears of the progress.

    Raises
    ------
    RunFolderError
        If `out` holds something else, is in use, or cannot be written.
    """
    start = time.perf_counter()
    out = Path(out)
    identity = study.identity(dataset)
    _check_owner(out, identity)
    with locked_folder(out):
        if not _check_owner(out, identity):
            write_json(out / "study.json", {"format": 1, "identity": identity})
        outcomes = run_grid(study.plans(dataset), dataset, out, jobs=jobs, listen=listen)
        return _conclude(study, outcomes, out, time.perf_counter() - start)


def _check_owner(out: Path, identity: str) -> bool:
    """Return whether the folder holds this comparison already; refuse one that holds anything else."""
    marker = out / "study.json"
    if marker.exists():
        if read_object(marker).get("identity") != identity:
            raise RunFolderError(
                f"{out} holds another comparison (other data or settings); choose another `out`"
            )
        return True
    refuse_unexpected(out, "comparison")
    return False


def _conclude(study: RunGrid, outcomes: list[Outcome], out: Path, seconds: float) -> ComparisonResult:
    folders = [outcome.folder for outcome in outcomes if outcome.folder is not None]
    table = results_table(folders)
    winner, best = _choose(study, folders)
    summary = _summary(study, outcomes, folders, table, winner, seconds)
    write_results(out / "results.csv", table)
    if best is not None:
        _copy_folder(best.path, out / "best")
    write_json(out / "summary.json", summary)
    if not summary["failed"]:
        shutil.rmtree(out / "networks", ignore_errors=True)
    return ComparisonResult(table, summary, outcomes, out / "best" if best is not None else None)


def _choose(study: RunGrid, folders: Sequence[RunFolder]) -> tuple[str | None, RunFolder | None]:
    """Return the method with the best mean on validation data, and its best run there; test images have no say."""
    values = by_draw(results_table(folders, "validation"), study.metric)
    if not values:
        return None, None
    complete = {m: v for m, v in values.items() if len(v) == len(study.draws)} or values
    worth = METRICS[study.metric].gain
    winner = max(complete, key=lambda method: worth(sum(complete[method].values()) / len(complete[method])))
    draw = max(complete[winner], key=lambda d: worth(complete[winner][d]))
    runs = {(f.record["method"], f.record["draw"]): f for f in folders}
    return winner, runs[winner, draw]


def _summary(
    study: RunGrid,
    outcomes: Sequence[Outcome],
    folders: Sequence[RunFolder],
    table: pd.DataFrame,
    winner: str | None,
    seconds: float,
) -> dict[str, Any]:
    validation = results_table(folders, "validation")
    methods = []
    for method in study.methods:
        finished = sorted({f.record["draw"] for f in folders if f.record["method"] == method.label})
        beats, note = verdict(table, method.label, study.metric)
        methods.append(
            {
                "method": method.label,
                "title": method.title,
                "n": len(finished),
                "best": method.label == winner,
                "beats_baseline": beats,
                "note": note if finished else "no run finished",
                "scores": method_scores(table, method.label),
                "validation": method_scores(validation, method.label).get("all", {}),
            }
        )
    return {
        "format": 1,
        "dataset": folders[0].record["dataset"]["name"] if folders else study.source,
        "imbalance": folders[0].record["imbalance"] if folders else study.split.profile,
        "draws": len(study.draws),
        "metric": study.metric,
        "methods": methods,
        "tests": compare_methods(table, study.metric),
        "winner": winner,
        "failed": [
            {"method": o.plan.method, "draw": o.plan.draw, "error": o.error}
            for o in outcomes
            if o.error is not None
        ],
        "command": study.command,
        "wall_seconds": round(seconds, 3),
    }
