"""Reading one run folder into plain data; what is broken is said in one line."""

from __future__ import annotations

import csv
import math
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from counterpoise.exceptions import RunFolderError
from counterpoise.files import atomic_path, read_json


@dataclass(frozen=True)
class Run:
    """One run folder; the large files beside ``run.json`` are read only when they are shown."""

    folder: Path
    config: dict[str, Any]
    test: dict[str, Any] | None
    validation: dict[str, Any] | None

    @property
    def method(self) -> str:
        """The method as it was typed."""
        return str(self.config["method"])

    @property
    def title(self) -> str:
        """The method's name for people."""
        return str(self.config.get("method_title") or self.method)

    @property
    def draw(self) -> int:
        """Which random draw of the data this run used, from 0."""
        return int(self.config.get("draw") or 0)

    @cached_property
    def dataset(self) -> dict[str, Any]:
        """The data set as ``run.json`` records it."""
        return dict(self.config["dataset"])

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """The class names in the order of their indices."""
        return tuple(str(name) for name in self.dataset["classes"])

    @cached_property
    def minority(self) -> tuple[int, ...]:
        """The indices of the rare classes."""
        return tuple(int(index) for index in self.dataset.get("minority") or ())

    def counts(self, split: str) -> list[int] | None:
        """Return the images per class of ``"train"``, ``"validation"`` or ``"test"``; None if unrecorded."""
        counts = (self.dataset.get("counts") or {}).get(split)
        return None if counts is None else [int(count) for count in counts]

    @property
    def scores(self) -> dict[str, Any] | None:
        """The scores to show: those on the test images, or else those on the validation images."""
        return self.test or self.validation

    @property
    def split(self) -> str:
        """The split that :attr:`scores` speaks of."""
        return "test" if self.test else "validation"


@dataclass(frozen=True)
class Predictions:
    """The test images' names, true class indices (N,) int64, and probabilities (N, C) float64."""

    paths: tuple[str, ...]
    true: np.ndarray
    probabilities: np.ndarray


def read_run(folder: Path) -> Run:
    """Read ``run.json`` and ``metrics.json`` of one run folder.

    Parameters
    ----------
    folder : Path
        The run folder.

    Returns
    -------
    Run
        Checked as far as a report relies on it.

    Raises
    ------
    RunFolderError
        If one of the two is missing, is not JSON, or lacks what a report needs.
    """
    config_path, metrics_path = folder / "run.json", folder / "metrics.json"
    config = read_json(config_path)
    if isinstance(config, dict) and config.get("status", "complete") != "complete":
        raise RunFolderError(f"{folder} holds an unfinished run; give its command again to finish it")
    metrics = read_json(metrics_path)
    if (
        not isinstance(config, dict)
        or not isinstance(config.get("dataset"), dict)
        or not config.get("method")
    ):
        raise RunFolderError(f"{config_path} lacks its 'dataset' or its 'method'; it is not a run's record")
    classes = config["dataset"].get("classes")
    if not isinstance(classes, list) or len(classes) < 2:
        raise RunFolderError(f"{config_path} names no classes under 'dataset'; it is not a run's record")
    if not isinstance(metrics, dict):
        raise RunFolderError(f"{metrics_path} is not a JSON object; evaluate the run again")
    for split in ("test", "validation"):
        _check_metrics(metrics.get(split), len(classes), metrics_path)
    run = Run(folder=folder, config=config, test=metrics.get("test"), validation=metrics.get("validation"))
    _check_numbers(run, config_path)
    return run


def _check_metrics(scores: Any, num_classes: int, path: Path) -> None:
    """Raise unless `scores` is None or has a square count matrix and one record per class."""
    if scores is None:
        return
    matrix = scores.get("confusion_matrix") if isinstance(scores, dict) else None
    square = isinstance(matrix, list) and len(matrix) == num_classes
    if not square or any(not isinstance(row, list) or len(row) != num_classes for row in matrix or ()):
        raise RunFolderError(
            f"{path} has no {num_classes} x {num_classes} confusion matrix; evaluate the run again"
        )
    if any(isinstance(n, bool) or not isinstance(n, int) or n < 0 for row in matrix or () for n in row):
        raise RunFolderError(
            f"{path} has a confusion matrix with an entry that is no count; evaluate the run again"
        )
    if len(scores.get("per_class") or ()) != num_classes:
        raise RunFolderError(f"{path} does not have one 'per_class' record per class; evaluate the run again")
    if not isinstance(scores.get("all"), dict):
        raise RunFolderError(f"{path} lacks its scores over 'all' classes; evaluate the run again")


