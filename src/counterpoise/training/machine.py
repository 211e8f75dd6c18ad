"""The machine of a run: device, threads, versions and hardware."""

from __future__ import annotations

import ctypes
import logging
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import torch
from lightning_fabric import Fabric
from threadpoolctl import threadpool_limits

from counterpoise._version import __version__
from counterpoise.config import TrainConfig
from counterpoise.exceptions import InputError

# Parameters of glibc's mallopt.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4
MEMORY = Path("/proc/meminfo")
PACKAGES = ("torch", "torchvision", "timm", "numpy", "scikit-learn", "imbalanced-learn", "lightning-fabric")


def find_device(device: str) -> torch.device:
    """Return the device for ``"auto"``, ``"cpu"`` or ``"cuda"``; raise `InputError` where ``"cuda"`` finds no GPU."""
    has_cuda = torch.cuda.is_available()
    if device == "cuda" and not has_cuda:
        raise InputError("`device` cuda: no CUDA device found on this machine; use `device` cpu or auto")
    return torch.device("cuda" if has_cuda and device != "cpu" else "cpu")


def make_fabric(config: TrainConfig) -> Fabric:
    """Return Lightning Fabric on the device and at the precision of `config`; `InputError` where it has not both."""
    if config.precision == "16-mixed" and (config.device == "cpu" or not torch.cuda.is_available()):
        # Fabric would quietly take bf16-mixed instead.
        raise InputError("`precision` 16-mixed needs a GPU; use bf16-mixed or 32-true on a CPU")
    # Once in every worker process, Fabric would log the precision, which run.json has, and advise another one.
    logging.getLogger("lightning_fabric.utilities.rank_zero").setLevel(logging.WARNING)
    return Fabric(accelerator=find_device(config.device).type, devices=1, precision=config.precision)


@contextmanager
def cpu_threads(count: int) -> Iterator[None]:
    """Let torch, BLAS and OpenMP use `count` CPU threads inside the block.

    The last bits of sums depend on the number of threads, so a run is inside such a block from its start to its scores.
    """
    before = torch.get_num_threads()
    with threadpool_limits(count):
        torch.set_num_threads(count)
        try:
            yield
        finally:
            torch.set_num_threads(before)


@contextmanager
def reused_memory() -> Iterator[None]:
    """Let glibc's malloc reuse large blocks inside the block instead of returning each to the system at once.

    A layer's output has tens of megabytes. Where each output gets new pages, these take as long as the convolutions.
    """
    glibc = platform.libc_ver()[0] == "glibc" and not any(name.startswith("MALLOC_") for name in os.environ)
    libc = ctypes.CDLL(None) if glibc else None
    if libc is not None:
        libc.mallopt(_MMAP_MAX, 0)
        libc.mallopt(_TRIM_THRESHOLD, 1 << 30)
    try:
        yield
    finally:
        if libc is not None:
            # The largest values that malloc's own adaptation reaches, since setting a value ends it.
            libc.mallopt(_MMAP_MAX, 65536)
            libc.mallopt(_MMAP_THRESHOLD, 32 << 20)
            libc.mallopt(_TRIM_THRESHOLD, 64 << 20)
            libc.malloc_trim(0)


JOBS = "COUNTERPOISE_JOBS"
"""Variable of a worker process: number of processes that work on a study at the same time."""


def cpu_count() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def free_bytes(device: torch.device) -> float:
    """Return the bytes that a device could still give; infinity where the system does not state it."""
    if device.type == "cuda":
        return float(torch.cuda.mem_get_info(device)[0])
    lines = MEMORY.read_text().splitlines() if MEMORY.exists() else []
    return 1024 * next((float(n.split()[1]) for n in lines if n.startswith("MemAvailable")), float("inf"))


def versions() -> dict[str, str]:
    """Return the versions of Python, counterpoise and the packages that numbers depend on."""
    found = {name: version(name) for name in PACKAGES}
    return {"counterpoise": __version__, "python": platform.python_version(), **found}


def timestamp() -> str:
    """Return the time now, UTC, in ISO format to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def hardware(device: str) -> dict[str, str | int]:
    """Return the processor, its cores, and the name of the training device (``"cpu"`` or ``"cuda"``)."""
    name = torch.cuda.get_device_name() if device == "cuda" else _processor()
    return {"processor": _processor(), "cores": cpu_count(), "device": name, "system": platform.platform()}


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())
