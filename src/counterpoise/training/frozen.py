"""Training above frozen layers: what they give is computed once, and the rest is trained on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from counterpoise.config.train import TrainConfig
from counterpoise.datasets import ImageSplit
from counterpoise.exceptions import InputError
from counterpoise.methods import Method
from counterpoise.networks import Network
from counterpoise.training.batches import Batch, Batches, TensorBatches, image_batches
from counterpoise.training.predict import EmbeddedSplit, Validate, head_validation, network_validation

PASS_SIZE = 256
#: More outputs of frozen layers than this are not kept in memory but computed anew for each batch.
MOST_BYTES = 1 << 30


def refuse_pixel_methods(method: Method) -> None:
    """Refuse a method that has nothing to act on where the whole network is frozen.

    Raises
    ------
    InputError
        If it changes images, or trains the embedding by an objective of its own.
    """
    sampler = method.sampler.load() if method.sampler is not None else None
    if method.augment is not None or method.perturb is not None or getattr(sampler, "makes_images", False):
        raise InputError(
            f"{method.label} changes images, and a network frozen whole sees each only once, unchanged; "
            "freeze fewer layers (`freeze` N) or use another method"
        )
    if method.objective is not None:
        raise InputError(
            f"{method.label} trains the embedding, and the network is frozen whole; freeze fewer layers (`freeze` N) "
            "or use another method"
        )


def trains_in_vain(method: Method, train: ImageSplit) -> bool:
    """Return whether training the network would leave nothing: it is frozen whole, and `method` makes a new head."""
    head: Any = None if method.head is None else method.head.load()
    return isinstance(train, EmbeddedSplit) and head is not None and bool(head.fresh)


def trained_part(
    network: Network,
    train: ImageSplit,
    validation: ImageSplit | None,
    order: Callable[[int], np.ndarray],
    config: TrainConfig,
    device: torch.device,
) -> tuple[nn.Module, Batches, Validate | None]:
    """Return what is trained, on what, and what validates it.

    This is the network on images; of one that is frozen whole, the head on the embeddings of these images.
    """
    if isinstance(train, EmbeddedSplit):
        batches = TensorBatches(
            torch.from_numpy(train.rows).to(device),
            torch.from_numpy(train.labels).to(device),
            order,
            batch_size=config.batch_size,
        )
        return network.classifier, batches, head_validation(network, network.classifier, validation, config)
    images = image_batches(train, order, batch_size=config.batch_size, device=device, workers=config.workers)
    return network, images, network_validation(network, validation, config)


def frozen_batches(
    bottom: nn.Module,
    split: ImageSplit,
    order: Callable[[int], np.ndarray],
    *,
    batch_size: int,
    device: torch.device,
    workers: int = 0,
    most_bytes: int = MOST_BYTES,
) -> Batches:
    """Return batches of what frozen layers give for the images of a split, for training the layers above.

    Frozen batch norm makes an image's output independent of its batch, so that it is computed once, not once an
    epoch, and training on it is training through the frozen layers.

    Parameters
    ----------
    bottom : Module
        The frozen layers; takes images, floats in [0, 1]. It is used in evaluation mode.
    split : ImageSplit
        The images.
    order, batch_size, device, workers
        As for :func:`image_batches`.
    most_bytes : int
        Where the outputs would be larger, each batch is passed through the frozen layers when it is needed.
    """
    bottom.to(device).eval()
    images = image_batches(split, order, batch_size=batch_size, device=device, workers=workers)
    passed = PassedBatches(bottom, images)
    probe = _pass(bottom, split.subset(np.arange(min(2, len(split)))), device, 0)
    if len(split) * probe[0].numel() * probe.element_size() > most_bytes:
        return passed
    outputs = _pass(bottom, split, device, workers)
    labels = torch.from_numpy(split.labels).to(device)
    settings: dict[str, Any] = {"batch_size": batch_size}
    if probe.ndim == 4 and not probe.is_contiguous():
        # Kept with the channels last, as they are laid out, so that each image's are gathered in one piece.
        settings["prepare"] = _channels_back
        outputs = outputs.permute(0, 2, 3, 1).contiguous()
    return TensorBatches(outputs, labels, order, **settings)


@dataclass(frozen=True)
class PassedBatches:
    """Batches of images passed through frozen layers.

    Parameters
    ----------
    bottom : Module
        The frozen layers, in evaluation mode.
    batches : Batches
        The images.
    """

    bottom: nn.Module
    batches: Batches

    def epoch_size(self, epoch: int) -> int:
        """Return the number of samples of an epoch."""
        return self.batches.epoch_size(epoch)

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """Yield the batches of an epoch."""
        for batch in self.batches.epoch(epoch):
            with torch.no_grad():
                outputs = self.bottom(batch.inputs)
            yield batch._replace(inputs=outputs)


def _pass(bottom: nn.Module, split: ImageSplit, device: torch.device, workers: int) -> Tensor:
    """Return what `bottom` gives for all images, (N, ...) on `device`."""
    order = np.arange(len(split))
    batches = image_batches(split, lambda epoch: order, batch_size=PASS_SIZE, device=device, workers=workers)
    with torch.no_grad():
        return torch.cat([bottom(batch.inputs) for batch in batches.epoch(0)])


def _channels_back(maps: Tensor) -> Tensor:
    return maps.permute(0, 3, 1, 2)
