"""Execution of tasks: in order of their needs, in parallel, past failures and lost workers."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from counterpoise.exceptions import CounterpoiseError, NotApplicable
from counterpoise.studies.engine.backends import BACKENDS, LOKY, LostWorkerError, Send
from counterpoise.studies.engine.tasks import (
    LOST,
    Event,
    Failure,
    OnEvent,
    Outcome,
    Plan,
    Result,
    Task,
    ThrottledProgress,
)
from counterpoise.training import ProgressCallback

Execute = Callable[[Task[Plan, Result], Path, ProgressCallback], Result]
Ending = tuple[Result | None, Failure | None, str | None]
"""Result, failure, or reason why the task does not apply."""
#: Errors that work can end with; any other one is a bug and ends the study.
WORK_ERRORS = (CounterpoiseError, MemoryError, RuntimeError, ValueError, OSError, SafetensorError)
LOST_TEXT = (
    "its worker process was killed, and again when it was retried alone; out of memory? use smaller batches"
)


def run_tasks(
    tasks: Sequence[Task[Plan, Result]],
    execute: Execute[Plan, Result],
    folder: Path,
    *,
    jobs: int,
    backend: str,
    threads: int,
    on_event: OnEvent,
) -> list[Outcome[Plan, Result]]:
    """Execute tasks in `folder` and return what became of each, in their order.

    A task starts once all that it `needs` have ended. A failure does not stop the rest.
    """
    outcomes = {task.key: Outcome(task, task.done) for task in tasks if not task.waits}
    for task in tasks:
        if task.done is not None and task.wanted:
            on_event(Event(task.key, task.title, None))
    order = TopologicalSorter({task.key: task.needs for task in tasks})
    order.prepare()
    while order.is_active():
        ready = order.get_ready()
        waiting = [task for task in tasks if task.key in ready and task.key not in outcomes]
        for blocked in filter(None, [_blocked(task, outcomes) for task in waiting]):
            outcomes[blocked.task.key] = blocked
            on_event(Event(blocked.task.key, blocked.task.title, None))
        stage = [task for task in waiting if task.key not in outcomes]
        for outcome in _run_stage(
            stage, partial(_attempt, execute, folder), jobs, backend, threads, on_event
        ):
            if outcome.failure is not None:
                outcome.failure.save(outcome.task.path)
            outcomes[outcome.task.key] = outcome
        order.done(*ready)
    return [outcomes[task.key] for task in tasks]


def _blocked(
    task: Task[Plan, Result], outcomes: dict[str, Outcome[Plan, Result]]
) -> Outcome[Plan, Result] | None:
    """Return the outcome of a task that cannot start, or None."""
    for need in (outcomes[key] for key in task.needs):
        if need.reason is not None:
            return Outcome(task, reason=f"it needs {need.task.name}: {need.reason}")
        if need.result is None:
            text = f"{need.task.name} is not there to start from: its training failed"
            return Outcome(task, failure=Failure(type="TrainingError", text=text, traceback="", seconds=0.0))
    return None


def _run_stage(
    tasks: Sequence[Task[Plan, Result]],
    work: Callable[[Task[Plan, Result], Send], tuple[str, Ending[Result]]],
    jobs: int,
    backend: str,
    threads: int,
    on_event: OnEvent,
) -> Iterator[Outcome[Plan, Result]]:
    """Execute tasks that need nothing of each other."""
    remaining = {task.key: task for task in tasks}
    lost = [Failure.forget(task.path) == LOST for task in tasks]
    jobs, started = min(jobs, len(tasks)), set[str]()
    # A task that once ended its worker must not end this process.
    in_process = backend == LOKY and jobs == 1 and not any(lost)

    def on_message(message: Any) -> None:
        if isinstance(message, Event):
            on_event(message)
        else:
            started.add(message)

    def run(chosen: Sequence[Task[Plan, Result]], jobs: int) -> Iterator[Outcome[Plan, Result]]:
        endings = (
            (work(task, on_message) for task in chosen)
            if in_process
            else BACKENDS[backend].run(work, chosen, jobs=jobs, threads=threads, on_message=on_message)
        )
        for key, ending in endings:
            yield Outcome(remaining.pop(key), *ending)

    while remaining:
        try:
            yield from run(list(remaining.values()), jobs)
        except LostWorkerError:
            # All workers are gone, and which one went first is unknown: retry each task that was under way alone.
            under_way = [task for key, task in remaining.items() if key in started]
            for task in under_way or list(remaining.values())[:jobs]:
                start = time.monotonic()
                try:
                    yield from run([task], 1)
                except LostWorkerError as error:
                    seconds = round(time.monotonic() - start, 3)
                    failure = Failure(type=LOST, text=LOST_TEXT, traceback=str(error), seconds=seconds)
                    on_event(Event(task.key, task.title, None))
                    yield Outcome(remaining.pop(task.key), failure=failure)


def _attempt(
    execute: Execute[Plan, Result], folder: Path, task: Task[Plan, Result], send: Send
) -> tuple[str, Ending[Result]]:
    """Execute a task; a failure, too, is an ending."""
    send(task.key)
    start = time.monotonic()
    ending: Ending[Result]
    try:
        ending = execute(task, folder, ThrottledProgress(task.key, task.title, send)), None, None
    except NotApplicable as error:
        ending = None, None, str(error)
    except WORK_ERRORS as error:
        ending = None, Failure.from_error(error, time.monotonic() - start), None
    send(Event(task.key, task.title, None))
    return task.key, ending
