"""Back ends: where the tasks of a study run at the same time."""

from __future__ import annotations

import importlib.util
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from counterpoise.catalogs import Catalog
from counterpoise.exceptions import InputError
from counterpoise.studies.engine.worker_events import Address, end_with_parent, listening
from counterpoise.training import cpu_count

if TYPE_CHECKING:
    from joblib import Parallel

Item = TypeVar("Item")
Returned = TypeVar("Returned")
#: Sends a message to the process that started the study.
Send = Callable[[Any], None]


class LostWorkerError(RuntimeError):
    """A worker process ended before its work did."""


class Backend(ABC):
    """Workers that joblib manages."""

    name: ClassVar[str]
    package: ClassVar[str]
    #: Whether workers are children of this process.
    own: ClassVar[bool] = False

    def check(self) -> None:
        """Raise `InputError` if the back end is not installed."""
        if importlib.util.find_spec(self.package) is None:
            raise InputError(
                f"`backend` {self.name}: {self.package} is not installed; pip install "
                f"'counterpoise[{self.name}]', or use loky"
            )

    def run(
        self,
        work: Callable[[Item, Send], Returned],
        items: Sequence[Item],
        *,
        jobs: int,
        threads: int,
        on_message: Send,
    ) -> Iterator[Returned]:
        """Yield ``work(item, send)`` for every item, in any order.

        Parameters
        ----------
        work : callable
            Pickled, as is what it returns.
        items : sequence
            Arrays in them are mapped into the workers' memory rather than copied.
        jobs : int
            Calls at the same time.
        threads : int
            CPU threads of BLAS and OpenMP in each worker: idle ones spin.
        on_message : callable
            Receives, in a thread of this process, what `work` sends.

        Raises
        ------
        LostWorkerError
            If a worker process ends before its work does.
        """
        from joblib import delayed

        parallel = self._parallel(jobs, threads)
        try:
            with listening(on_message, anywhere=not self.own) as address:
                yield from parallel(delayed(_in_worker)(work, item, address) for item in items)
        except self._lost() as error:
            raise LostWorkerError(str(error)) from error

    def _parallel(self, jobs: int, threads: int) -> Parallel:
        from joblib import Parallel, parallel_config

        # joblib finds other back ends by their names only here. Tasks take too long to be handed out by several.
        with parallel_config(backend=self.name):
            return Parallel(n_jobs=jobs, batch_size=1)

    @abstractmethod
    def _lost(self) -> tuple[type[Exception], ...]:
        """Return the errors that mean a lost worker."""


class Loky(Backend):
    """Worker processes of this machine."""

    name, package, own = "loky", "joblib", True

    def _parallel(self, jobs: int, threads: int) -> Parallel:
        from joblib import Parallel

        return Parallel(
            n_jobs=max(2, jobs),  # joblib would run a single job in this process
            backend=self.name,
            return_as="generator_unordered",
            inner_max_num_threads=threads,
            mmap_mode="r",
            initializer=end_with_parent,
            initargs=(os.getpid(),),
            batch_size=1,
        )

    def _lost(self) -> tuple[type[Exception], ...]:
        from joblib.externals.loky.process_executor import BrokenProcessPool

        return (BrokenProcessPool,)


class Ray(Backend):
    """A Ray cluster."""

    name = package = "ray"

    def _parallel(self, jobs: int, threads: int) -> Parallel:
        from ray.util.joblib import register_ray

        register_ray()
        return super()._parallel(jobs, threads)

    def _lost(self) -> tuple[type[Exception], ...]:
        from ray.exceptions import RayActorError, WorkerCrashedError

        return RayActorError, WorkerCrashedError


class Dask(Backend):
    """A Dask cluster: that of the current client, else one of this machine."""

    name, package = "dask", "distributed"

    def _parallel(self, jobs: int, threads: int) -> Parallel:
        from distributed import Client, get_client

        try:
            get_client()
        except ValueError:
            Client(n_workers=jobs, threads_per_worker=1, dashboard_address=None)
        return super()._parallel(jobs, threads)

    def _lost(self) -> tuple[type[Exception], ...]:
        from distributed.scheduler import KilledWorker

        return (KilledWorker,)


LOKY = Loky.name
BACKENDS: Catalog[Backend] = Catalog("backend", [Loky(), Ray(), Dask()])


def _in_worker(work: Callable[[Item, Send], Returned], item: Item, address: Address) -> Returned:
    with address.connected() as send:
        return work(item, send)


def default_jobs(device: str, threads: int, runs: int) -> int:
    """Return how many runs to have at the same time: as many as the cores hold, one on a GPU."""
    import torch

    if device != "cpu" and torch.cuda.is_available():
        return 1
    return max(1, min(runs, cpu_count() // threads))
