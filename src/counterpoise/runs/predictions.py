"""``predictions.csv``: one row per image with its true class, predicted class and probabilities."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from counterpoise.exceptions import RunFolderError
from counterpoise.files import atomic_path, check_file


@dataclass(frozen=True)
class Predictions:
    """Predictions for N test images: class indices int64 (N,), probabilities float64 (N, C)."""

    classes: tuple[str, ...]
    paths: tuple[str, ...]
    true: np.ndarray
    predicted: np.ndarray
    probabilities: np.ndarray


def write_predictions(
    path: Path,
    names: tuple[str, ...],
    classes: tuple[str, ...],
    labels: np.ndarray | None,
    probabilities: np.ndarray,
    *,
    predicted: Sequence[str] | None = None,
    more: Mapping[str, Sequence[str]] | None = None,
) -> None:
    """Write one row per image: path, true class (unless `labels` is None), predicted class, probability per class.

    `predicted` are words in place of the likeliest classes. `more` are further columns; one without values is empty.
    """
    if predicted is None:
        predicted = [classes[index] for index in probabilities.argmax(axis=1)]
    added = more or {}
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["path", *(["true"] if labels is not None else []), "predicted", *classes, *added])
        for i, name in enumerate(names):
            true = [classes[labels[i]]] if labels is not None else []
            last = (values[i] if len(values) else "" for values in added.values())
            writer.writerow([name, *true, predicted[i], *(f"{p:.6g}" for p in probabilities[i]), *last])


def read_predictions(path: Path, classes: tuple[str, ...]) -> Predictions:
    """Read what `write_predictions` wrote with true classes; a file that does not fit raises RunFolderError."""
    import pandas as pd

    kinds: dict[int, Any] = {c: str if c < 3 else np.float64 for c in range(3 + len(classes))}
    try:
        with check_file(path).open(encoding="utf-8", newline="") as handle:
            header = next(csv.reader(handle), [])
        if tuple(header) != ("path", "true", "predicted", *classes):
            raise RunFolderError(f"{path} does not have the columns path, true, predicted and one per class")
        # Columns are named by number: pandas renames columns of equal names, and reads a class "nan" as a number.
        layout: dict[str, Any] = {"header": 0, "names": list(kinds), "dtype": kinds, "index_col": False}
        table = pd.read_csv(path, na_filter=False, encoding="utf-8", **layout)
    except RunFolderError:
        raise
    except (OSError, ValueError, csv.Error) as error:
        raise RunFolderError(f"cannot read {path}: {str(error).splitlines()[0]}") from error
    indices = {name: index for index, name in enumerate(classes)}
    try:
        true, predicted = (np.array([indices[name] for name in table[c]], dtype=np.int64) for c in (1, 2))
    except KeyError as error:
        raise RunFolderError(f"{path} names a class {error} that is not one of the run's") from error
    probabilities = table.iloc[:, 3:].to_numpy(dtype=np.float64)
    if not np.isfinite(probabilities).all():
        raise RunFolderError(f"{path} holds a probability that is not a number; evaluate the run again")
    return Predictions(classes, tuple(table[0]), true, predicted, probabilities)
