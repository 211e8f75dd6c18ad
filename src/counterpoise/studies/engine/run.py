"""Running many plans: resumable, in parallel, one failure does not stop the rest."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

from counterpoise.datasets import ImageDataset
from counterpoise.runs.folder import RunFolder
from counterpoise.studies.engine.workers import LOKY, attempt, in_parallel
from counterpoise.training import ProgressCallback, RunPlan, Step, execute_run

SECONDS_BETWEEN_EVENTS = 0.2


@dataclass(frozen=True)
class Outcome:
    """What became of a plan: a finished folder, or the error in one line."""

    plan: RunPlan
    folder: RunFolder | None
    error: str | None = None


@dataclass(frozen=True)
class Event:
    """Something heard from a run: a step, or (``step`` None) that it ended."""

    plan: RunPlan
    step: Step | None


Listener = Callable[[Event], None]
#: Carries out a plan as `execute_run` does.
Execute = Callable[..., RunFolder]


class Task(NamedTuple):
    """A plan, the data set that it names, and the folder of the study that it is part of."""

    plan: RunPlan
    dataset: ImageDataset
    folder: Path


def run_grid(
    plans: Sequence[RunPlan],
    dataset: ImageDataset,
    folder: Path,
    *,
    jobs: int = 1,
    listen: Listener | None = None,
    execute: Execute | None = None,
) -> list[Outcome]:
    """Carry out `plans`, each in its own folder below ``folder/runs``, and return what became of each, in order.

    Finished runs are not run again. Methods that train the network in the same way train it once, in
    ``folder/networks``. Results do not depend on `jobs`: the threads of a run belong to its configuration.

    Parameters
    ----------
    plans : sequence of RunPlan
        What to do.
    dataset : ImageDataset
        The loaded data set; worker processes map it into memory rather than copying it.
    folder : Path
        The study's folder.
    jobs : int
        Processes; 1 runs in this one.
    listen : callable, optional
        Hears of the steps and the ends of runs.
    execute : callable, optional
        What carries out a plan, called as `execute_run` is, which it is by default.
    """
    return run_tasks(
        [Task(plan, dataset, folder) for plan in plans], jobs=jobs, listen=listen, execute=execute
    )


def run_tasks(
    tasks: Sequence[Task],
    *,
    jobs: int = 1,
    listen: Listener | None = None,
    execute: Execute | None = None,
    backend: str = LOKY,
) -> list[Outcome]:
    """Carry out plans of one or several data sets and folders; as `run_grid` else.

    Parameters
    ----------
    tasks : sequence of Task
        What to do.
    jobs, listen, execute
        As in `run_grid`.
    backend : {"loky", "ray", "dask"}
        As in `in_parallel`.
    """
    threads = max((task.plan.config.threads for task in tasks), default=1)
    work = partial(_carry_out, execute or execute_run)
    return in_parallel(work, tasks, jobs=jobs, threads=threads, tell=listen or _ignore, backend=backend)


def _carry_out(execute: Execute, task: Task, listen: Listener) -> Outcome:
    path, shared = task.folder / "runs" / task.plan.folder_name, task.folder / "networks"
    progress = ThrottledProgress(task.plan, listen)
    found, error = attempt(lambda: execute(task.plan, task.dataset, path, shared=shared, progress=progress))
    listen(Event(task.plan, None))
    return Outcome(task.plan, found, error)


class ThrottledProgress(ProgressCallback):
    """Passes steps on, a few times a second."""

    def __init__(self, plan: RunPlan, listen: Listener) -> None:
        self.plan = plan
        self.listen = listen
        self.last = 0.0

    def update(self, step: Step) -> None:
        """Pass a step on, unless the last one is very recent."""
        now = time.monotonic()
        if now - self.last >= SECONDS_BETWEEN_EVENTS:
            self.last = now
            self.listen(Event(self.plan, step))


def _ignore(news: Event) -> None:
    pass
