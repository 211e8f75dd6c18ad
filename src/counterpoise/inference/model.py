"""The model of a finished run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch

from counterpoise import networks
from counterpoise.balance.adjust import Adjustment, adjustment_from_state
from counterpoise.datasets import ImageDataset, ImageSplit, load_dataset
from counterpoise.exceptions import InputError
from counterpoise.networks import Network
from counterpoise.runs import RunFolder
from counterpoise.training import find_device, predict_logits, softmax


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
    """Load a dataset with the image size of a run's model; `options` are those of `load_dataset`.

    Raises
    ------
    InputError
        If its classes or channels are not those of the run.
    """
    network = folder.record.network
    dataset = load_dataset(source, image_size=network.image_size, **options)
    expected = folder.record.dataset.classes
    unknown = [name for name in dataset.classes if name not in expected]
    if unknown:
        raise InputError(
            f"{source} has a class {unknown[0]!r} that the model was not trained on; "
            f"its classes are {', '.join(expected)}"
        )
    if dataset.channels != network.in_channels:
        raise InputError(
            f"{source} has {_kind(dataset.channels)} images, the model was trained on "
            f"{_kind(network.in_channels)} ones; convert the images or train on such as these"
        )
    return dataset


def _kind(channels: int) -> str:
    return "grayscale" if channels == 1 else "color"
