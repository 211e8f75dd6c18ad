"""The model of a finished run, its predictions for new images, and its scores on labeled ones."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch

from counterpoise import networks
from counterpoise.balance.adjust import Adjustment, adjustment_from_state
from counterpoise.config import DataConfig, Fit
from counterpoise.datasets import (
    ImageDataset,
    ImageFiles,
    ImageSplit,
    SkippedFile,
    load_dataset,
    map_indices,
    read_images,
)
from counterpoise.evaluation import ALPHA, ScoresDict, evaluate, pixel_statistics
from counterpoise.exceptions import DataError, InputError
from counterpoise.files import check_output
from counterpoise.inference.trust import COLUMNS, UNSURE, Trust, check_abstaining, judge_images, sort_images
from counterpoise.networks import Network
from counterpoise.runs import ROLES, UNKNOWN, RunFolder, write_predictions
from counterpoise.training import (
    cpu_threads,
    find_device,
    find_seen,
    image_roles,
    own_split,
    predict_embedded,
    predict_logits,
    softmax,
)

BATCH_SIZE = 32
_OF_DATA = ("exclude", "merge", "path_column", "label_column")


@dataclass(frozen=True, eq=False)
class TrainedModel:
    """Model of a finished run: its network on `device`, adjustment of its logits, and most images of a batch."""

    run: RunFolder
    network: Network
    adjustment: Adjustment | None
    device: torch.device
    batch_size: int | None = None

    @classmethod
    def open(cls, run: RunFolder, *, device: str = "auto", batch_size: int | None = None) -> TrainedModel:
        """Load the model of `run` onto a device: ``"auto"``, ``"cpu"`` or ``"cuda"``."""
        target = find_device(device)
        return cls(run, load_network(run).to(target), load_adjustment(run), target, batch_size)

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

    @property
    def value_range(self) -> tuple[int, int] | None:
        """Values of 16-bit files that become black and white; None: 0 and 65535."""
        return self.run.record.dataset.value_range

    @property
    def threads(self) -> int:
        """CPU threads of the run's own scores, whose last bits depend on them."""
        return int(self.run.record.training.get("threads") or 1)

    def adjust(self, logits: np.ndarray) -> np.ndarray:
        """Return the adjusted logits (N, C) for logits (N, C) of the network."""
        return logits if self.adjustment is None else self.adjustment.transform(logits)

    def logits(self, split: ImageSplit) -> np.ndarray:
        """Return the adjusted logits, of shape (N, C), of the images of `split`."""
        with cpu_threads(self.threads):
            logits = predict_logits(self.network, split, device=self.device, batch_size=self.batch_size)
            return self.adjust(logits)

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
    """Load a dataset as the images of a run were prepared; `options` are those of `load_dataset`.

    `InputError` if the run does not know one of its classes.
    """
    network, known = folder.record.network, folder.record.dataset
    asked: Any = folder.record.raw
    for part in ("config", "asked", "data"):  # absent in older records
        asked = asked.get(part) if isinstance(asked, dict) else None
    own: dict[str, Any] = {
        name: asked[name] for name in _OF_DATA if isinstance(asked, dict) and asked.get(name)
    }
    checked = DataConfig.of(**own)
    own = {name: getattr(checked, name) for name in own}
    own |= {"image_size": network.image_size, "fit": known.fit, "value_range": known.value_range}
    try:
        channels: Literal[1, 3] = 1 if network.in_channels == 1 else 3
        dataset = load_dataset(source, channels=channels, partial=True, **own, **options)
    except InputError as error:
        if source != known.source:
            raise
        raise DataError(f"{error}; if the images were moved, give their place as `source`") from error
    expected = known.classes
    unknown = [name for name in dataset.classes if name not in expected]
    if unknown:
        raise InputError(
            f"{source} has a class {unknown[0]!r} that the model was not trained on; "
            f"its classes are {', '.join(expected)}"
        )
    return dataset


@dataclass(frozen=True)
class Prediction:
    """Predictions for new images: predicted class and probabilities (N, C) of each, and unreadable files.

    Under `abstain`, the predicted class of an image that the model is not sure of is ``unsure``. `trust` is None where
    the run has no calibration data, and `seen` as in `Evaluation`.
    """

    paths: tuple[str, ...]
    predicted: tuple[str, ...]
    probabilities: np.ndarray
    skipped: tuple[SkippedFile, ...]
    seen: dict[str, int] | None = None
    trust: Trust | None = None


