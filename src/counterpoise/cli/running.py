"""What ``compare``, ``demo`` and ``train`` have in common: running with bars, showing the table, what to do next."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from counterpoise.cli.options import Reading
from counterpoise.cli.printing import advise, command_line, complain, interval, print_json, print_table, say
from counterpoise.cli.progress import counting, watching
from counterpoise.datasets import ImageDataset
from counterpoise.exceptions import InputError
from counterpoise.report.kit.wording import describe_imbalance
from counterpoise.runs.folder import RunFolder
from counterpoise.studies.compare.study import ComparisonResult, run_comparison
from counterpoise.studies.engine.events import ThrottledProgress
from counterpoise.studies.engine.grid import RunGrid, check_grid
from counterpoise.training import execute_run

if TYPE_CHECKING:
    from counterpoise.datasets import SkippedFile


def folder_for(dataset: ImageDataset, *more: str) -> Path:
    """Return the folder that results go to where the user names none.

    Parameters
    ----------
    dataset : ImageDataset
        Its name may be any text.
    *more : str
        What else is part of the folder's name.
    """
    words = [re.sub(r"[^\w.=-]+", "-", word).strip("-.") for word in (dataset.name, *more)]
    return Path("out") / "-".join(word or "data" for word in words)


def carry_out(
    study: RunGrid, dataset: ImageDataset, folder: Path, *, jobs: int | None, quiet: bool = False
) -> ComparisonResult:
    """Check a study, run what is missing of it with progress bars, and write its report."""
    from counterpoise.report.comparison_page import build_report

    if jobs is not None and jobs < 1:
        raise InputError(
            f"--jobs {jobs}: at least one run at a time is needed; leave it out for one per core"
        )
    check_grid(study, dataset)
    if not quiet:
        show_notes(study)
    with watching(len(study.methods) * len(study.draws)) as on_event:
        result = run_comparison(study, dataset, folder, jobs=jobs, on_event=on_event)
    if len(result.table):
        build_report([folder], folder / "report.html")
    return result


def conclude(
    result: ComparisonResult,
    study: RunGrid,
    folder: Path,
    *,
    data_dir: Path | None = None,
    as_json: bool = False,
) -> None:
    """Show a finished study; end with exit code 1 where runs failed."""
    if as_json:
        print_json(result.summary)
    elif len(result.table):
        _show_table(result)
        _show_next(result, study, folder, data_dir)
    elif not result.summary["failed"]:
        say(f"{result.summary['dataset']} has too few images to keep any for testing: there are no scores")
    for failure in result.summary["failed"]:
        complain(f"{failure['method']}, draw {failure['draw']}, failed: {failure['error']}")
    if result.summary["failed"]:
        raise typer.Exit(1)


def _show_table(result: ComparisonResult) -> None:
    """Print the methods' scores on test images, and the verdicts in words."""
    from counterpoise.evaluation import column_title, compact_columns

    summary = result.summary
    columns = [(metric.name, group.name) for metric, group in compact_columns()]
    rows = [
        [
            entry["method"],
            *(interval(entry["scores"].get(group, {}).get(metric)) for metric, group in columns),
        ]
        for entry in summary["methods"]
    ]
    best = next((i for i, entry in enumerate(summary["methods"]) if entry["best"]), None)
    draws = f"{summary['draws']} draw{'s' if summary['draws'] != 1 else ''}"
    say(f"{summary['dataset']}, {describe_imbalance(summary['imbalance'])}")
    title = (
        f"scores on test images: {'mean ± 95 % interval' if summary['draws'] > 1 else 'values'} of {draws}"
    )
    print_table(["method", *(column_title(*column) for column in columns)], rows, title=title, best=best)
    for entry in summary["methods"]:
        if entry["beats_baseline"] is False:
            advise(f"{entry['method']}: {entry['note']}")


def _show_next(result: ComparisonResult, study: RunGrid, folder: Path, data_dir: Path | None) -> None:
    summary = result.summary
    if summary["winner"] is None:
        say("no winner: without validation images there is nothing to choose by")
    else:
        say(
            f"winner by {summary['metric']} on validation images: {summary['winner']}, kept as {folder / 'best'}"
        )
        where = () if data_dir is None else ("--data-dir", data_dir)
        show_next(folder / "best", "evaluate", folder / "best", study.source, *where)
    say(f"report: {folder / 'report.html'}")


def show_next(run: Path, *words: object) -> None:
    """Print what to type next: the command of `words`, which can be pasted as it is, and how to use the model."""
    say(f"next: {command_line(*words)}")
    say(f"      {command_line('predict', run)} PHOTOS   (files, folders or zips of new images)")


def train_one(study: RunGrid, dataset: ImageDataset, folder: Path, *, quiet: bool = False) -> RunFolder:
    """Check a study of one run and carry it out into `folder`, with a progress bar."""
    check_grid(study, dataset)
    if not quiet:
        show_notes(study)
    plan = study.plans(dataset)[0]
    with watching(1) as on_event:
        progress = ThrottledProgress(plan.folder_name, f"{plan.draw}: {plan.method}", on_event)
        return execute_run(plan, dataset, folder, progress=progress)


NAMED = 10


def load(source: str, *, quiet: bool = False, **settings: Any) -> ImageDataset:
    """Load a data set with a progress bar; images that were skipped are named on stderr unless `quiet`."""
    from counterpoise.datasets import load_dataset

    with counting("reading images", "img") as update:
        dataset = load_dataset(source, progress=update, **settings)
    if not quiet:
        report_skipped(dataset.skipped)
    return dataset


def report_skipped(skipped: Sequence[SkippedFile]) -> None:
    """Name on stderr the images that could not be read."""
    for file in skipped[:NAMED]:
        complain(f"skipped {file.path}: {file.reason}")
    if len(skipped) > NAMED:
        complain(f"... and {len(skipped) - NAMED} more; `counterpoise audit DATA --json` names them all")


def reading_settings(reading: Reading, weights: Path | None) -> dict[str, Any]:
    """Return how images are to be read: at the size that another run's network is used to, if it starts from one."""
    settings = dict(vars(reading))
    if weights is None or not weights.is_dir() or reading.image_size is not None:
        return settings
    from counterpoise.runs.folder import RunFolder

    height, width = RunFolder.open(weights).record["network"]["image_size"]
    return settings | {"image_size": (height, width)}


def show_notes(study: RunGrid) -> None:
    """Print what was decided for the user."""
    for note in study.notes:
        advise(note)


def show_frozen(folder: RunFolder) -> None:
    """Say how much of a finished run's network was trained, where some of it was not."""
    frozen = folder.record["start"]["freeze"]
    if frozen is not None:
        first = "the first layer" if frozen == 1 else f"the first {frozen} layers"
        what = "everything below the head" if frozen == "all" else first
        trained = folder.record["network"]["parameters"]
        advise(f"{what} stayed frozen; {trained:,} parameters were trained")
