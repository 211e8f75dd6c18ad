"""Tasks of a study, their progress, their outcomes, and failures as records."""

from __future__ import annotations

import contextlib
import time
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from counterpoise.datasets import ImageDataset
from counterpoise.exceptions import OUT_OF_MEMORY, CounterpoiseError, RunFolderError, is_out_of_memory
from counterpoise.files import read_object, write_json
from counterpoise.runs import FailureRecord
from counterpoise.studies.engine.summaries import MissingRun, NotApplicable
from counterpoise.training import ProgressCallback, Step

Plan = TypeVar("Plan")
Result = TypeVar("Result")

FAILURE = "failure.json"
LOST = "LostWorker"
"""`Failure.type` of a task whose worker process ended."""
SECONDS_BETWEEN_EVENTS = 0.2


@dataclass(frozen=True, kw_only=True)
class Task(Generic[Plan, Result]):
    """One unit of a study's work: `name` (a method, a treatment) in one repeat, with a `key` unique in the study.

    The `plan` is everything that the result depends on, and is picklable; ``failure.json`` goes to `path`. The tasks
    of the keys that it `needs` must succeed before. A task that is not `wanted` is not executed: only finished work
    counts, which is in `done`.
    """

    key: str
    name: str
    repeat: int
    plan: Plan
    dataset: ImageDataset
    path: Path
    needs: tuple[str, ...] = ()
    wanted: bool = True
    done: Result | None = None

    @property
    def title(self) -> str:
        """Title for people, e.g. ``"0: ados"``."""
        return f"{self.repeat}: {self.name}"

    @property
    def waits(self) -> bool:
        """Whether it is to be executed."""
        return self.wanted and self.done is None


@dataclass(frozen=True)
class Event:
    """Progress of a task, wherever it runs: a step of its training, or None once it has ended.

    A task that does not apply ends with the `reason`.
    """

    key: str
    title: str
    step: Step | None
    reason: str | None = None


OnEvent = Callable[[Event], None]


@dataclass
class ThrottledProgress(ProgressCallback):
    """Progress callback that forwards the steps of a task as events, at most five a second."""

    key: str
    title: str
    on_event: OnEvent
    last: float = 0.0

    def update(self, step: Step) -> None:
        """Forward a step, unless the last one is very recent."""
        now = time.monotonic()
        if now - self.last >= SECONDS_BETWEEN_EVENTS:
            self.last = now
            self.on_event(Event(self.key, self.title, step))


class Failure(FailureRecord):
    """Record of a failed task, as in ``failure.json``; `text` is the error in one line."""

    @classmethod
    def from_error(cls, error: BaseException, seconds: float) -> Failure:
        """Describe an error.

        Examples
        --------
        >>> Failure.from_error(CounterpoiseError("too few images"), 1.5).text
        'too few images'
        """
        text = str(error)
        if is_out_of_memory(error):
            text = OUT_OF_MEMORY
        elif not isinstance(error, CounterpoiseError):
            where = traceback.extract_tb(error.__traceback__)[-1]
            text = f"{type(error).__name__}: {error} ({Path(where.filename).name}:{where.lineno})"
        return cls(
            type=type(error).__name__,
            text=text.replace("\n", " "),
            traceback="".join(traceback.format_exception(error)),
            seconds=round(seconds, 3),
        )

    def save(self, folder: Path) -> None:
        """Write ``failure.json`` to the task's folder, unless the folder is the problem."""
        if self.type != RunFolderError.__name__:
            with contextlib.suppress(RunFolderError):
                write_json(folder / FAILURE, self.model_dump())

    @staticmethod
    def forget(folder: Path) -> str | None:
        """Remove the record of an earlier attempt and return its type."""
        path = folder / FAILURE
        if not path.exists():
            return None
        kind = None
        with contextlib.suppress(RunFolderError):
            kind = read_object(path).get("type")
        path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            folder.rmdir()  # a run that never began left nothing else
        return kind


@dataclass(frozen=True)
class Outcome(Generic[Plan, Result]):
    """What became of a task: a result, a failure, the reason why it does not apply, or none if it was not executed."""

    task: Task[Plan, Result]
    result: Result | None = None
    failure: Failure | None = None
    reason: str | None = None


def results_of(outcomes: Iterable[Outcome[Any, Result]]) -> list[Result]:
    """Return the results of all finished tasks."""
    return [outcome.result for outcome in outcomes if outcome.result is not None]


def failed_runs(outcomes: Iterable[Outcome[Any, Any]]) -> list[MissingRun]:
    """Return the entry ``failed`` of ``summary.json``."""
    failed = [(outcome.task, outcome.failure.text) for outcome in outcomes if outcome.failure is not None]
    return [{"method": task.name, "draw": task.repeat, "error": error} for task, error in failed]


def not_applicable(outcomes: Iterable[Outcome[Any, Any]]) -> NotApplicable:
    """Return the entry ``not_applicable`` of ``summary.json``; empty if every task applies."""
    found: list[MissingRun] = [
        {"method": o.task.name, "draw": o.task.repeat, "reason": o.reason}
        for o in outcomes
        if o.reason is not None
    ]
    return {"not_applicable": found} if found else {}