def predict_images(
    folder: RunFolder,
    images: Sequence[Path],
    out: Path,
    *,
    device: str = "auto",
    batch_size: int | None = None,
    strict: bool = False,
    alpha: float = ALPHA,
    abstain: bool = False,
    sort_into: Path | None = None,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Prediction:
    """Predict the classes of new images and write them to a CSV file.

    `images` are files, folders or zips. The columns are path, predicted, one probability per class; confidence (the
    highest probability) and margin (the highest minus the second); sure, the classes that the image may have, which
    lack the true one for a share of at most `alpha` of new images (see `conformal_rules`); unlike_training, yes or no,
    and typicality, the p-value behind it: the share of held-out images at least as far from the training images. The
    last three are empty where the run has no data for them.

    With `abstain` or `sort_into`, an image is predicted as ``unsure`` unless its set holds the predicted class alone
    and it is not unlike training; the images are copied into the new folder `sort_into` by their prediction.
    `batch_size` is the most images that the network takes at a time (default: as many as fit the memory). With
    `strict`, an unreadable image is a `DataError`. `progress` is called with (done, total) while images are read.
    `DataError` if there is no readable image; `InputError` if the model cannot abstain, `out` exists without
    `overwrite`, or is one of the images.
    """
    check_output(out, overwrite=overwrite)
    abstain = abstain or sort_into is not None
    if abstain:
        check_abstaining(folder, sort_into)
    model = TrainedModel.open(folder, device=device, batch_size=batch_size)
    files, paths, skipped = read_images(
        images,
        channels=model.channels,
        image_size=model.image_size,
        fit=model.fit,
        value_range=model.value_range,
        strict=strict,
        progress=progress,
    )
    if out.exists() and os.path.realpath(out) in {os.path.realpath(str(path)) for path in (*paths, *images)}:
        raise InputError(f"{out} is one of the images; choose another `out`")
    # A file with a valid header can be truncated, which would stop the model half-way: decode every image once.
    readable: list[int] = []
    unreadable: list[SkippedFile] = []
    statistics: list[np.ndarray] = []
    for indices, [pixels] in decoded_batches([files], paths, unreadable, strict=strict):
        readable += indices
        statistics.append(pixel_statistics(pixels))
        if progress is not None:
            progress(len(readable) + len(unreadable), len(paths))
    if not readable:
        raise DataError(f"no readable image in {', '.join(map(str, images))} ({unreadable[0].reason})")
    kept = tuple(paths[i] for i in readable)
    split = ImageSplit(files.subset(readable), np.zeros(len(kept), dtype=np.int64), kept)
    with cpu_threads(model.threads):
        logits, embeddings = predict_embedded(
            model.network, split, device=model.device, batch_size=batch_size
        )
    probabilities = softmax(model.adjust(logits))
    points = np.hstack([embeddings, np.concatenate(statistics)])
    trust = judge_images(folder, model.adjustment, probabilities, points, alpha=alpha)
    best, ranked = probabilities.argmax(axis=1), np.sort(probabilities, axis=1)
    sure = trust.is_sure(best) if abstain and trust is not None else np.ones(len(best), dtype=bool)
    predicted = tuple(model.classes[c] if certain else UNSURE for c, certain in zip(best, sure, strict=True))
    more = {"confidence": ranked[:, -1], "margin": ranked[:, -1] - ranked[:, -2]}
    columns = {name: [f"{value:.6g}" for value in values] for name, values in more.items()}
    columns |= {name: [] for name in COLUMNS} if trust is None else trust.columns()
    if sort_into is not None:
        sort_images(files.subset(readable), predicted, sort_into)
    write_predictions(out, kept, model.classes, None, probabilities, predicted=predicted, more=columns)
    seen = None if folder.seen is None else _counted(folder.seen.roles(split.content_keys()))
    return Prediction(kept, predicted, probabilities, (*skipped, *unreadable), seen, trust)


def decoded_batches(
    sources: Sequence[ImageFiles],
    paths: Sequence[str],
    unreadable: list[SkippedFile],
    *,
    strict: bool,
    size: int = BATCH_SIZE,
) -> Iterator[tuple[list[int], list[np.ndarray]]]:
    """Yield indices and, for each source, decoded images (N, C, H, W); failures join `unreadable`, or are raised."""

    def decode(index: int) -> list[np.ndarray] | SkippedFile:
        try:
            return [source[index] for source in sources]
        except DataError as error:
            if strict:
                raise
            return SkippedFile(paths[index], str(error))

    for start in range(0, len(paths), size):
        batch = range(start, min(start + size, len(paths)))
        found = map_indices(lambda i: decode(batch[i]), len(batch), chunk=4)  # noqa: B023  called at once
        images = {i: each for i, each in zip(batch, found, strict=True) if not isinstance(each, SkippedFile)}
        unreadable += [each for each in found if isinstance(each, SkippedFile)]
        if images:
            yield list(images), [np.stack(each) for each in zip(*images.values(), strict=True)]


@dataclass(frozen=True)
class Evaluation:
    """Scores of a run, a description of the images, and how many it learned from by role, None where it is unknown."""

    scores: ScoresDict
    images: str
    seen: dict[str, int] | None


def evaluate_run(
    folder: RunFolder,
    dataset: ImageDataset,
    *,
    device: str = "auto",
    batch_size: int | None = None,
    include_seen: bool = False,
) -> Evaluation:
    """Return the scores of a run on images of `dataset`, without those that it learned from unless `include_seen`.

    If `dataset` holds the images of the run, these are the run's own test images; else its test split, or all its
    images if it has none. `batch_size` is as for `predict_images`. `DataError` if no image remains.
    """
    split, images = dataset.train, f"all {len(dataset.train):,} images"
    if not include_seen and (manifest := own_split(folder, dataset)) is not None:
        own = manifest.apply(dataset).test
        if own is None or not len(own):
            raise DataError(f"{folder.path} has no test images of {dataset.name}; give other labeled images")
        split, images = own, f"the run's own {len(own):,} test images"
    elif dataset.test is not None:
        split, images = dataset.test, f"the {len(dataset.test):,} images of the test split"
    seen, roles = find_seen(folder, dataset), None
    if seen is not None:
        roles = image_roles(seen, split)
        new = np.flatnonzero(roles == "")
        if not len(new) and not include_seen:
            raise DataError(f"{folder.path} learned from {images}; give others, or `include_seen`")
        if len(new) < len(split) and not include_seen:
            split, images = split.subset(new), f"{len(new):,} of {images}"
    model = TrainedModel.open(folder, device=device, batch_size=batch_size)
    index = np.array([model.classes.index(name) for name in dataset.classes])
    minority = folder.record.dataset.minority
    probabilities = model.probabilities(split)
    scores = evaluate(index[split.labels], probabilities, classes=model.classes, minority=minority)
    return Evaluation(scores, images, None if seen is None or UNKNOWN in seen.keys else _counted(roles))


def _counted(roles: np.ndarray | None) -> dict[str, int] | None:
    return None if roles is None else {role: int((roles == role).sum()) for role in ROLES}
