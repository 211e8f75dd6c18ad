"""Steps that several commands share: progress bars, loading images, running studies, showing results, exit codes."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Task as RichTask
from rich.table import Column
from rich.text import Text

from counterpoise.cli.options import Call
from counterpoise.cli.printing import (
    Names,
    advise,
    command_line,
    complain,
    interval,
    mean_of,
    print_json,
    print_table,
    say,
)
from counterpoise.config import CompareConfig, DataConfig, EnhanceConfig, ReproduceConfig, TransferConfig
from counterpoise.exceptions import InputError

if TYPE_CHECKING:
    from counterpoise.datasets import ImageDataset, SkippedFile
    from counterpoise.runs import RunFolder
    from counterpoise.studies import Conclusion, Event, Study, StudySummary
    from counterpoise.studies.compare import ComparisonResult
    from counterpoise.training import Step

StudyConfig = CompareConfig | EnhanceConfig | ReproduceConfig | TransferConfig
NAMED = 10
SECONDS_BETWEEN_LINES = 10.0
STAGES = {
    "embed": "embedding images",
    "train": "training",
    "head": "training the head",
    "curve": "learning curve",
}
Plan = TypeVar("Plan")
Result = TypeVar("Result")
Summary = TypeVar("Summary", bound="StudySummary")


class _Rate(ProgressColumn):
    def render(self, task: RichTask) -> Text:
        unit, speed = task.fields.get("unit"), task.finished_speed or task.speed
        return Text(f"{speed:,.0f} {unit}/s" if unit and speed else "", style="dim")


def _bars() -> Progress:
    console = Console(stderr=True)
    name, detail = (Column(no_wrap=True, overflow="ellipsis") for _ in range(2))
    # All that is known, the rarest needed last: a narrow terminal cuts the end off.
    return Progress(
        TextColumn("{task.description}", markup=False, table_column=name),
        BarColumn(bar_width=12),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeRemainingColumn(compact=True, elapsed_when_finished=True),
        _Rate(table_column=Column(no_wrap=True)),
        TextColumn("{task.fields[detail]}", style="dim", markup=False, table_column=detail),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


@contextmanager
def counting(description: str, unit: str) -> Iterator[Callable[[int, int], None]]:
    """Yield a function ``update(done, total)`` that moves one bar."""
    with _bars() as bars:
        task = bars.add_task(description, total=None, unit=unit, detail="")
        yield lambda done, total: bars.update(task, completed=done, total=total)


@contextmanager
def watching(runs: int, *, one_repeat: bool = False) -> Iterator[Callable[[Event], None]]:
    """Yield a function that moves one bar for the whole study, and one for each run under way, at every event.

    Where stderr is no terminal, it writes lines, at most one in ten seconds; for the few runs of `one_repeat`, one at
    the end of each.
    """
    with _bars() as bars:
        if bars.disable:
            yield _Lines(runs, one_repeat=one_repeat)
            return
        whole = bars.add_task(f"{runs} runs" if runs != 1 else "1 run", total=runs, unit="", detail="")
        tasks: dict[str, TaskID] = {}
        shares: dict[str, float] = {}
        untried = set[str]()

        def on_event(event: Event) -> None:
            name, step = event.key, event.step
            untried.update([name] if event.reason is not None else [])
            shares[name] = 1.0 if step is None else _share(step)
            done = sum(share for key, share in shares.items() if key not in untried)
            bars.update(whole, completed=done, total=runs - len(untried))
            if step is None:
                if name in tasks:
                    bars.remove_task(tasks.pop(name))
                return
            if name not in tasks:
                tasks[name] = bars.add_task(f" {event.title}", unit="img", detail="")
            bars.update(tasks[name], completed=step.done, total=step.total, detail=_describe(step))

        yield on_event


class _Lines:
    """Progress of a study as plain lines on stderr; `clock` gives seconds."""

    def __init__(
        self, runs: int, *, one_repeat: bool = False, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.runs, self.one_repeat, self.clock, self.ended = runs, one_repeat, clock, 0
        self.last = clock()
        self.started: dict[str, tuple[float, float]] = {}

    def __call__(self, event: Event) -> None:
        now, step = self.clock(), event.step
        title = event.title.removeprefix("0: ") if self.one_repeat else event.title
        if event.reason is not None:
            self.runs -= 1  # the reason follows at the end
            return
        if step is None:
            self.ended += 1
            if self.one_repeat or now - self.last >= SECONDS_BETWEEN_LINES:
                self.last = now
                complain(f"{self.ended} of {self.runs} done: {title}")
            return
        stage = f"{event.key} {step.stage}"
        began, done = self.started.setdefault(stage, (now, float(step.done)))
        if now - self.last >= SECONDS_BETWEEN_LINES:
            self.last = now
            speed = (step.done - done) / (now - began) if now > began else 0.0
            left = f", about {max(0, step.total - step.done) / speed:,.0f} s left" if speed else ""
            what = STAGES.get(step.stage, step.stage)
            complain(f"{title}: {what}, {step.done:,} of {step.total:,}{left}")


def _share(step: Step) -> float:
    """Return how much of a run is done; most of the work of a feature-space method is its first stage."""
    done = step.done / max(1, step.total)
    return {"representation": 0.9 * done, "head": 0.9 + 0.1 * done}.get(step.stage, done)


def _describe(step: Step) -> str:
    if step.stage == "embed":
        return STAGES["embed"]
    stage = "" if step.stage == "train" else f"  {step.stage}"
    return f"loss {step.loss:.3g}  epoch {step.epoch}/{step.epochs}{stage}"


def load(
    data: DataConfig,
    *,
    weights: Path | None = None,
    quiet: bool = False,
    in_memory: bool | Literal["auto"] = "auto",
) -> ImageDataset:
    """Load a dataset with a progress bar; images that were skipped are named on stderr unless `quiet`.

    Images are read at the size that the network of the run `weights` is used to, unless a size is given.
    """
    from counterpoise.datasets import load_dataset

    settings = data.model_dump(exclude={"source"}) | {"duplicates": data.duplicates or "keep"}
    if data.source is None:
        raise InputError("`source` is missing; give a dataset: a name, a folder, a zip or a CSV")
    if weights is not None and weights.is_dir() and data.image_size is None:
        from counterpoise.runs import RunFolder

        settings["image_size"] = tuple(RunFolder.open(weights).record.network.image_size)
    with counting("reading images", "img") as update:
        dataset = load_dataset(data.source, progress=update, in_memory=in_memory, **settings)
    if not quiet:
        report_skipped(dataset.skipped, dataset.notes)
    return dataset


def load_for(run: RunFolder, source: str | None, *, data_dir: Path | None, strict: bool) -> ImageDataset:
    """Load a dataset as a finished run reads it."""
    from counterpoise.inference import load_for_run

    name = source or run.record.dataset.source
    with counting("reading images", "img") as update:
        dataset = load_for_run(run, name, data_dir=data_dir, strict=strict, progress=update)
    report_skipped(dataset.skipped, dataset.notes)
    return dataset


def report_skipped(skipped: Sequence[SkippedFile], notes: Sequence[str] = ()) -> None:
    """Name on stderr the images that could not be read, or were not read as they are."""
    for note in notes:
        complain(Names().translate(note))
    for file in skipped[:NAMED]:
        complain(f"skipped {file.path}: {file.reason}")
    if len(skipped) > NAMED:
        complain(f"... and {len(skipped) - NAMED} more; `counterpoise audit DATA --json` names them all")


def show_seen(seen: Mapping[str, int] | None, fate: str) -> None:
    """Say on stderr how many images a model learned from, if any, and what became of them."""
    if seen and any(seen.values()):
        each = ", ".join(f"{role} {count:,}" for role, count in seen.items() if count)
        complain(f"{fate}: {sum(seen.values()):,} images that the model learned from ({each})")


def folder_for(dataset: ImageDataset, *more: str) -> Path:
    """Return the folder that results go to where the user names none; names of datasets may be any text."""
    words = [re.sub(r"[^\w.=-]+", "-", word).strip("-.") for word in (dataset.name, *more)]
    return Path("out") / "-".join(word or "data" for word in words)


def run_with_bars(
    study: Study[Plan, Result, Summary], folder: Path, config: StudyConfig, *, tasks: int
) -> Conclusion[Plan, Result, Summary]:
    """Run the unfinished tasks of a study, with one bar for all and one for each under way."""
    from counterpoise.studies import run_study

    with watching(tasks) as on_event:
        where, address = config.backend, config.address
        return run_study(study, folder, jobs=config.jobs, backend=where, address=address, on_event=on_event)


def finish(
    summary: StudySummary, show: Callable[[], None], *, as_json: bool, one_repeat: bool = False
) -> int:
    """Show a finished study, as JSON or in words, and what failed on stderr; return the exit code.

    With `one_repeat`, candidates that are left out are named without their repeat.
    """
    if as_json:
        print_json(summary)
    else:
        show()
        for entry in summary.get("not_applicable", ()):
            reason = Names().translate(entry["reason"])
            what = " was not tried" if one_repeat else f", repeat {entry['draw']}, does not apply here"
            advise(f"{entry['method']}{what}: {reason}")
    for failure in summary["failed"]:
        name = failure.get("method") or failure["name"]
        complain(Names().translate(f"{name}, repeat {failure['draw']}, failed: {failure['error']}"))
    return 1 if summary["failed"] else 0


def show_notes(notes: Sequence[str], *, as_json: bool) -> None:
    """Print what was decided for the user."""
    for note in () if as_json else notes:
        advise(Names().translate(note))


def show_next(run: Path, *words: object) -> None:
    """Print what to type next: the command of `words`, which can be pasted as it is, and how to use the model."""
    say(f"next: {command_line(*words)}")
    say(f"      {command_line('predict', run)} PHOTOS   (files, folders or zips of new images)")


def in_data_dir(data_dir: Path | None) -> tuple[object, ...]:
    """Return the words that name the folder of the built-in datasets in a command."""
    return () if data_dir is None else ("--data-dir", data_dir)


def compare(dataset: ImageDataset, config: CompareConfig, call: Call) -> int:
    """Run a comparison with progress bars, write its report and show it; return the exit code."""
    from counterpoise.report import build_report
    from counterpoise.studies import ComparisonStudy, make_grid

    grid = make_grid(dataset, config, command=call.line)
    show_notes(grid.notes, as_json=call.as_json)
    folder = config.out or folder_for(dataset)
    runs = len(grid.methods) * len(grid.repeats)
    result = run_with_bars(ComparisonStudy(grid, dataset), folder, config, tasks=runs)
    if len(result.table):
        build_report([folder], folder / "report.html")
    return finish(result.summary, lambda: show_comparison(result, config, folder), as_json=call.as_json)


def _tested_on(methods: Sequence[Mapping[str, Any]]) -> str:
    """Return how many test images the scores rest on, of all classes and of the rare ones."""
    groups = methods[0]["scores"]
    sizes = {
        g: max((e.get("images", 0) for e in groups.get(g, {}).values()), default=0)
        for g in ("all", "minority")
    }
    rare = f", {sizes['minority']:,} of them of rare classes" if sizes["minority"] else ""
    return f"scores rest on {sizes['all']:,} independent test images{rare}"


def show_certainty(winner: Mapping[str, Any]) -> None:
    """Print how far the winner is from the baseline on the test images, unless it is the baseline."""
    gain = winner.get("gain")
    if gain is None or gain["mean"] is None:
        return
    if winner["beats_baseline"] is False and gain["low"] is not None and gain["high"] is not None:
        advise(
            f"on the test images the baseline scores higher than {winner['method']}, by {-gain['mean']:.3f} "
            f"(95 %: {-gain['high']:.3f} to {-gain['low']:.3f}), against the validation images: keep more images for "
            "validation, or add repeats, before one of the two is used"
        )
    else:
        advise(f"{winner['method']}: {winner['note']} on the test images")


def show_comparison(result: ComparisonResult, config: CompareConfig, folder: Path) -> None:
    """Print the table of a comparison, its verdicts in words, and what to type next."""
    from counterpoise.evaluation import column_title, compact_columns
    from counterpoise.report import describe_imbalance

    summary, methods, run = result.summary, result.summary["methods"], folder / "best"
    if not len(result.table):
        if not summary["failed"]:
            say(f"{summary['dataset']} has too few images to keep any for testing: there are no scores")
        return
    columns = [(metric.name, group.name) for metric, group in compact_columns()]
    rows = [
        [entry["method"], *(interval(entry["scores"].get(group, {}).get(m)) for m, group in columns)]
        for entry in methods
    ]
    best = next((i for i, entry in enumerate(methods) if entry["best"]), None)
    say(f"{summary['dataset']}, {describe_imbalance(summary['imbalance'])}")
    title = f"scores on the test set: {mean_of(summary['draws'])}"
    print_table(["method", *(column_title(*column) for column in columns)], rows, title=title, best=best)
    say(_tested_on(methods))
    for entry in methods:
        if entry["beats_baseline"] is False and not entry["best"]:
            advise(f"{entry['method']}: {entry['note']}")
    choice = summary.get("choice")
    if summary["winner"] is None or choice is None:
        say("no winner: without validation images there is nothing to choose by")
    else:
        say(f"winner: {choice['name']}, kept as {run}")
        advise(choice["reason"])
        show_certainty(next(entry for entry in methods if entry["best"]))
        show_next(run, "evaluate", run, config.data.source, *in_data_dir(config.data.data_dir))
    say(f"report: {folder / 'report.html'}")
