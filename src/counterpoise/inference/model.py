"""Load the model of a finished run."""

from __future__ import annotations

from typing import Any

import numpy as np

from counterpoise.datasets import (
    ImageDataset,
    ImageSplit,
    load_dataset,
)
from counterpoise.exceptions import InputError
from counterpoise.runs.folder import RunFolder
from counterpoise.training import find_device, predict_logits, softmax


def predict_probabilities(folder: RunFolder, split: ImageSplit, *, device: str = "auto") -> np.ndarray:
    """Return the class probabilities, float64 of shape (N, C), that a run's model gives the images of `split`."""
    target = find_device(device)
    logits = predict_logits(folder.load_network(), split, device=target)
    adjustment = folder.load_adjustment()
    return softmax(logits if adjustment is None else adjustment.transform(logits))


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
