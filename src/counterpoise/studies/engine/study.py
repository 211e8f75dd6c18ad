"""The protocol that every study follows, and the one function that runs them."""

from __future__ import annotations

import shutil
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import pandas as pd

from counterpoise.config import TrainConfig
from counterpoise.exceptions import InputError, RunFolderError
from counterpoise.files import copy_file, locked_folder, read_object, refuse_unexpected, write_json
from counterpoise.runs import RunFolder, write_results
from counterpoise.studies.engine.backends import BACKENDS, LOKY, Loky, default_jobs
from counterpoise.studies.engine.run import Workers, run_tasks
from counterpoise.studies.engine.summaries import StudySummary
from counterpoise.studies.engine.tasks import OnEvent, Outcome, Plan, Result, Task, results_of
from counterpoise.training import ProgressCallback, cpu_count

Summary = TypeVar("Summary", bound=StudySummary)


@dataclass(frozen=True)
class Conclusion(Generic[Plan, Result, Summary]):
    """Finished study: test scores in long format, the content of ``summary.json``, and every task's outcome."""

    table: pd.DataFrame
    summary: Summary
    outcomes: Sequence[Outcome[Plan, Result]]

    @property
    def results(self) -> list[Result]:
        """The results of all finished tasks."""
        return results_of(self.outcomes)


class StudyPlan(Protocol):
    """Plan of a study: all that its numbers depend on."""

    @property
    def config(self) -> TrainConfig:
        """Settings of the trainings: device and threads decide how many run at the same time."""

    @property
    def identity(self) -> str:
        """Hash of what all tasks share; a folder belongs to one identity."""


class Study(ABC, Generic[Plan, Result, Summary]):
    """Many tasks on images, and the conclusions from them.

    A subclass plans tasks, executes one, and concludes; `run_study` does the rest. Messages call it `kind`, and say
    that two of a kind differ in what it `depends_on`. The file `marker` says what a folder holds; the patterns
    `published` give its results without its runs, and the first of them tells a published study.
    """

    kind: ClassVar[str]
    marker: ClassVar[str]
    depends_on: ClassVar[str] = "data or settings"
    published: ClassVar[tuple[str, ...]] = ("results.csv", "summary.json")
    plan: StudyPlan

    def __getstate__(self) -> dict[str, Any]:
        # `execute` is pickled with its study, and a worker gets the dataset with its task.
        return {name: value for name, value in vars(self).items() if name != "dataset"}

    @abstractmethod
    def tasks(self, folder: Path) -> Sequence[Task[Plan, Result]]:
        """Return every task, with finished work where `folder` holds some."""

    @abstractmethod
    def execute(self, task: Task[Plan, Result], folder: Path, on_progress: ProgressCallback) -> Result:
        """Execute one task; pickled to workers, with what it is bound to."""

    def files(self, task: Task[Plan, Result], folder: Path) -> Sequence[Path]:
        """Return the files and folders that hold the result of a task; they come back from the worker of a cluster."""
        return [task.path]

    def with_paths(self, plan: Plan, place: Callable[[str], str]) -> Plan:
        """Return `plan` with the `place` of each path outside of the study's folder that its execution needs."""
        return plan

    @abstractmethod
    def conclude(
        self, outcomes: Sequence[Outcome[Plan, Result]], folder: Path, seconds: float
    ) -> Conclusion[Plan, Result, Summary]:
        """Return tables and conclusions, as data."""

    @abstractmethod
    def write_page(self, concluded: Conclusion[Plan, Result, Summary], folder: Path) -> None:
        """Render the conclusions and write everything beside ``results.csv`` and ``summary.json``."""

    def default_jobs(self, waiting: int) -> int:
        """Return how many of the `waiting` tasks run at the same time where the user leaves it open."""
        return default_jobs(self.plan.config.device, self.plan.config.threads, waiting)

    def mark(self, known: Mapping[str, Any], folder: Path) -> dict[str, Any]:
        """Return the content of the marker file, given its present content (empty in a new folder)."""
        return {"format": 1, "identity": self.plan.identity}

    def scratch(self, folder: Path) -> Iterable[Path]:
        """Return the folders that a study without failures leaves behind for nothing."""
        return [folder / "networks"]


