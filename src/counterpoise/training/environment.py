"""What a run was made with and on."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path

from counterpoise._version import __version__

PACKAGES = ("torch", "torchvision", "timm", "numpy", "scikit-learn", "imbalanced-learn", "lightning-fabric")


def versions() -> dict[str, str]:
    """Return the versions of Python, counterpoise and the packages that numbers depend on."""
    found = {name: version(name) for name in PACKAGES}
    return {"counterpoise": __version__, "python": platform.python_version(), **found}


def hardware(device: str) -> dict[str, str | int]:
    """Return the processor, its cores, and the device that was trained on."""
    import torch

    name = torch.cuda.get_device_name() if device == "cuda" else _processor()
    return {"processor": _processor(), "cores": cpu_count(), "device": name, "system": platform.platform()}


def cpu_count() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [
            line.split(":", 1)[1].strip()
            for line in info.read_text().splitlines()
            if line.startswith("model name")
        ]
        if names:
            return names[0]
    return platform.processor() or platform.machine()