def _check_numbers(run: Run, path: Path) -> None:
    """Raise unless draw, minority classes and counts of ``run.json`` are whole numbers in range."""
    size = len(run.classes)
    try:
        _ = run.draw
        minority = run.minority
        counts = [run.counts(split) for split in ("train", "validation", "test")]
    except (TypeError, ValueError, AttributeError) as error:
        raise RunFolderError(f"{path} has a draw, minority or counts that are not whole numbers") from error
    if any(not 0 <= index < size for index in minority):
        raise RunFolderError(f"{path} names a minority class that is not one of its {size} classes")
    if any(count is not None and len(count) != size for count in counts):
        raise RunFolderError(f"{path} does not have one image count for each of its {size} classes")


def read_predictions(run: Run) -> Predictions | None:
    """Read ``predictions.csv``; None if there is none.

    Parameters
    ----------
    run : Run
        The run folder.

    Returns
    -------
    Predictions or None
        Names, true class indices and probabilities of the test images.

    Raises
    ------
    RunFolderError
        If its columns are not those of the run's classes, or an entry is neither class nor number.
    """
    import numpy as np
    import pandas as pd

    path = run.folder / "predictions.csv"
    if not path.is_file():
        return None
    kinds: dict[int, Any] = {
        column: str if column < 3 else np.float64 for column in range(3 + len(run.classes))
    }
    try:
        with path.open(encoding="utf-8", newline="") as handle:
            header = next(csv.reader(handle), [])
        fits = tuple(header) == ("path", "true", "predicted", *run.classes)
        # The columns are named by number because pandas renames columns of equal names.
        options: dict[str, Any] = {"header": 0, "names": list(kinds), "index_col": False, "na_filter": False}
        table = pd.read_csv(path, dtype=kinds, encoding="utf-8", **options) if fits else None
    except (OSError, ValueError, csv.Error) as error:
        raise RunFolderError(f"cannot read {path}: {str(error).splitlines()[0]}") from error
    if table is None:
        raise RunFolderError(f"{path} does not have the columns path, true, predicted and one per class")
    indices = {name: index for index, name in enumerate(run.classes)}
    try:
        true = np.array([indices[name] for name in table[1]], dtype=np.int64)
    except KeyError as error:
        raise RunFolderError(f"{path} names a class {error} that is not one of the run's") from error
    probabilities = table.iloc[:, 3:].to_numpy(dtype=np.float64)
    if not np.isfinite(probabilities).all():
        raise RunFolderError(f"{path} holds a probability that is not a number; evaluate the run again")
    return Predictions(tuple(table[0]), true, probabilities)


def read_history(run: Run) -> list[dict[str, Any]]:
    """Return the epochs of ``history.json``; an empty list if there is none."""
    path = run.folder / "history.json"
    if not path.is_file():
        return []
    history = read_json(path)
    if not isinstance(history, list) or any(not isinstance(epoch, dict) for epoch in history):
        raise RunFolderError(f"{path} is not a list of epochs; train the run again")
    numbers = ("loss", "validation_loss", "validation_accuracy", "validation_gmean")
    return [
        {
            "stage": str(epoch.get("stage") or "train"),
            **{key: number(epoch.get(key), str(path)) for key in numbers},
        }
        for epoch in history
    ]


