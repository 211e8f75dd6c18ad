"""Progress bars on stderr, where it is a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Task as RichTask
from rich.table import Column
from rich.text import Text

if TYPE_CHECKING:
    from counterpoise.studies import Event
    from counterpoise.training import Step


class _Rate(ProgressColumn):
    def __init__(self) -> None:
        super().__init__(table_column=Column(no_wrap=True))

    def render(self, task: RichTask) -> Text:
        unit, speed = task.fields.get("unit"), task.finished_speed or task.speed
        return Text(f"{speed:,.0f} {unit}/s" if unit and speed else "", style="dim")


def _one_line() -> Column:
    return Column(no_wrap=True, overflow="ellipsis")


def _bars() -> Progress:
    console = Console(stderr=True)
    # All that is known, the rarest needed last: a narrow terminal cuts the end off.
    return Progress(
        TextColumn("{task.description}", markup=False, table_column=_one_line()),
        BarColumn(bar_width=12),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeRemainingColumn(compact=True, elapsed_when_finished=True),
        _Rate(),
        TextColumn("{task.fields[detail]}", style="dim", markup=False, table_column=_one_line()),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


@contextmanager
def counting(description: str, unit: str) -> Iterator[Callable[[int, int], None]]:
    """Yield a function ``update(done, total)`` that moves one bar."""
    with _bars() as bars:
        task = bars.add_task(description, total=None, unit=unit, detail="")

        def update(done: int, total: int) -> None:
            bars.update(task, completed=done, total=total)

        yield update


@contextmanager
def watching(runs: int) -> Iterator[Callable[[Event], None]]:
    """Yield a function that moves one bar for the whole study, and one for each run under way, at every event."""
    with _bars() as bars:
        whole = bars.add_task(f"{runs} runs" if runs != 1 else "1 run", total=runs, unit="", detail="")
        tasks: dict[str, TaskID] = {}
        shares: dict[str, float] = {}

        def on_event(event: Event) -> None:
            name, step = event.key, event.step
            shares[name] = 1.0 if step is None else _share(step)
            bars.update(whole, completed=sum(shares.values()))
            if step is None:
                if name in tasks:
                    bars.remove_task(tasks.pop(name))
                return
            if name not in tasks:
                tasks[name] = bars.add_task(f" {event.title}", unit="img", detail="")
            bars.update(tasks[name], completed=step.done, total=step.total, detail=_describe(step))

        yield on_event


def _share(step: Step) -> float:
    """Return how much of a run is done; most of the work of a feature-space method is its first stage."""
    done = step.done / max(1, step.total)
    return {"representation": 0.9 * done, "head": 0.9 + 0.1 * done}.get(step.stage, done)


def _describe(step: Step) -> str:
    stage = "" if step.stage == "train" else f"  {step.stage}"
    return f"loss {step.loss:.3g}  epoch {step.epoch}/{step.epochs}{stage}"
