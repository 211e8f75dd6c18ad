"""Imbalanced image classification, from a folder of pictures to a model that can be trusted on its rare classes."""

from __future__ import annotations

import importlib
from typing import Any

from counterpoise._version import __version__

# Imported on first use, so that `import counterpoise` (and `counterpoise --help`) stays fast.
_HOMES = {
    "ImageClassifier": "counterpoise.estimator",
    "ImageDataset": "counterpoise.datasets",
    "all_methods": "counterpoise.methods",
    "audit": "counterpoise.datasets",
    "build_report": "counterpoise.report",
    "create_network": "counterpoise.networks",
    "evaluate": "counterpoise.evaluation",
    "get_method": "counterpoise.methods",
    "load_dataset": "counterpoise.datasets",
    "make_imbalance": "counterpoise.datasets",
    "make_splits": "counterpoise.datasets",
}

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'counterpoise' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
