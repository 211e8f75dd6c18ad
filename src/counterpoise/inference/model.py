"""The model of a finished run, its predictions for new images, and its scores on labeled ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from counterpoise import networks
from counterpoise.balance.adjust import Adjustment, adjustment_from_state
from counterpoise.config import Fit
from counterpoise.datasets import (
    ImageDataset,
    ImageFiles,
    ImageSplit,
    SkippedFile,
    SplitManifest,
    load_dataset,
    map_indices,
    read_images,
)
from counterpoise.evaluation import ScoresDict, evaluate
from counterpoise.exceptions import DataError, InputError
from counterpoise.networks import Network
from counterpoise.runs import RunFolder, write_predictions
from counterpoise.training import find_device, predict_logits, softmax

BATCH_SIZE = 32


@dataclass(frozen=True, eq=False)
class TrainedModel:
    """Model of a finished run: its network, in evaluation mode on `device`, and the adjustment of its logits."""

    run: RunFolder
    network: Network
    adjustment: Adjustment | None
    device: torch.device

    @classmethod
    def open(cls, run: RunFolder, *, device: str = "auto") -> TrainedModel:
        """Load the model of `run` onto a device: ``"auto"``, ``"cpu"`` or ``"cuda"``."""
        target = find_device(device)
        return cls(run, load_network(run).to(target), load_adjustment(run), target)

    @property
    def classes(self) -> tuple[str, ...]:
        """The class names, in the order of the logits."""
        return self.run.record.dataset.classes

    @property
    def channels(self) -> int:
        """Channels of the images: 1 or 3."""
        return self.network.in_channels

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of the images, in pixels."""
        height, width = self.network.image_size
        return height, width

    @property
    def fit(self) -> Fit:
        """How images of another shape fit that size."""
        return self.run.record.dataset.fit

    def adjust(self, logits: np.ndarray) -> np.ndarray:
        """Return the adjusted logits (N, C) for logits (N, C) of the network."""
        return logits if self.adjustment is None else self.adjustment.transform(logits)

    def logits(self, split: ImageSplit) -> np.ndarray:
        """Return the adjusted logits, of shape (N, C), of the images of `split`."""
        return self.adjust(predict_logits(self.network, split, device=self.device))

    def probabilities(self, split: ImageSplit) -> np.ndarray:
        """Return the class probabilities, float64 of shape (N, C), of the images of `split`."""
        return softmax(self.logits(split))

    def predict(self, split: ImageSplit) -> np.ndarray:
        """Return the predicted class indices, int64 of shape (N,), of the images of `split`."""
        return self.logits(split).argmax(axis=1)


def load_network(run: RunFolder) -> Network:
    """Load the network of a finished run, in evaluation mode on the CPU."""
    config = cast(networks.NetworkConfig, run.record.network.raw)
    return networks.load_network(config, run.path / "model.safetensors").eval()


def load_adjustment(run: RunFolder) -> Adjustment | None:
    """Load the adjustment of a finished run, if it has one."""
    state = run.record.adjust
    return None if state is None else adjustment_from_state(state.raw)


def load_for_run(folder: RunFolder, source: str, **options: Any) -> ImageDataset:
    """Load a dataset with the image size and fit of a run's model; `options` are those of `load_dataset`.

    `InputError` if its classes or channels are not those of the run.
    """
    network = folder.record.network
    dataset = load_dataset(source, image_size=network.image_size, fit=folder.record.dataset.fit, **options)
    expected = folder.record.dataset.classes
    unknown = [name for name in dataset.classes if name not in expected]
    if unknown:
        raise InputError(
            f"{source} has a class {unknown[0]!r} that the model was not trained on; "
            f"its classes are {', '.join(expected)}"
        )
    if dataset.channels != network.in_channels:
        own, other = ("grayscale" if n == 1 else "color" for n in (dataset.channels, network.in_channels))
        raise InputError(
            f"{source} has {own} images, the model was trained on {other} ones; "
            "convert the images or train on such as these"
        )
    return dataset


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
    an unreadable image is a `DataError`. `progress` is called with (done, total) while images are read.
    `DataError` if there is no readable image.
    """
    model = TrainedModel.open(folder, device=device)
    files, paths, skipped = read_images(
        images,
        channels=model.channels,
        image_size=model.image_size,
        fit=model.fit,
        strict=strict,
        progress=progress,
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

    def decode(index: int) -> list[np.ndarray] | SkippedFile:
        try:
            return [source[index] for source in sources]
        except DataError as error:
            if strict:
                raise
            return SkippedFile(paths[index], str(error))

    for start in range(0, len(paths), BATCH_SIZE):
        batch = range(start, min(start + BATCH_SIZE, len(paths)))
        found = map_indices(lambda i: decode(batch[i]), len(batch), chunk=4)  # noqa: B023  called at once
        images = {i: each for i, each in zip(batch, found, strict=True) if not isinstance(each, SkippedFile)}
        unreadable += [each for each in found if isinstance(each, SkippedFile)]
        if images:
            yield list(images), [np.stack(each) for each in zip(*images.values(), strict=True)]


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
    split, images = dataset.train, f"all {len(dataset.train):,} images"
    if dataset.fingerprint == folder.record.dataset.fingerprint:
        own = SplitManifest.load(folder.path / "manifest.json").apply(dataset).test
        if own is None or not len(own):
            raise DataError(f"{folder.path} has no test images of {dataset.name}; give other labeled images")
        split, images = own, f"the run's own {len(own):,} test images"
    elif dataset.test is not None:
        split, images = dataset.test, f"the {len(dataset.test):,} images of the test split"
    model = TrainedModel.open(folder, device=device)
    index = np.array([model.classes.index(name) for name in dataset.classes])
    minority = folder.record.dataset.minority
    probabilities = model.probabilities(split)
    scores = evaluate(index[split.labels], probabilities, classes=model.classes, minority=minority)
    return Evaluation(scores, images)