def read_embedding(run: Run) -> dict[str, Any] | None:
    """Return ``embedding.json`` with its four columns checked; None if there is none."""
    path = run.folder / "embedding.json"
    if not path.is_file():
        return None
    points = read_json(path)
    columns = [points.get(key) if isinstance(points, dict) else None for key in ("x", "y", "label", "kind")]
    if any(not isinstance(column, list) or len(column) != len(columns[0] or ()) for column in columns):
        raise RunFolderError(f"{path} does not hold x, y, label and kind of equal length")
    x, y = ([number(value, str(path)) for value in column or ()] for column in columns[:2])
    labels = [
        label if isinstance(label, int) and 0 <= label < len(run.classes) else None
        for label in columns[2] or ()
    ]
    if None in labels:
        raise RunFolderError(f"{path} holds a label that is not one of the run's {len(run.classes)} classes")
    synthetic = [kind == "synthetic" for kind in columns[3] or ()]
    return {
        "projection": str(points.get("projection") or ""),
        "x": x,
        "y": y,
        "label": labels,
        "synthetic": synthetic,
    }


def read_mistakes(run: Run) -> list[dict[str, Any]]:
    """Return at most 24 of ``mistakes.json``; a picture that is not a data URI of a picture is left out."""
    path = run.folder / "mistakes.json"
    if not path.is_file():
        return []
    mistakes = read_json(path)
    if not isinstance(mistakes, list):
        raise RunFolderError(f"{path} is not a list; evaluate the run again")
    shown = []
    for mistake in mistakes[:24]:
        if not isinstance(mistake, dict):
            raise RunFolderError(f"{path} holds an entry that is not an object; evaluate the run again")
        true, predicted = mistake.get("true"), mistake.get("predicted")
        for index in (true, predicted):
            if not isinstance(index, int) or not 0 <= index < len(run.classes):
                raise RunFolderError(f"{path} holds a class index {index!r} that the run does not have")
        shown.append(
            {
                "path": str(mistake.get("path", "")),
                "true": true,
                "predicted": predicted,
                "probability": number(mistake.get("probability"), str(path)),
                "image": picture_or_none(mistake.get("image")),
            }
        )
    return shown


def number(value: Any, where: str) -> float | None:
    """Return a finite float, or None for what is undefined."""
    if value is None or value == "":
        return None
    try:
        found = float(value)
    except (TypeError, ValueError) as error:
        raise RunFolderError(f"{where}: {value!r} is not a number") from error
    return found if math.isfinite(found) else None


def write_predictions(
    path: Path,
    names: tuple[str, ...],
    classes: tuple[str, ...],
    labels: np.ndarray | None,
    probabilities: np.ndarray,
) -> None:
    """Write one row per image: path, true class (where known), predicted class, one probability per class.

    Parameters
    ----------
    path : Path
        The CSV file, written atomically in UTF-8.
    names : tuple of str
        A name for each image.
    classes : tuple of str
        The class names.
    labels : ndarray of shape (N,) or None
        The true class indices.
    probabilities : ndarray of shape (N, C)
        In [0, 1].
    """
    predicted = probabilities.argmax(axis=1)
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["path", *(["true"] if labels is not None else []), "predicted", *classes])
        for i, name in enumerate(names):
            true = [classes[labels[i]]] if labels is not None else []
            writer.writerow([name, *true, classes[predicted[i]], *(f"{p:.6g}" for p in probabilities[i])])


_PICTURE = re.compile(r"data:image/(?:png|jpeg|gif|webp);base64,[A-Za-z0-9+/]+={0,2}")


def picture_or_none(value: Any) -> str | None:
    """Return `value` if it is a picture written into a data URI, else None.

    Anything else (a web address, a script, an SVG, which can hold both) must not reach an ``<img>``.

    Examples
    --------
    >>> picture_or_none("data:image/png;base64,iVBORw0=")
    'data:image/png;base64,iVBORw0='
    >>> picture_or_none("https://example.org/pixel.png") is None
    True
    """
    return value if isinstance(value, str) and _PICTURE.fullmatch(value) else None


@dataclass(frozen=True)
class RunPredictions:
    """A run's predictions.

    Attributes
    ----------
    classes : tuple of str
        The class names.
    paths : tuple of str
        The test images.
    true, predicted : ndarray of int64, shape (N,)
        Class indices.
    probabilities : ndarray of float64, shape (N, C)
        In [0, 1].
    """

    classes: tuple[str, ...]
    paths: tuple[str, ...]
    true: np.ndarray
    predicted: np.ndarray
    probabilities: np.ndarray
