"""Versions, hardware and time of a run."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from counterpoise._version import __version__

PACKAGES = ("torch", "torchvision", "timm", "numpy", "scikit-learn", "imbalanced-learn", "lightning-fabric")


def versions() -> dict[str, str]:
    """Return the versions of Python, counterpoise and the packages that numbers depend on."""
    found = {name: version(name) for name in PACKAGES}
    return {"counterpoise": __version__, "python": platform.python_version(), **found}


def timestamp() -> str:
    """Return the time now, UTC, in ISO format to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def hardware(device: str) -> dict[str, str | int]:
    """Return the processor, its cores, and the name of the training device (``"cpu"`` or ``"cuda"``)."""
    import torch

    name = torch.cuda.get_device_name() if device == "cuda" else _processor()
    return {"processor": _processor(), "cores": cpu_count(), "device": name, "system": platform.platform()}


def cpu_count() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())
