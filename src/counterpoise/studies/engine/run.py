"""Execution of tasks: in order of their needs, in parallel, past failures and lost workers."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from graphlib import TopologicalSorter
from pathlib import Path
from threading import Lock
from typing import Any

from safetensors import SafetensorError

from counterpoise.exceptions import CounterpoiseError, NotApplicable
from counterpoise.studies.engine.backends import Cluster, Loky, LostWorkerError
from counterpoise.studies.engine.parcels import Common, Delivery, Parcel, Sendable, Sender, execute_parcel
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
from counterpoise.studies.engine.worker_events import Send
from counterpoise.training import ProgressCallback

Ending = tuple[Result | None, Failure | None, str | None]
"""Result, failure, or reason why the task does not apply."""
#: Errors that work can end with; any other one is a bug and ends the study.
WORK_ERRORS = (CounterpoiseError, MemoryError, RuntimeError, ValueError, OSError, SafetensorError)
LOST_TEXT = (
    "its worker process was killed, and again when it was retried alone; out of memory? use smaller batches"
)


@dataclass(frozen=True)
class Workers:
    """Back end, how many tasks it runs at the same time, and what each of them needs."""

    backend: Loky | Cluster
    jobs: int
    threads: int
    gpus: int = 0


def run_tasks(
    tasks: Sequence[Task[Plan, Result]],
    study: Sendable[Plan, Result],
    folder: Path,
    workers: Workers,
    on_event: OnEvent,
) -> list[Outcome[Plan, Result]]:
    """Execute tasks in `folder` and return what became of each, in their order.

    A task starts once all that it `needs` have ended, those of early repeats first, so that an early stop leaves whole
    repeats. A failure does not stop the rest.
    """
    outcomes = {task.key: Outcome(task, task.done) for task in tasks if not task.waits}
    for task in tasks:
        if task.done is not None and task.wanted:
            on_event(Event(task.key, task.title, None))
    sender = Sender(study, folder, {task.key: task for task in tasks})
    order = TopologicalSorter({task.key: task.needs for task in tasks})
    order.prepare()
    ready, needed = set[str](), {key for task in tasks for key in task.needs}
    while order.is_active():
        ready.update(order.get_ready())
        waiting = [task for task in tasks if task.key in ready and task.key not in outcomes]
        for blocked in filter(None, [_blocked(task, outcomes) for task in waiting]):
            outcomes[blocked.task.key] = blocked
            on_event(Event(blocked.task.key, blocked.task.title, None, blocked.reason))
        if not (ended := ready & outcomes.keys()):
            for outcome in _run_stage(_early(waiting, needed, workers.jobs), sender, workers, on_event):
                if outcome.failure is not None:
                    outcome.failure.save(outcome.task.path)
                outcomes[outcome.task.key] = outcome
            ended = ready & outcomes.keys()
        ready -= ended
        order.done(*ended)
    return [outcomes[task.key] for task in tasks]


def _early(waiting: Sequence[Task[Plan, Result]], needed: set[str], jobs: int) -> list[Task[Plan, Result]]:
    """Return the tasks to start now: those that others need wait for earlier repeats that occupy all jobs."""
    early = sorted(waiting, key=lambda task: task.repeat)
    last = early[: max(1, jobs)][-1].repeat
    return [task for task in early if task.repeat <= last or task.key not in needed]


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
    tasks: Sequence[Task[Plan, Result]], sender: Sender[Plan, Result], workers: Workers, on_event: OnEvent
) -> Iterator[Outcome[Plan, Result]]:
    """Execute tasks that need nothing of each other."""
    remaining = {task.key: task for task in tasks}
    lost = [Failure.forget(task.path) == LOST for task in tasks]
    jobs, started, in_turn = min(workers.jobs, len(tasks)), set[str](), Lock()
    # A task that once ended its worker must not end this process.
    in_process = isinstance(workers.backend, Loky) and jobs == 1 and not any(lost)

    def on_message(message: Any) -> None:
        if not isinstance(message, Event):
            started.add(message)
            return
        with in_turn:
            if message.key in remaining:  # a late message must not follow the end
                on_event(message)

    def run(chosen: Sequence[Task[Plan, Result]], jobs: int) -> Iterator[Outcome[Plan, Result]]:
        pool = None if in_process else replace(workers, jobs=jobs)
        for key, ending in _endings(chosen, sender, pool, on_message):
            with in_turn:
                outcome = Outcome(remaining.pop(key), *ending)
                on_event(Event(key, outcome.task.title, None, outcome.reason))
            yield outcome

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


def _endings(
    tasks: Sequence[Task[Plan, Result]],
    sender: Sender[Plan, Result],
    workers: Workers | None,
    on_message: Send,
) -> Iterator[tuple[str, Ending[Result]]]:
    """Execute tasks on workers, or else in this process."""
    study = sender.study
    work = partial(_attempt, study.execute, sender.folder)
    if workers is None:
        yield from (work(task, on_message) for task in tasks)
        return
    backend, jobs, threads = workers.backend, workers.jobs, workers.threads
    if isinstance(backend, Loky):
        yield from backend.run(work, tasks, jobs=jobs, threads=threads, on_message=on_message)
        return
    for task in tasks:
        on_message(task.key)  # what is left after a lost worker was under way
    for key, ending in backend.run(
        partial(_attempt_away, study),
        map(sender.pack, tasks),
        jobs=jobs,
        threads=threads,
        gpus=workers.gpus,
        on_message=on_message,
    ):
        delivery, failure, reason = ending
        result: Result | None = None
        start = time.monotonic()
        try:
            if delivery is not None:
                result = sender.receive(delivery, sender.tasks[key])
        except WORK_ERRORS as error:
            failure = Failure.from_error(error, time.monotonic() - start)
        yield key, (result, failure, reason)


def _attempt_away(
    study: Sendable[Plan, Result], parcel: Parcel[Plan, Result], common: Common, send: Send
) -> tuple[str, Ending[Delivery[Result]]]:
    def execute(_: object, folder: Path, on_progress: ProgressCallback) -> Delivery[Result]:
        return execute_parcel(study, parcel, common, on_progress)

    return _attempt(execute, parcel.folder, parcel.task, send)


def _attempt(
    execute: Callable[[Task[Plan, Any], Path, ProgressCallback], Result],
    folder: Path,
    task: Task[Plan, Any],
    send: Send,
) -> tuple[str, Ending[Result]]:
    """Execute a task; a failure, too, is an ending."""
    send(task.key)
    start = time.monotonic()
    try:
        result = execute(task, folder, ThrottledProgress(task.key, task.title, send))
    except NotApplicable as error:
        return task.key, (None, None, str(error))
    except WORK_ERRORS as error:
        return task.key, (None, Failure.from_error(error, time.monotonic() - start), None)
    return task.key, (result, None, None)
