"""Tasks of a study, their outcomes, and failures as records."""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Generic, TypedDict, TypeVar

from counterpoise.datasets import ImageDataset
from counterpoise.exceptions import CounterpoiseError, RunFolderError
from counterpoise.files import read_object, write_json

Plan = TypeVar("Plan")
Result = TypeVar("Result")

FAILURE = "failure.json"
LOST = "LostWorker"
"""`Failure.type` of a task whose worker process ended."""


@dataclass(frozen=True, kw_only=True)
class Task(Generic[Plan, Result]):
    """One unit of a study's work.

    Attributes
    ----------
    key : str
        Unique name in the study.
    name, repeat
        What is done (a method, a treatment), and in which repeat.
    plan : Plan
        Everything that the result depends on; picklable.
    path : Path
        The task's own folder; ``failure.json`` goes there.
    needs : tuple of str
        Keys of the tasks that must succeed before.
    wanted : bool
        Whether to execute it now; otherwise only finished work counts.
    done : Result or None
        Finished work; such a task is not executed again.
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
class Failure:
    """Record of a failed task, as in ``failure.json``; `text` is the error in one line."""

    type: str
    text: str
    traceback: str
    seconds: float

    @classmethod
    def from_error(cls, error: BaseException, seconds: float) -> Failure:
        """Describe an error.

        Examples
        --------
        >>> Failure.from_error(CounterpoiseError("too few images"), 1.5).text
        'too few images'
        """
        text = str(error)
        if not isinstance(error, CounterpoiseError):
            where = traceback.extract_tb(error.__traceback__)[-1]
            text = f"{type(error).__name__}: {error} ({Path(where.filename).name}:{where.lineno})"
        lines = "".join(traceback.format_exception(error))
        return cls(type(error).__name__, text.replace("\n", " "), lines, round(seconds, 3))

    def save(self, folder: Path) -> None:
        """Write ``failure.json`` to the task's folder, unless the folder is the problem."""
        if self.type != RunFolderError.__name__:
            with contextlib.suppress(RunFolderError):
                write_json(folder / FAILURE, asdict(self))

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

    @property
    def plan(self) -> Plan:
        """The task's plan."""
        return self.task.plan


def results_of(outcomes: Iterable[Outcome[Any, Result]]) -> list[Result]:
    """Return the results of all finished tasks."""
    return [outcome.result for outcome in outcomes if outcome.result is not None]


class FailedRun(TypedDict):
    """Entry of ``failed`` in ``summary.json``."""

    method: str
    draw: int
    error: str


def failed_runs(outcomes: Iterable[Outcome[Any, Any]]) -> list[FailedRun]:
    """Return the failures of a study's runs."""
    return [
        {"method": o.task.name, "draw": o.task.repeat, "error": o.failure.text}
        for o in outcomes
        if o.failure is not None
    ]


def not_applicable(outcomes: Iterable[Outcome[Any, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Return the entry ``not_applicable`` of ``summary.json``; empty if every task applies."""
    found = [
        {"method": o.task.name, "draw": o.task.repeat, "reason": o.reason}
        for o in outcomes
        if o.reason is not None
    ]
    return {"not_applicable": found} if found else {}
