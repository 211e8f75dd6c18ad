"""Running many plans: resumable, in parallel, one failure does not stop the rest."""

from __future__ import annotations

import os
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from counterpoise.datasets import ImageDataset
from counterpoise.exceptions import CounterpoiseError
from counterpoise.experiments.folder import RunFolder
from counterpoise.experiments.plan import RunPlan
from counterpoise.experiments.relay import Address, end_with_parent, listening
from counterpoise.experiments.run import execute_run
from counterpoise.training import Progress, Step

SECONDS_BETWEEN_NEWS = 0.2


@dataclass(frozen=True)
class Outcome:
    """What became of a plan: a finished folder, or the error in one line."""

    plan: RunPlan
    folder: RunFolder | None
    error: str | None = None


@dataclass(frozen=True)
class News:
    """Something heard from a run: a step, or (``step`` None) that it ended."""

    plan: RunPlan
    step: Step | None


Listener = Callable[[News], None]


def run_grid(
    plans: Sequence[RunPlan],
    dataset: ImageDataset,
    folder: Path,
    *,
    jobs: int = 1,
    listen: Listener | None = None,
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
    """
    listen = listen or _ignore
    if jobs == 1:
        return [_run_here(plan, dataset, folder, listen) for plan in plans]
    with listening(listen) as address:
        return _run_in_parallel(plans, dataset, folder, jobs, address)


def _run_here(plan: RunPlan, dataset: ImageDataset, folder: Path, listen: Listener) -> Outcome:
    outcome = _attempt(plan, dataset, folder, Teller(plan, listen))
    listen(News(plan, None))
    return outcome


def _run_in_parallel(
    plans: Sequence[RunPlan], dataset: ImageDataset, folder: Path, jobs: int, address: Address
) -> list[Outcome]:
    from joblib import Parallel, delayed

    # Idle BLAS and OpenMP threads spin; a worker gets as many as its runs are configured to use.
    threads = max(plan.config.threads for plan in plans)
    parallel = Parallel(
        n_jobs=jobs,
        backend="loky",
        inner_max_num_threads=threads,
        mmap_mode="r",
        initializer=end_with_parent,
        initargs=(os.getpid(),),
    )
    tasks = (delayed(_run_in_worker)(plan, dataset, folder, address) for plan in plans)
    return list(parallel(tasks))


def _run_in_worker(plan: RunPlan, dataset: ImageDataset, folder: Path, address: Address) -> Outcome:
    with address.connected() as send:
        return _run_here(plan, dataset, folder, send)


def _attempt(plan: RunPlan, dataset: ImageDataset, folder: Path, progress: Progress) -> Outcome:
    path, shared = folder / "runs" / plan.folder_name, folder / "networks"
    try:
        return Outcome(plan, execute_run(plan, dataset, path, shared=shared, progress=progress))
    except CounterpoiseError as error:
        return Outcome(plan, None, str(error))
    except (MemoryError, RuntimeError, ValueError, OSError) as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{Path(where.filename).name}:{where.lineno}"
        return Outcome(plan, None, f"{type(error).__name__}: {error} ({place})".replace("\n", " "))


class Teller(Progress):
    """Passes steps on, a few times a second."""

    def __init__(self, plan: RunPlan, listen: Listener) -> None:
        self.plan = plan
        self.listen = listen
        self.last = 0.0

    def update(self, step: Step) -> None:
        """Pass a step on, unless the last one is very recent."""
        now = time.monotonic()
        if now - self.last >= SECONDS_BETWEEN_NEWS:
            self.last = now
            self.listen(News(self.plan, step))


def _ignore(news: News) -> None:
    pass
