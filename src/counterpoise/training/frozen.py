"""Training above frozen layers, whose outputs are computed once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from counterpoise.datasets import ImageSplit
from counterpoise.exceptions import InputError
from counterpoise.methods import Method
from counterpoise.training.batches import (
    Batch,
    Batches,
    Order,
    TensorBatches,
    image_batches,
    ordered_batches,
)
from counterpoise.training.predict import EmbeddedSplit

FROZEN_BATCH_SIZE = 256
#: Larger outputs of frozen layers are not held in memory but recomputed for each batch.
MAX_BYTES = 1 << 30


def refuse_pixel_methods(method: Method) -> None:
    """Raise `InputError` for a method that changes images or has an objective: a frozen network makes it void."""
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


def replaces_head_only(method: Method, train: ImageSplit) -> bool:
    """Return whether training the network would have no effect: it is frozen whole, and `method` replaces its head."""
    head: Any = None if method.head is None else method.head.load()
    return isinstance(train, EmbeddedSplit) and head is not None and bool(head.fresh)


def frozen_batches(
    bottom: nn.Module,
    split: ImageSplit,
    order: Order,
    *,
    batch_size: int,
    device: torch.device,
    workers: int = 0,
    max_bytes: int = MAX_BYTES,
) -> Batches:
    """Return batches of the outputs of frozen layers, for training the layers above.

    With frozen batch norm an image's output does not depend on its batch, so it is computed once instead of once per
    epoch.

    Parameters
    ----------
    bottom : Module
        The frozen layers; takes images, floats in [0, 1]. It is used in evaluation mode.
    split, order, batch_size, device, workers
        As for :func:`image_batches`.
    max_bytes : int
        Where the outputs would be larger, they are recomputed for each batch.
    """
    bottom.to(device).eval()
    probe = _outputs(bottom, split.subset(np.arange(min(2, len(split)))), device, 0)
    if len(split) * probe[0].numel() * probe.element_size() > max_bytes:
        images = image_batches(split, order, batch_size=batch_size, device=device, workers=workers)
        return RecomputedBatches(bottom, images)
    outputs = _outputs(bottom, split, device, workers)
    labels = torch.from_numpy(split.labels).to(device)
    if probe.ndim == 4 and not probe.is_contiguous():
        # Stored with the channels last, as the layers return them, so that each image is one contiguous block.
        outputs = outputs.permute(0, 2, 3, 1).contiguous()
        return TensorBatches(outputs, labels, order, batch_size=batch_size, prepare=_channels_first)
    return TensorBatches(outputs, labels, order, batch_size=batch_size)


@dataclass(frozen=True)
class RecomputedBatches:
    """Batches of outputs of frozen layers (in evaluation mode), computed for each batch of images."""

    bottom: nn.Module
    batches: Batches

    @property
    def order(self) -> Order:
        """The order of the images."""
        return self.batches.order

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """Yield the batches of an epoch."""
        for batch in self.batches.epoch(epoch):
            with torch.no_grad():
                outputs = self.bottom(batch.inputs)
            yield batch._replace(inputs=outputs)


def _outputs(bottom: nn.Module, split: ImageSplit, device: torch.device, workers: int) -> Tensor:
    batches = ordered_batches(split, batch_size=FROZEN_BATCH_SIZE, device=device, workers=workers)
    # Not in inference mode: the layers above are trained on these tensors.
    with torch.no_grad():
        return torch.cat([bottom(batch.inputs) for batch in batches])


def _channels_first(maps: Tensor) -> Tensor:
    return maps.permute(0, 3, 1, 2)
