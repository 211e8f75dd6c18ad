"""Back ends: where the tasks of a study run at the same time, and the messages that workers send.

A worker ends with its parent: the workers of a killed study must not hold its run folders, nor wait for work that
never comes.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pkgutil
import secrets
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Connection, Listener, wait
from threading import Event, Thread
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from counterpoise.catalogs import Catalog
from counterpoise.exceptions import InputError
from counterpoise.training import cpu_count

if TYPE_CHECKING:
    from joblib import Parallel

Item = TypeVar("Item")
Returned = TypeVar("Returned")
#: Sends a message to the process that started the study.
Send = Callable[[Any], None]
SECONDS_BETWEEN_CHECKS = 0.5


class LostWorkerError(RuntimeError):
    """A worker process ended before its work did."""


class Backend:
    """Workers that joblib manages."""

    name: ClassVar[str]
    package: ClassVar[str]
    #: Errors that mean a lost worker.
    lost: ClassVar[tuple[str, ...]]
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
        """Yield ``work(item, send)`` for every item, in any order; what is sent goes to `on_message`, in a thread.

        `work` and what it returns are pickled, and arrays in items are mapped into workers' memory. `threads` limits
        BLAS and OpenMP in each worker, where idle threads spin. Raises `LostWorkerError`.
        """
        from joblib import delayed

        parallel = self._parallel(jobs, threads)
        try:
            with listening(on_message, anywhere=not self.own) as address:
                yield from parallel(delayed(_in_worker)(work, item, address) for item in items)
        except tuple(map(pkgutil.resolve_name, self.lost)) as error:
            raise LostWorkerError(str(error)) from error

    def _parallel(self, jobs: int, threads: int) -> Parallel:
        from joblib import Parallel, parallel_config

        # joblib finds other back ends by their names only here. Tasks take too long to be handed out by several.
        with parallel_config(backend=self.name):
            return Parallel(n_jobs=jobs, batch_size=1)


class Loky(Backend):
    """Worker processes of this machine."""

    name, package, own = "loky", "joblib", True
    lost = ("joblib.externals.loky.process_executor:BrokenProcessPool",)

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


class Ray(Backend):
    """A Ray cluster."""

    name = package = "ray"
    lost = ("ray.exceptions:RayActorError", "ray.exceptions:WorkerCrashedError")

    def _parallel(self, jobs: int, threads: int) -> Parallel:
        from ray.util.joblib import register_ray

        register_ray()
        return super()._parallel(jobs, threads)


class Dask(Backend):
    """A Dask cluster: that of the current client, else one of this machine."""

    name, package = "dask", "distributed"
    lost = ("distributed.scheduler:KilledWorker",)

    def _parallel(self, jobs: int, threads: int) -> Parallel:
        import distributed

        try:
            distributed.get_client()
        except ValueError:
            distributed.Client(n_workers=jobs, threads_per_worker=1, dashboard_address=None)
        return super()._parallel(jobs, threads)


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


def end_with_parent(parent: int) -> None:
    """End this process when process `parent`, which started it, ends; checked twice a second.

    The parent passes its own id: it may be gone before a slow worker could ask for it.
    """
    Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(SECONDS_BETWEEN_CHECKS)
    os._exit(1)


@dataclass(frozen=True)
class Address:
    """Address and shared key of the process that started a worker.

    A worker that is its `own` child ends where nobody listens; the worker of a cluster continues without messages.
    """

    address: Any
    key: bytes
    own: bool = True

    @contextmanager
    def connected(self) -> Iterator[Send]:
        """Yield a function that sends a picklable object to the listening process."""
        try:
            client = Client(self.address, authkey=self.key)
        except (OSError, EOFError):
            if self.own:
                raise
            yield lambda message: None
            return
        with client as connection:

            def send(message: Any) -> None:
                try:
                    connection.send(message)
                except OSError:
                    if self.own:
                        os._exit(1)

            yield send


@contextmanager
def listening(on_message: Send, *, anywhere: bool = False) -> Iterator[Address]:
    """Yield the address for workers' messages; every message that was sent has been received when the block ends.

    `on_message` runs in a thread of this process. Workers may be `anywhere`, but only connections with the key, which
    goes with the work, are accepted.
    """
    key = secrets.token_bytes(32)
    with Listener((_own_address(), 0) if anywhere else None, authkey=key) as listener:
        thread = Thread(target=_serve, args=(listener, on_message), daemon=True)
        thread.start()
        try:
            yield Address(listener.address, key, own=not anywhere)
        finally:
            with Client(listener.address, authkey=key) as last:
                last.send(_End())
            thread.join()


def _own_address() -> str:
    """Return the address at which other machines reach this one; the local one if there is no network."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # sends nothing, but chooses a route
        return str(probe.getsockname()[0])
    return "127.0.0.1"


class _End:
    """Sentinel that stops the listener."""


def _serve(listener: Listener, on_message: Send) -> None:
    # A thread accepts connections, so that messages arrive while no worker is connecting.
    connections: list[Connection] = []
    ended = Event()
    Thread(target=_accept, args=(listener, connections, ended), daemon=True).start()
    # One message of each connection is read at a time: earlier ones may still wait when the sentinel arrives.
    while (readable := wait(list(connections), timeout=0 if ended.is_set() else 0.1)) or not ended.is_set():
        for ready in readable:
            assert isinstance(ready, Connection)
            try:
                message = ready.recv()
            except (EOFError, OSError):
                connections.remove(ready)
                continue
            if isinstance(message, _End):
                ended.set()
            else:
                on_message(message)


def _accept(listener: Listener, connections: list[Connection], ended: Event) -> None:
    while not ended.is_set():
        # A worker that is killed while it connects must not keep the others from connecting.
        with contextlib.suppress(OSError, EOFError, AuthenticationError):
            connections.append(listener.accept())
