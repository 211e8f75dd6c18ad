"""Carrying out an enhancement study and writing its tables."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from counterpoise.datasets import ImageDataset, SplitManifest
from counterpoise.exceptions import RunFolderError
from counterpoise.files import (
    content_hash,
    locked_folder,
    read_json,
    read_object,
    refuse_unexpected,
    write_json,
)
from counterpoise.runs.folder import RunFolder
from counterpoise.runs.results import results_table, write_results
from counterpoise.studies.engine.run import Event, Listener, Outcome, run_grid
from counterpoise.studies.enhance.figures import DRAWING, choose_images, draw_figures
from counterpoise.studies.enhance.grid import run_variants
from counterpoise.studies.enhance.page import write_page
from counterpoise.studies.enhance.plan import ENHANCED, EnhanceStudy
from counterpoise.studies.enhance.reading import read_predictions
from counterpoise.studies.enhance.summary import full_table, summarize
from counterpoise.training import RunPlan


@dataclass(frozen=True)
class EnhanceResult:
    """A finished study.

    Attributes
    ----------
    table : DataFrame
        The test scores in long format, as in ``results.csv``.
    summary : dict
        As in ``summary.json``.
    outcomes : list of Outcome
        What became of each run.
    classifier, enhanced : RunFolder or None
        The runs, of the first draw that has both, of the classifier alone and behind the U-Net.
    """

    table: pd.DataFrame
    summary: dict[str, Any]
    outcomes: list[Outcome]
    classifier: RunFolder | None
    enhanced: RunFolder | None


def run_enhance(
    study: EnhanceStudy,
    dataset: ImageDataset,
    out: Path,
    *,
    jobs: int = 1,
    listen: Listener | None = None,
) -> EnhanceResult:
    """Run what is missing of `study` and write its tables and its page to `out`.

    Parameters
    ----------
    study : EnhanceStudy
        What to do.
    dataset : ImageDataset
        The loaded data set.
    out : Path
        The study's folder: ``runs/``, ``results.csv``, ``results-full.csv``, ``summary.json``, ``enhance.html``.
    jobs : int
        Runs at the same time.
    listen : callable, optional
        Hears of the steps and ends of runs.

    Raises
    ------
    RunFolderError
        If `out` holds something else, is in use, or cannot be written.
    """
    start = time.perf_counter()
    out = Path(out)
    listen = listen or _ignore
    identity = study.identity(dataset)
    _check_owner(out, identity)
    with locked_folder(out):
        if not _check_owner(out, identity):
            write_json(out / "enhance.json", {"format": 1, "identity": identity})
        outcomes = _run(study, dataset, out, jobs, listen)
        folders = [outcome.folder for outcome in outcomes if outcome.folder is not None]
        table = results_table(folders)
        summary = summarize(study, outcomes, table, seconds=time.perf_counter() - start)
        write_results(out / "results.csv", table)
        write_results(out / "results-full.csv", full_table(folders))
        _write_summary(summary, out)
        if not summary["failed"]:
            shutil.rmtree(out / "networks", ignore_errors=True)
    return EnhanceResult(table, summary, outcomes, *_first_pair(study, folders))


def show_images(
    result: EnhanceResult,
    dataset: ImageDataset,
    out: Path,
    *,
    count: int = 8,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Draw the four comparisons of the slides for some test images, and put them on the study's page.

    Figures that are there already are not drawn again.

    Parameters
    ----------
    result : EnhanceResult
        The finished study; its summary gets the images.
    dataset : ImageDataset
        The loaded data set.
    out : Path
        The study's folder: the figures go to ``figures/``.
    count : int
        How many images at most.
    progress : callable, optional
        Called with (done, total).

    Raises
    ------
    RunFolderError
        If `out` is in use, or cannot be written.
    """
    if result.classifier is None or result.enhanced is None:
        return
    with locked_folder(out):
        result.summary["images"] = _figures(result.classifier, result.enhanced, dataset, out, count, progress)
        _write_summary(result.summary, out)


def _write_summary(summary: dict[str, Any], out: Path) -> None:
    write_json(out / "summary.json", summary)
    write_page(summary, out / "figures", out / "enhance.html")


def _check_owner(out: Path, identity: str) -> bool:
    """Return whether the folder holds this study already; refuse one that holds anything else."""
    marker = out / "enhance.json"
    if marker.exists():
        if read_object(marker).get("identity") != identity:
            raise RunFolderError(
                f"{out} holds another enhancement (other data or settings); choose another `out`"
            )
        return True
    refuse_unexpected(out, "enhancement")
    return False


def _run(study: EnhanceStudy, dataset: ImageDataset, out: Path, jobs: int, listen: Listener) -> list[Outcome]:
    """Train the classifiers of all draws, then what starts from them."""
    plans = study.classifiers.plans(dataset)
    outcomes = run_grid(plans, dataset, out, jobs=_useful_jobs(plans, out, jobs), listen=listen)
    classifiers = {
        o.plan.draw: o.folder.path
        for o in outcomes
        if o.folder is not None and o.plan.method == study.classifier.label
    }
    arms = [plan for plan in study.variant_plans(dataset) if plan.draw in classifiers]
    return outcomes + run_variants(
        arms, classifiers, dataset, out, jobs=_useful_jobs(arms, out, jobs), listen=listen
    )


def _useful_jobs(plans: Sequence[RunPlan], out: Path, jobs: int) -> int:
    """Return how many processes there is work for: starting one takes seconds."""
    folders = [(plan, RunFolder(out / "runs" / plan.folder_name)) for plan in plans]
    missing = sum(not folder.is_complete(plan.hash) for plan, folder in folders)
    return max(1, min(jobs, missing))


def _first_pair(
    study: EnhanceStudy, folders: list[RunFolder]
) -> tuple[RunFolder, RunFolder] | tuple[None, None]:
    """Return the classifier and what stands behind the U-Net, of the first draw that has both."""
    runs = {(folder.record["draw"], folder.record["method"]): folder for folder in folders}
    for draw in study.classifiers.draws:
        if (draw, ENHANCED) in runs:
            return runs[draw, study.classifier.label], runs[draw, ENHANCED]
    return None, None


def _figures(
    classifier: RunFolder,
    enhanced: RunFolder,
    dataset: ImageDataset,
    out: Path,
    count: int,
    progress: Callable[[int, int], None] | None,
) -> list[dict[str, Any]]:
    """Draw the figures, unless they are there."""
    folder = out / "figures"
    marker = folder / "figures.json"
    identity = content_hash([enhanced.record["config_hash"], count, DRAWING])
    if marker.exists():
        found = read_json(marker)
        if isinstance(found, dict) and found.get("identity") == identity:
            return found["images"]
    shutil.rmtree(folder, ignore_errors=True)
    chosen = choose_images(read_predictions(classifier), read_predictions(enhanced), count)
    splits = SplitManifest.load(enhanced.path / "manifest.json").apply(dataset)
    shown = [asdict(item) for item in draw_figures(chosen, classifier, enhanced, splits, folder, progress)]
    write_json(marker, {"identity": identity, "images": shown})
    return shown


def _ignore(news: Event) -> None:
    pass