def run_study(
    study: Study[Plan, Result, Summary],
    out: Path,
    *,
    jobs: int | None = 1,
    backend: str = LOKY,
    address: str | None = None,
    on_event: OnEvent | None = None,
) -> Conclusion[Plan, Result, Summary]:
    """Run the unfinished tasks of a study and write its results to the folder `out`.

    Finished work is kept, unfinished work resumes from its last checkpoint, and a failed task is tried again. Results
    do not depend on `jobs` and `backend`: the threads of a training belong to its settings.

    Parameters
    ----------
    out : Path
        The study's folder; one process and one study at a time. RunFolderError is raised if it holds something else,
        is in use, or cannot be written.
    jobs : int, optional
        Tasks at the same time; 1 runs them in this process, unless another back end is asked for. None: one for each
        core, or as many as the cluster has room for.
    backend : {"loky", "ray", "dask"}
        Where tasks run; InputError is raised if it is not installed. The workers of a cluster need no file of this
        machine: they receive the images (beyond 1 GB of image files they must see these under the same path) and send
        back the files of their results.
    address : str, optional
        Address of the cluster, see `Ray` and `Dask`; InputError is raised if it does not answer.
    """
    start = time.perf_counter()
    if jobs is not None and jobs < 1:
        raise InputError(f"`jobs` {jobs}: at least 1 is needed; leave it out for one per core")
    pool, config, out = BACKENDS.get(backend), study.plan.config, Path(out)
    pool.check(address)
    with pool.opened(address, jobs or max(1, cpu_count() // config.threads)), _owned_folder(study, out):
        tasks = study.tasks(out)
        waiting = sum(task.waits for task in tasks)
        most = study.default_jobs(waiting) if isinstance(pool, Loky) else waiting
        workers = Workers(pool, jobs or most, config.threads, gpus=int(config.device != "cpu"))
        outcomes = run_tasks(tasks, study, out, workers, on_event or (lambda event: None))
        concluded = study.conclude(outcomes, out, time.perf_counter() - start)
        write_results(out / "results.csv", concluded.table)
        write_json(out / "summary.json", concluded.summary)
        study.write_page(concluded, out)
        if all(outcome.result is not None or outcome.reason is not None for outcome in outcomes):
            for path in study.scratch(out):
                shutil.rmtree(path, ignore_errors=True)
    return concluded


def publish(study: type[Study[Any, Any, Any]], out: Path, target: Path) -> None:
    """Copy the results of a kind of study, without its runs, in place of an earlier copy; another folder is refused."""
    if not (target / study.published[0]).exists():
        refuse_unexpected(target, f"published {study.kind}")
    target.mkdir(parents=True, exist_ok=True)
    found = {path.name for name in study.published for path in (*target.glob(name), *out.glob(name))}
    for name in sorted(found):
        if (out / name).exists():
            copy_file(out / name, target / name)
        else:
            (target / name).unlink(missing_ok=True)


@contextmanager
def _owned_folder(study: Study[Plan, Result, Summary], out: Path) -> Iterator[None]:
    """Lock a folder and mark it; refuse one that holds anything else before and after."""
    identity = study.plan.identity
    _read_marker(study, identity, out)
    with locked_folder(out):
        known = _read_marker(study, identity, out)
        marker = study.mark(known, out)
        if marker != known:
            write_json(out / study.marker, marker)
        for inside in list(out.rglob("*/")):
            RunFolder(inside).clean()
        yield


def _read_marker(study: Study[Any, Any, Any], identity: str, out: Path) -> dict[str, Any]:
    """Return the marker's content, empty without one."""
    marker = out / study.marker
    if not marker.exists():
        refuse_unexpected(out, study.kind)
        return {}
    found = read_object(marker)
    if found.get("identity") != identity:
        raise RunFolderError(
            f"{out} holds another {study.kind} (other {study.depends_on}); choose another `out`"
        )
    return found
