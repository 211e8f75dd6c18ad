"""Back ends: where the tasks of a study run at the same time.

A worker of this machine ends with its parent: the workers of a killed study must not hold its run folders, nor wait for
work that never comes.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import importlib.util
import os
import pkgutil
import socket
import time
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from itertools import islice
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar, Protocol, TypeVar
from urllib.parse import urlsplit

from counterpoise.catalogs import Catalog
from counterpoise.exceptions import InputError
from counterpoise.studies.engine.worker_events import (
    SECONDS_TO_CONNECT,
    Address,
    Send,
    listening,
    own_address,
)
from counterpoise.training import JOBS, cpu_count

Item = TypeVar("Item")
Common = TypeVar("Common")
Returned = TypeVar("Returned")
SECONDS_BETWEEN_CHECKS = 0.5
SECONDS_FOR_A_WORKER = 30


class LostWorkerError(RuntimeError):
    """A worker process ended before its work did."""


class Backend(ABC):
    """Workers that execute tasks."""

    name: ClassVar[str]
    package: ClassVar[str]
    #: Errors that mean a lost worker.
    lost: ClassVar[tuple[str, ...]]

    def check(self, address: str | None = None) -> None:
        """Raise `InputError` if the back end is not installed, or has no `address`."""
        if importlib.util.find_spec(self.package) is None:
            raise InputError(
                f"`backend` {self.name}: {self.package} is not installed; pip install "
                f"'counterpoise[{self.name}]', or use loky"
            )

    def opened(self, address: str | None, workers: int) -> AbstractContextManager[object]:
        """Return a context in which tasks run at `address`; without one perhaps on so many new `workers`."""
        return nullcontext()


class Loky(Backend):
    """Worker processes of this machine."""

    name, package = "loky", "joblib"
    lost = ("joblib.externals.loky.process_executor:BrokenProcessPool",)

    def check(self, address: str | None = None) -> None:
        """Raise `InputError` if there is an `address`."""
        if address is not None:
            raise InputError(
                f"`address` {address}: it is that of a cluster; give `backend` ray or dask with it"
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
        """Yield ``work(item, send)`` for every item, in any order; what is sent goes to `on_message`, in a thread.

        `work` and what it returns are pickled, and arrays in items are mapped into workers' memory. `threads` limits
        BLAS and OpenMP in each worker, where idle threads spin. Raises `LostWorkerError`.
        """
        from joblib import Parallel, delayed

        parallel = Parallel(
            n_jobs=max(2, jobs),  # joblib would run a single job in this process
            backend=self.name,
            return_as="generator_unordered",
            inner_max_num_threads=threads,
            mmap_mode="r",
            initializer=end_with_parent,
            initargs=(os.getpid(), jobs),
            batch_size=1,  # tasks take too long to be handed out by several
        )
        try:
            with listening(on_message) as address:
                here = Path.cwd()
                yield from parallel(delayed(_in_folder)(here, address, work, item) for item in items)
        except tuple(map(pkgutil.resolve_name, self.lost)) as error:
            raise LostWorkerError(str(error)) from error


class Executor(Protocol):
    """Part of `concurrent.futures.Executor` that a cluster has."""

    def submit(self, function: Callable[..., Returned], /, *args: Any) -> concurrent.futures.Future[Returned]:
        """Start ``function(*args)``."""


class Cluster(Backend):
    """Workers that may see no file of this machine, and work in other folders."""

    def run(
        self,
        work: Callable[[Item, Common, Send], Returned],
        items: Iterable[tuple[Item, Common]],
        *,
        jobs: int,
        threads: int,
        gpus: int,
        on_message: Send,
    ) -> Iterator[Returned]:
        """Yield ``work(item, common, send)`` for every pair, in any order, as `Loky.run` does.

        An object that is common to many items is sent once. A lost worker costs its own item alone: `LostWorkerError`
        is raised after all others. `threads` and `gpus` are those that an item needs.
        """
        lost = tuple(map(pkgutil.resolve_name, self.lost))
        pairs, running, error = iter(items), set[concurrent.futures.Future[Returned]](), None
        sent: dict[int, tuple[Common, object]] = {}  # with the object itself, whose id must stay its own
        with listening(on_message, host=self._host()) as address:
            start = partial(self._executor(threads, gpus).submit, _in_worker, address, work)
            try:
                while True:
                    for item, common in islice(pairs, jobs - len(running)):
                        if id(common) not in sent:
                            sent[id(common)] = common, self._send(common)
                        running.add(start(item, sent[id(common)][1]))
                    if not running:
                        break
                    done, running = concurrent.futures.wait(running, return_when="FIRST_COMPLETED")
                    for future in done:
                        try:
                            returned = future.result()
                        except lost as found:
                            error = found
                        else:
                            yield returned
            finally:
                for future in running:
                    future.cancel()
        if error is not None:
            raise LostWorkerError(str(error)) from error

    @abstractmethod
    def _executor(self, threads: int, gpus: int) -> Executor:
        """Return an executor of functions that need `threads` and `gpus`."""

    @abstractmethod
    def _send(self, value: object) -> object:
        """Send a value to the cluster, and return what stands for it among the arguments of a function."""

    @abstractmethod
    def _host(self) -> str:
        """Return the address at which workers reach this machine."""


class Ray(Cluster):
    """A Ray cluster: that of this process, of `address` or of RAY_ADDRESS, or a new one on this machine."""

    name = package = "ray"
    lost = (
        "ray.exceptions:WorkerCrashedError",
        "ray.exceptions:NodeDiedError",
        "ray.exceptions:OutOfMemoryError",
        "ray.exceptions:ObjectLostError",
    )

    @contextmanager
    def opened(self, address: str | None, workers: int) -> Iterator[None]:
        """Connect to the cluster; InputError is raised if that fails."""
        import ray

        if ray.is_initialized():
            yield
            return
        with _connecting(address):
            ray.init(address=address, log_to_driver=False, logging_level="ERROR")
        try:
            yield
        finally:
            ray.shutdown()

    def _executor(self, threads: int, gpus: int) -> Executor:
        import ray

        # More than the largest node has would wait forever.
        most = {
            kind: max(node["Resources"].get(kind, 0) for node in ray.nodes() if node["Alive"])
            for kind in ("CPU", "GPU")
        }
        needs = {"num_cpus": min(threads, most["CPU"]), "num_gpus": min(gpus, most["GPU"])}
        return _RayExecutor(needs)

    def _send(self, value: object) -> object:
        import ray

        return ray.put(value)

    def _host(self) -> str:
        import ray

        return str(ray.util.get_node_ip_address())


class _RayExecutor:
    def __init__(self, needs: dict[str, float]) -> None:
        self.needs = needs

    def submit(self, function: Callable[..., Returned], /, *args: Any) -> concurrent.futures.Future[Returned]:
        import ray

        remote = ray.remote(max_retries=0, **self.needs)(function)
        return remote.remote(*args).future()


class Dask(Cluster):
    """A Dask cluster: that of `address`, of the current client or of DASK_SCHEDULER_ADDRESS, or a new one here."""

    name, package = "dask", "distributed"
    lost = (
        "distributed.scheduler:KilledWorker",
        "concurrent.futures:CancelledError",  # the worker alone held the images
    )

    @contextmanager
    def opened(self, address: str | None, workers: int) -> Iterator[None]:
        """Connect to the cluster; InputError is raised if that fails."""
        import dask
        import distributed

        current = None
        with contextlib.suppress(ValueError):
            current = distributed.get_client()
        if address is None and current is not None:
            _check_threads(current)
            yield
            return
        address = address or dask.config.get("scheduler-address", None)
        local = {} if address else {"n_workers": workers, "threads_per_worker": 1, "dashboard_address": None}
        with _connecting(address), dask.config.set({"distributed.scheduler.allowed-failures": 0}):
            client = distributed.Client(address, **local)
        with client:
            _check_threads(client)
            yield

    def _executor(self, threads: int, gpus: int) -> Executor:
        import distributed

        return distributed.get_client().get_executor(pure=False)

    def _send(self, value: object) -> object:
        import distributed

        return distributed.get_client().scatter([value], broadcast=True, hash=False)[0]

    def _host(self) -> str:
        import distributed

        return own_address(urlsplit(distributed.get_client().scheduler.address).hostname)


def _check_threads(client: Any) -> None:
    """Warn of workers of Dask with several threads: those of torch are of a process, which runs one task at a time.

    Workers that are just starting are waited for; later ones are not checked.
    """
    with contextlib.suppress(TimeoutError):
        client.wait_for_workers(1, timeout=SECONDS_FOR_A_WORKER)
    if max(client.nthreads().values(), default=1) > 1:
        warnings.warn(
            "a Dask worker runs one task at a time, whatever its threads; start workers with "
            "`dask worker ADDRESS --nworkers N --nthreads 1` to have N at a time",
            stacklevel=4,
        )


@contextmanager
def _connecting(address: str | None) -> Iterator[None]:
    try:
        url = urlsplit(address if address and "//" in address else f"//{address or ''}")
        if url.hostname and url.port:  # Ray tries for many minutes
            socket.create_connection((url.hostname, url.port), SECONDS_TO_CONNECT).close()
        yield
    except (OSError, RuntimeError, ValueError) as error:
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise InputError(f"`address` {address}: {reason}; give the address of a cluster that runs") from error


LOKY = Loky.name
BACKENDS: Catalog[Loky | Cluster] = Catalog("backend", [Loky(), Ray(), Dask()])


def _in_worker(address: Address, work: Callable[..., Returned], *items: Any) -> Returned:
    with address.connected() as send:
        return work(*items, send)


def _in_folder(folder: Path, *work: Any) -> Any:
    """Work in the folder of the parent, which may have moved on since it started this worker."""
    os.chdir(folder)
    return _in_worker(*work)


def default_jobs(device: str, threads: int, runs: int) -> int:
    """Return how many runs to have at the same time: as many as the cores hold, one on a GPU."""
    import torch

    if device != "cpu" and torch.cuda.is_available():
        return 1
    return max(1, min(runs, cpu_count() // threads))


def end_with_parent(parent: int, jobs: int = 1) -> None:
    """End this process when process `parent`, which started it and `jobs` in all, ends; checked twice a second.

    The parent passes its own id: it may be gone before a slow worker could ask for it.
    """
    os.environ[JOBS] = str(jobs)
    Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(SECONDS_BETWEEN_CHECKS)
    os._exit(1)
