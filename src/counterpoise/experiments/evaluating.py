"""Using a finished run: scores on labelled images, predictions for new ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from counterpoise.datasets import (
    ImageDataset,
    ImageFiles,
    ImageSplit,
    SkippedFile,
    SplitManifest,
    load_dataset,
    read_images,
)
from counterpoise.evaluation import evaluate
from counterpoise.exceptions import DataError, InputError
from counterpoise.experiments.artifacts import write_predictions
from counterpoise.experiments.folder import RunFolder
from counterpoise.training import predict_logits, softmax


@dataclass(frozen=True)
class Evaluation:
    """A finished run's scores on a data set.

    Attributes
    ----------
    scores : dict
        As `counterpoise.evaluation.evaluate` gives them.
    images : str
        Which images they are of, in words.
    """

    scores: dict[str, Any]
    images: str


def predict_probabilities(folder: RunFolder, split: ImageSplit, *, device: str = "auto") -> np.ndarray:
    """Return the class probabilities, float64 of shape (N, C), that a run's model gives the images of `split`."""
    target = find_device(device)
    logits = predict_logits(folder.load_network(), split, device=target)
    adjustment = folder.load_adjustment()
    return softmax(logits if adjustment is None else adjustment.transform(logits))


def find_device(device: str) -> torch.device:
    """Return the device that a user means by ``"auto"``, ``"cpu"`` or ``"cuda"``.

    Raises
    ------
    InputError
        If there is no such device.
    """
    has_cuda = torch.cuda.is_available()
    if device == "cuda" and not has_cuda:
        raise InputError("`device` cuda: no CUDA device found on this machine; use `device` cpu or auto")
    return torch.device("cuda" if has_cuda and device != "cpu" else "cpu")


def load_for_run(folder: RunFolder, source: str, **options: Any) -> ImageDataset:
    """Load a data set the way a run's model expects its images.

    Raises
    ------
    InputError
        If its classes or channels are not those of the run.
    """
    network = folder.record["network"]
    dataset = load_dataset(source, image_size=tuple(network["image_size"]), **options)
    expected = folder.record["dataset"]["classes"]
    strangers = [name for name in dataset.classes if name not in expected]
    if strangers:
        raise InputError(
            f"{source} has a class {strangers[0]!r} that the model does not know (it knows: {', '.join(expected)})"
        )
    if dataset.channels != network["in_channels"]:
        raise InputError(
            f"{source} has {_kind(dataset.channels)} images, the model was trained on "
            f"{_kind(network['in_channels'])} ones; convert the images or train on such as these"
        )
    return dataset


def _kind(channels: int) -> str:
    return "grey" if channels == 1 else "colour"


def evaluate_run(folder: RunFolder, dataset: ImageDataset, *, device: str = "auto") -> Evaluation:
    """Return a run's scores on the images of `dataset` that it was not trained on.

    Where `dataset` is the one of the run, these are the run's own test images; else its test split,
    or all its images where it has none.
    """
    split, images = _unseen(folder, dataset)
    classes = tuple(folder.record["dataset"]["classes"])
    index = np.array([classes.index(name) for name in dataset.classes])
    probabilities = predict_probabilities(folder, split, device=device)
    minority = tuple(folder.record["dataset"]["minority"])
    return Evaluation(
        evaluate(index[split.labels], probabilities, classes=classes, minority=minority), images
    )


def _unseen(folder: RunFolder, dataset: ImageDataset) -> tuple[ImageSplit, str]:
    if dataset.fingerprint == folder.record["dataset"]["fingerprint"]:
        split = SplitManifest.load(folder.path / "manifest.json").apply(dataset).test
        if split is None or not len(split):
            raise DataError(
                f"{folder.path} kept no image of {dataset.name} for testing; give other labelled images"
            )
        return split, f"the run's own {len(split):,} test images"
    if dataset.test is not None:
        return dataset.test, f"the {len(dataset.test):,} images of the test split"
    return dataset.train, f"all {len(dataset.train):,} images"


@dataclass(frozen=True)
class Prediction:
    """What a model says of new images.

    Attributes
    ----------
    paths : tuple of str
        The images.
    predicted : tuple of str
        The class of each.
    probabilities : ndarray of shape (N, C)
        In [0, 1].
    skipped : tuple of SkippedFile
        Images that could not be read.
    """

    paths: tuple[str, ...]
    predicted: tuple[str, ...]
    probabilities: np.ndarray
    skipped: tuple[SkippedFile, ...]


def predict_images(
    folder: RunFolder,
    images: Sequence[Path],
    out: Path,
    *,
    device: str = "auto",
    strict: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Prediction:
    """Predict the classes of new images and write them to a CSV file.

    Parameters
    ----------
    folder : RunFolder
        The trained model.
    images : sequence of Path
        Image files, folders or zips.
    out : Path
        The CSV file: path, predicted, one probability column per class.
    device : str
        ``"auto"``, ``"cpu"`` or ``"cuda"``.
    strict : bool
        Whether an unreadable image is an error.
    progress : callable, optional
        Called with (done, total) while images are read.

    Raises
    ------
    DataError
        If there is no readable image, or (with `strict`) an unreadable one.
    """
    network = folder.record["network"]
    classes = tuple(folder.record["dataset"]["classes"])
    size = (network["image_size"][0], network["image_size"][1])
    files, paths, skipped = read_images(
        images, channels=network["in_channels"], image_size=size, strict=strict, progress=progress
    )
    readable, unreadable = _readable(files, paths, strict, progress)
    if not readable:
        raise DataError(f"no readable image in {', '.join(map(str, images))} ({unreadable[0].reason})")
    kept = tuple(paths[i] for i in readable)
    split = ImageSplit(files.subset(readable), np.zeros(len(kept), dtype=np.int64), kept)
    probabilities = predict_probabilities(folder, split, device=device)
    write_predictions(out, kept, classes, None, probabilities)
    predicted = tuple(classes[i] for i in probabilities.argmax(axis=1))
    return Prediction(kept, predicted, probabilities, (*skipped, *unreadable))


def _readable(
    files: ImageFiles, paths: Sequence[str], strict: bool, progress: Callable[[int, int], None] | None
) -> tuple[list[int], list[SkippedFile]]:
    """Decode every image once: a whole header does not promise a whole image, and a model should not stop half-way."""
    readable, unreadable = [], []
    for index, path in enumerate(paths):
        try:
            files[index]
        except DataError as error:
            if strict:
                raise
            unreadable.append(SkippedFile(path, str(error)))
        else:
            readable.append(index)
        if progress is not None:
            progress(index + 1, len(paths))
    return readable, unreadable
