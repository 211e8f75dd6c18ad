"""Steps that several commands share: loading images, running with bars, showing results, exit codes."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from counterpoise.cli.printing import advise, command_line, complain, print_json, say
from counterpoise.cli.progress import counting, watching
from counterpoise.config import DataConfig
from counterpoise.exceptions import InputError

if TYPE_CHECKING:
    from counterpoise.config import CompareConfig, EnhanceConfig, ReproduceConfig, TransferConfig
    from counterpoise.datasets import ImageDataset, SkippedFile
    from counterpoise.runs import RunFolder
    from counterpoise.studies import Conclusion, Study
    from counterpoise.training import Preparation

    StudyConfig = CompareConfig | EnhanceConfig | ReproduceConfig | TransferConfig

NAMED = 10
Plan = TypeVar("Plan")
Result = TypeVar("Result")


def load(data: DataConfig, *, weights: Path | None = None, quiet: bool = False) -> ImageDataset:
    """Load a dataset with a progress bar; images that were skipped are named on stderr unless `quiet`.

    Images are read at the size that the network of the run `weights` is used to, unless a size is given.
    """
    from counterpoise.datasets import load_dataset

    settings = data.model_dump(exclude={"source"})
    if data.source is None:
        raise InputError("`source` is missing; give a dataset: a name, a folder, a zip or a CSV")
    if weights is not None and weights.is_dir() and data.image_size is None:
        from counterpoise.runs import RunFolder

        settings["image_size"] = tuple(RunFolder.open(weights).record.network.image_size)
    with counting("reading images", "img") as update:
        dataset = load_dataset(data.source, progress=update, **settings)
    if not quiet:
        report_skipped(dataset.skipped)
    return dataset


def load_for(run: RunFolder, source: str | None, *, data_dir: Path | None, strict: bool) -> ImageDataset:
    """Load a dataset as a finished run reads it."""
    from counterpoise.inference import load_for_run

    name = source or run.record.dataset.source
    with counting("reading images", "img") as update:
        dataset = load_for_run(run, name, data_dir=data_dir, strict=strict, progress=update)
    report_skipped(dataset.skipped)
    return dataset


def report_skipped(skipped: Sequence[SkippedFile]) -> None:
    """Name on stderr the images that could not be read."""
    for file in skipped[:NAMED]:
        complain(f"skipped {file.path}: {file.reason}")
    if len(skipped) > NAMED:
        complain(f"... and {len(skipped) - NAMED} more; `counterpoise audit DATA --json` names them all")


def folder_for(dataset: ImageDataset, *more: str) -> Path:
    """Return the folder that results go to where the user names none; names of datasets may be any text."""
    words = [re.sub(r"[^\w.=-]+", "-", word).strip("-.") for word in (dataset.name, *more)]
    return Path("out") / "-".join(word or "data" for word in words)


def train_one(prepared: Preparation, dataset: ImageDataset, folder: Path) -> RunFolder:
    """Execute a prepared run into `folder`, with a progress bar."""
    from counterpoise.studies import ThrottledProgress
    from counterpoise.training import execute_run

    plan = prepared.plan
    with watching(1) as on_event:
        progress = ThrottledProgress(plan.folder_name, f"{plan.draw}: {plan.method}", on_event)
        return execute_run(plan, dataset, folder, progress=progress)


def run_with_bars(
    study: Study[Plan, Result],
    folder: Path,
    config: StudyConfig,
    *,
    tasks: int,
) -> Conclusion[Plan, Result]:
    """Run the unfinished tasks of a study, with one bar for all and one for each under way."""
    from counterpoise.studies import run_study

    with watching(tasks) as on_event:
        return run_study(study, folder, jobs=config.jobs, backend=config.backend, on_event=on_event)


def finish(summary: Mapping[str, Any], show: Callable[[], None], *, as_json: bool) -> int:
    """Show a finished study, as JSON or in words, and what failed on stderr; return the exit code."""
    if as_json:
        print_json(summary)
    else:
        show()
        for entry in summary.get("not_applicable", ()):
            advise(f"{entry['method']}, repeat {entry['draw']}, does not apply here: {entry['reason']}")
    for failure in summary["failed"]:
        name = failure["method"] if "method" in failure else failure["name"]
        complain(f"{name}, repeat {failure['draw']}, failed: {failure['error']}")
    return 1 if summary["failed"] else 0


def show_notes(notes: Sequence[str], *, as_json: bool) -> None:
    """Print what was decided for the user."""
    for note in () if as_json else notes:
        advise(note)


def show_next(run: Path, *words: object) -> None:
    """Print what to type next: the command of `words`, which can be pasted as it is, and how to use the model."""
    say(f"next: {command_line(*words)}")
    say(f"      {command_line('predict', run)} PHOTOS   (files, folders or zips of new images)")


def in_data_dir(data_dir: Path | None) -> tuple[object, ...]:
    """Return the words that name the folder of the built-in datasets in a command."""
    return () if data_dir is None else ("--data-dir", data_dir)
