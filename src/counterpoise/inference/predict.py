"""Predictions for new images, and scores on labeled ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from counterpoise.datasets import (
    ImageDataset,
    ImageFiles,
    ImageSplit,
    SkippedFile,
    SplitManifest,
    read_images,
)
from counterpoise.evaluation import ScoresDict, evaluate
from counterpoise.exceptions import DataError
from counterpoise.inference.model import TrainedModel
from counterpoise.runs import RunFolder, write_predictions

BATCH_SIZE = 32


@dataclass(frozen=True)
class Prediction:
    """Predictions for new images: predicted class and probabilities (N, C) of each, and unreadable files."""

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

    `images` are files, folders or zips. The columns are path, predicted and one probability per class. With `strict`,
    an unreadable image is an error. `progress` is called with (done, total) while images are read.

    Raises
    ------
    DataError
        If there is no readable image, or (with `strict`) an unreadable one.
    """
    model = TrainedModel.open(folder, device=device)
    files, paths, skipped = read_images(
        images, channels=model.channels, image_size=model.image_size, strict=strict, progress=progress
    )
    # A file with a valid header can be truncated, which would stop the model half-way: decode every image once.
    readable: list[int] = []
    unreadable: list[SkippedFile] = []
    for indices, _ in decoded_batches([files], paths, unreadable, strict=strict):
        readable += indices
        if progress is not None:
            progress(len(readable) + len(unreadable), len(paths))
    if not readable:
        raise DataError(f"no readable image in {', '.join(map(str, images))} ({unreadable[0].reason})")
    kept = tuple(paths[i] for i in readable)
    split = ImageSplit(files.subset(readable), np.zeros(len(kept), dtype=np.int64), kept)
    probabilities = model.probabilities(split)
    write_predictions(out, kept, model.classes, None, probabilities)
    predicted = tuple(model.classes[i] for i in probabilities.argmax(axis=1))
    return Prediction(kept, predicted, probabilities, (*skipped, *unreadable))


def decoded_batches(
    sources: Sequence[ImageFiles], paths: Sequence[str], unreadable: list[SkippedFile], *, strict: bool
) -> Iterator[tuple[list[int], list[np.ndarray]]]:
    """Yield indices and, for each source, decoded images (N, C, H, W); failures join `unreadable`, or are raised."""
    for start in range(0, len(paths), BATCH_SIZE):
        indices, decoded = [], []
        for index in range(start, min(start + BATCH_SIZE, len(paths))):
            try:
                decoded.append([source[index] for source in sources])
            except DataError as error:
                if strict:
                    raise
                unreadable.append(SkippedFile(paths[index], str(error)))
            else:
                indices.append(index)
        if indices:
            yield indices, [np.stack(each) for each in zip(*decoded, strict=True)]


@dataclass(frozen=True)
class Evaluation:
    """Scores of a finished run, and a description of the images they are of."""

    scores: ScoresDict
    images: str


def evaluate_run(folder: RunFolder, dataset: ImageDataset, *, device: str = "auto") -> Evaluation:
    """Return the scores of a run on images of `dataset` that it was not trained on.

    If `dataset` is that of the run, these are the run's own test images (`DataError` if it has none); else its test
    split, or all its images if it has none.
    """
    split, images = _unseen(folder, dataset)
    model = TrainedModel.open(folder, device=device)
    index = np.array([model.classes.index(name) for name in dataset.classes])
    minority = folder.record.dataset.minority
    probabilities = model.probabilities(split)
    scores = evaluate(index[split.labels], probabilities, classes=model.classes, minority=minority)
    return Evaluation(scores, images)


def _unseen(folder: RunFolder, dataset: ImageDataset) -> tuple[ImageSplit, str]:
    if dataset.fingerprint == folder.record.dataset.fingerprint:
        split = SplitManifest.load(folder.path / "manifest.json").apply(dataset).test
        if split is None or not len(split):
            raise DataError(f"{folder.path} has no test images of {dataset.name}; give other labeled images")
        return split, f"the run's own {len(split):,} test images"
    if dataset.test is not None:
        return dataset.test, f"the {len(dataset.test):,} images of the test split"
    return dataset.train, f"all {len(dataset.train):,} images"
