"""Comparing methods on the same draws: the engine behind ``compare`` and ``demo``."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from counterpoise.datasets import ImageDataset
from counterpoise.exceptions import RunFolderError
from counterpoise.experiments.folder import RunFolder, locked_folder, read_object, refuse_strangers
from counterpoise.experiments.grid import Listener, Outcome, run_grid
from counterpoise.experiments.plan import RunPlan, SplitPlan
from counterpoise.experiments.results import (
    by_draw,
    compare_methods,
    method_scores,
    results_table,
    verdict,
    write_results,
)
from counterpoise.files import content_hash, write_json
from counterpoise.methods import Method
from counterpoise.training import TrainingConfig


@dataclass(frozen=True, kw_only=True)
class Study:
    """Several methods on several draws of one data set.

    Attributes
    ----------
    source : str
        The data set as the user named it.
    split : SplitPlan
        How it is split and thinned.
    methods : tuple of Method
        What is compared.
    draws : tuple of int
        Which draws; draw d has the seed ``config.seed + d`` for its split and its training.
    network : str
        The network's name.
    config : TrainingConfig
        All settings of the training.
    metric : str
        What the winner is chosen by, on the validation images.
    weights : str or None
        File of pretrained weights.
    weights_hash : str or None
        Its content hash.
    new_head, freeze, cache
        As in `RunPlan`.
    notes : tuple of str
        What was decided for the user, in words.
    command : str
        The command line, for the record.
    """

    source: str
    split: SplitPlan
    methods: tuple[Method, ...]
    draws: tuple[int, ...]
    network: str
    config: TrainingConfig
    metric: str = "gmean"
    weights: str | None = None
    weights_hash: str | None = None
    new_head: bool = False
    freeze: int | str | None = None
    cache: str | None = None
    notes: tuple[str, ...] = ()
    command: str = ""

    def plans(self, dataset: ImageDataset) -> list[RunPlan]:
        """Return every run of the study, draw by draw."""
        template = RunPlan(
            source=self.source,
            fingerprint=dataset.fingerprint,
            image_size=dataset.image_size,
            split=self.split,
            draw=0,
            method=self.methods[0].label,
            network=self.network,
            config=self.config,
            weights=self.weights,
            weights_hash=self.weights_hash,
            new_head=self.new_head,
            freeze=self.freeze,
            cache=self.cache,
        )
        return [
            replace(
                template,
                draw=draw,
                method=method.label,
                config=self.config.model_copy(update={"seed": self.config.seed + draw}),
            )
            for draw in self.draws
            for method in self.methods
        ]

    def identity(self, dataset: ImageDataset) -> str:
        """Hash of what all runs of a study share; methods and draws may be added to a study later."""
        plan = self.plans(dataset)[0].to_dict()
        del plan["draw"], plan["method"], plan["source"], plan["weights"], plan["split"]["manifest"]
        del plan["cache"]
        return content_hash(plan)


@dataclass(frozen=True)
class StudyResult:
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


def run_study(
    study: Study, dataset: ImageDataset, out: Path, *, jobs: int = 1, listen: Listener | None = None
) -> StudyResult:
    """Run what is missing of `study` and write its tables to `out`.

    Parameters
    ----------
    study : Study
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
    refuse_strangers(out, "comparison")
    return False


def _conclude(study: Study, outcomes: list[Outcome], out: Path, seconds: float) -> StudyResult:
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
    return StudyResult(table, summary, outcomes, out / "best" if best is not None else None)


def _choose(study: Study, folders: Sequence[RunFolder]) -> tuple[str | None, RunFolder | None]:
    """Return the method with the best mean on validation data, and its best run there; test images have no say."""
    values = by_draw(results_table(folders, "validation"), study.metric)
    if not values:
        return None, None
    complete = {m: v for m, v in values.items() if len(v) == len(study.draws)} or values
    winner = max(complete, key=lambda method: sum(complete[method].values()) / len(complete[method]))
    draw = max(complete[winner], key=lambda d: complete[winner][d])
    runs = {(f.record["method"], f.record["draw"]): f for f in folders}
    return winner, runs[winner, draw]


def _summary(
    study: Study,
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


def _copy_folder(source: Path, target: Path) -> None:
    """Copy a run folder so that `target` is at every moment a whole run folder, or (for an instant) absent."""
    staging = Path(tempfile.mkdtemp(prefix=".best-", dir=target.parent))
    try:
        ignored = shutil.ignore_patterns(".lock", "checkpoints")
        shutil.copytree(source, staging / "new", ignore=ignored)
        if target.exists():
            target.replace(staging / "old")
        (staging / "new").replace(target)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
