"""What ``compare``, ``demo`` and ``train`` have in common: running with bars, showing the table, what to do next."""

from __future__ import annotations

import re
from pathlib import Path

import typer

from counterpoise.cli.printing import advise, command_line, complain, interval, print_json, print_table, say
from counterpoise.cli.progress import watching
from counterpoise.cli.starting import show_notes
from counterpoise.datasets import ImageDataset
from counterpoise.exceptions import InputError
from counterpoise.experiments import RunFolder, Study, StudyResult, execute_run, run_study
from counterpoise.experiments.environment import default_jobs
from counterpoise.experiments.grid import Teller
from counterpoise.experiments.setup import check_study, describe_imbalance

SHOWN = (
    ("G-mean", "all", "gmean"),
    ("macro F1", "all", "f1"),
    ("recall rare", "minority", "recall"),
    ("recall rest", "majority", "recall"),
    ("accuracy", "all", "accuracy"),
)


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
    study: Study, dataset: ImageDataset, folder: Path, *, jobs: int | None, quiet: bool = False
) -> StudyResult:
    """Check a study, run what is missing of it with progress bars, and write its report."""
    from counterpoise.report import build_report

    if jobs is not None and jobs < 1:
        raise InputError(
            f"--jobs {jobs}: at least one run at a time is needed; leave it out for one per core"
        )
    check_study(study, dataset)
    if not quiet:
        show_notes(study)
    runs = len(study.methods) * len(study.draws)
    jobs = jobs or default_jobs(study.config.device, study.config.threads, runs)
    with watching(runs) as listen:
        result = run_study(study, dataset, folder, jobs=min(jobs, runs), listen=listen)
    if len(result.table):
        build_report([folder], folder / "report.html")
    return result


def conclude(
    result: StudyResult, study: Study, folder: Path, *, data_dir: Path | None = None, as_json: bool = False
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


def _show_table(result: StudyResult) -> None:
    """Print the methods' scores on test images, and the verdicts in words."""
    summary = result.summary
    rows = [
        [
            entry["method"],
            *(interval(entry["scores"].get(group, {}).get(metric)) for _, group, metric in SHOWN),
        ]
        for entry in summary["methods"]
    ]
    best = next((i for i, entry in enumerate(summary["methods"]) if entry["best"]), None)
    draws = f"{summary['draws']} draw{'s' if summary['draws'] != 1 else ''}"
    say(f"{summary['dataset']}, {describe_imbalance(summary['imbalance'])}")
    title = (
        f"scores on test images: {'mean ± 95 % interval' if summary['draws'] > 1 else 'values'} of {draws}"
    )
    print_table(["method", *(name for name, _, _ in SHOWN)], rows, title=title, best=best)
    for entry in summary["methods"]:
        if entry["beats_baseline"] is False:
            advise(f"{entry['method']}: {entry['note']}")


def _show_next(result: StudyResult, study: Study, folder: Path, data_dir: Path | None) -> None:
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


def train_one(study: Study, dataset: ImageDataset, folder: Path, *, quiet: bool = False) -> RunFolder:
    """Check a study of one run and carry it out into `folder`, with a progress bar."""
    check_study(study, dataset)
    if not quiet:
        show_notes(study)
    plan = study.plans(dataset)[0]
    with watching(1) as listen:
        return execute_run(plan, dataset, folder, progress=Teller(plan, listen))
