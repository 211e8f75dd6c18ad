"""Doing many things at the same time: in worker processes of this machine, or on a cluster."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from counterpoise.exceptions import CounterpoiseError, InputError, UnknownNameError
from counterpoise.studies.engine.worker_events import Address, end_with_parent, listening
from counterpoise.training import cpu_count

Item = TypeVar("Item")


Result = TypeVar("Result")


#: Takes what a worker has to say on its way.
Tell = Callable[[Any], None]


LOKY = "loky"


BACKENDS = (LOKY, "ray", "dask")
"""joblib's back ends that a grid can run on; the first on this machine, the others also on a cluster."""


def in_parallel(
    work: Callable[[Item, Tell], Result],
    items: Sequence[Item],
    *,
    jobs: int,
    threads: int,
    tell: Tell,
    backend: str = LOKY,
) -> list[Result]:
    """Return ``work(item, tell)`` for every item, in order.

    Parameters
    ----------
    work : callable
        Pickled by value; what it returns, too. It must not depend on where it is run.
    items : sequence
        Arrays in them are mapped into the workers' memory rather than copied.
    jobs : int
        How many at the same time; 1 does everything in this process, unless another back end is asked for.
    threads : int
        CPU threads of BLAS and OpenMP in each worker: idle ones spin.
    tell : callable
        Hears, in a thread of this process, what `work` says in a worker.
    backend : {"loky", "ray", "dask"}
        Where the workers are. Results do not depend on it.

    Raises
    ------
    InputError
        If the back end is not installed.
    """
    if backend == LOKY and jobs == 1:
        return [work(item, tell) for item in items]
    from joblib import delayed

    parallel = _parallel(backend, jobs, threads)
    with listening(tell, anywhere=backend != LOKY) as address:
        return list(parallel(delayed(_in_worker)(work, item, address) for item in items))


def check_backend(backend: str) -> None:
    """Make sure that a back end is known and installed.

    Raises
    ------
    InputError
        If it is not.
    """
    import importlib.util

    if backend not in BACKENDS:
        raise UnknownNameError("backend", backend, BACKENDS)
    needed = {"ray": "ray", "dask": "distributed"}.get(backend)
    if needed is not None and importlib.util.find_spec(needed) is None:
        raise InputError(
            f"`backend` {backend}: {needed} is not installed; pip install 'counterpoise[{backend}]', or use loky"
        )


def _parallel(backend: str, jobs: int, threads: int) -> Any:
    from joblib import Parallel, parallel_config

    check_backend(backend)
    # The things to do take too long to be handed out by several.
    if backend == LOKY:
        return Parallel(
            n_jobs=jobs,
            backend=backend,
            inner_max_num_threads=threads,
            mmap_mode="r",
            initializer=end_with_parent,
            initargs=(os.getpid(),),
            batch_size=1,
        )
    if backend == "ray":
        from ray.util.joblib import register_ray

        register_ray()
    else:
        _connect_to_dask(jobs, threads)
    # joblib finds dask by its name only here.
    with parallel_config(backend=backend):
        return Parallel(n_jobs=jobs, batch_size=1)


def _connect_to_dask(jobs: int, threads: int) -> None:
    """Make a cluster of this machine, unless a client of another one is there already."""
    from distributed import Client, get_client

    try:
        get_client()
    except ValueError:
        Client(n_workers=jobs, threads_per_worker=1, dashboard_address=None)


def _in_worker(work: Callable[[Item, Tell], Result], item: Item, address: Address) -> Result:
    with address.connected() as tell:
        return work(item, tell)


def attempt(call: Callable[[], Result]) -> tuple[Result | None, str | None]:
    """Return what `call` returns and None; or, where it fails as work can fail, None and the error in one line.

    Examples
    --------
    >>> attempt(lambda: 1 + 1)
    (2, None)
    >>> attempt(lambda: int("two"))
    (None, "ValueError: invalid literal for int() with base 10: 'two' (<doctest...>:1)")
    """
    from safetensors import SafetensorError

    try:
        return call(), None
    except CounterpoiseError as error:
        return None, str(error)
    except (MemoryError, RuntimeError, ValueError, OSError, SafetensorError) as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{Path(where.filename).name}:{where.lineno}"
        return None, f"{type(error).__name__}: {error} ({place})".replace("\n", " ")


def default_jobs(device: str, threads: int, runs: int) -> int:
    """Return how many runs to have at the same time: as many as the cores hold, one on a GPU."""
    import torch

    if device != "cpu" and torch.cuda.is_available():
        return 1
    return max(1, min(runs, cpu_count() // threads))
