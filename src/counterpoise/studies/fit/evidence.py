"""Evidence for a candidate: log-probabilities of training images that it did not learn from, in a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from counterpoise.files import atomic_path


def evidence_path(folder: Path, run: Path) -> Path:
    """Return the file of a run's evidence in the folder of its study."""
    return folder / "evidence" / f"{run.name}.safetensors"


def save_evidence(path: Path, log_probabilities: np.ndarray) -> None:
    """Write log-probabilities, float32 (repeats, N, C); NaN in the rows of images that were trained on."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        save_file({"log_probabilities": np.ascontiguousarray(log_probabilities)}, temporary)


def load_evidence(path: Path) -> np.ndarray | None:
    """Return what `save_evidence` wrote; None where there is none, or it is damaged, so that it is computed again."""
    try:
        return load_file(path)["log_probabilities"] if path.exists() else None
    except (OSError, KeyError, SafetensorError):
        return None
