"""Batches of an epoch: gathered from memory by index, or decoded by worker processes.

Small images are one uint8 tensor on the training device and a batch is one gather, without per-image Python.
Large ones go through a DataLoader. The outputs of frozen layers are computed once.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from counterpoise.datasets import ImageSplit, decode_batch

FROZEN_BATCH_SIZE = 256
#: Larger outputs of frozen layers are not held in memory but recomputed for each batch.
MAX_BYTES = 1 << 30

#: Returns the indices that an epoch (0-based) visits, in order.
Order = Callable[[int], np.ndarray]


class Batch(NamedTuple):
    """Samples of one step, on the training device."""

    inputs: Tensor
    targets: Tensor
    indices: Tensor
    weights: Tensor | None = None


class Batches(Protocol):
    """The batches of each epoch: inputs, targets, indices into the set and optional sample weights."""

    @property
    def order(self) -> Order:
        """Return the order of an epoch's samples."""

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """Yield the batches of an epoch (0-based) on the training device; inputs are float32."""


def memory_format(channels: int) -> torch.memory_format:
    """Return the fastest layout for convolutions: channels last for color, on CPU and GPU alike."""
    return torch.channels_last if channels > 1 else torch.contiguous_format


@dataclass(eq=False)
class TensorBatches:
    """Batches of tensors on the training device: uint8 images, or float32 embeddings, of shape (N, ...).

    `prepare` turns gathered inputs into float32 ones.
    """

    inputs: Tensor
    targets: Tensor
    order: Order
    batch_size: int
    weights: Tensor | None = None
    prepare: Callable[[Tensor], Tensor] | None = None

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """Yield the batches of an epoch."""
        order = torch.from_numpy(self.order(epoch)).to(self.inputs.device)
        for indices in split_batches(order, self.batch_size):
            weights = None if self.weights is None else self.weights[indices]
            inputs = self.inputs.index_select(0, indices)
            if self.prepare is not None:
                inputs = self.prepare(inputs)
            yield Batch(inputs, self.targets[indices], indices, weights)


@dataclass(eq=False)
class LoaderBatches:
    """Batches of images that are decoded by `workers` processes (0: threads of this one) when they are needed."""

    split: ImageSplit
    order: Order
    batch_size: int
    device: torch.device
    workers: int = 0
    generator: torch.Generator | None = None
    weights: Tensor | None = None

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """Yield the batches of an epoch."""
        order = torch.from_numpy(self.order(epoch))
        parts = split_batches(order, self.batch_size)
        loader = DataLoader(
            _SplitDataset(self.split, threads=self.workers == 0),
            batch_sampler=[indices.tolist() for indices in parts],
            collate_fn=_unchanged,
            num_workers=self.workers,
            pin_memory=self.device.type == "cuda",
            generator=self.generator,
        )
        for indices, (images, targets) in zip(parts, loader, strict=True):
            inputs = _as_float(images.to(self.device, non_blocking=True))
            rows = indices.to(self.device)
            weights = None if self.weights is None else self.weights[rows]
            yield Batch(inputs, targets.to(self.device), rows, weights)


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


@dataclass(eq=False)
class _SplitDataset(Dataset):
    split: ImageSplit
    threads: bool

    def __len__(self) -> int:
        return len(self.split)

    def __getitems__(self, indices: list[int]) -> tuple[Tensor, Tensor]:
        """Return a whole batch, which the loader asks for where it can."""
        images = decode_batch(self.split.images, indices, threads=self.threads)
        return torch.from_numpy(np.ascontiguousarray(images)), torch.from_numpy(self.split.labels[indices])


def _unchanged(batch: Any) -> Any:
    return batch


def image_batches(
    split: ImageSplit, order: Order, *, batch_size: int, device: torch.device, workers: int = 0
) -> TensorBatches | LoaderBatches:
    """Return batches of a split: from memory where its images are there, else through a DataLoader."""
    if split.in_memory:
        with warnings.catch_warnings():
            # Memory-mapped images are read-only, which a torch tensor cannot be; nothing here writes to it.
            warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
            images = torch.from_numpy(np.ascontiguousarray(split.images)).to(device)
        targets = torch.from_numpy(split.labels).to(device)
        return TensorBatches(images, targets, order, batch_size=batch_size, prepare=_as_float)
    return LoaderBatches(split, order, batch_size, device, workers)


def ordered_batches(
    split: ImageSplit, *, batch_size: int, device: torch.device, workers: int = 0
) -> Iterator[Batch]:
    """Return batches of all images of a split, each once, in their order."""
    order = np.arange(len(split))
    batches = image_batches(split, lambda epoch: order, batch_size=batch_size, device=device, workers=workers)
    if isinstance(batches, LoaderBatches):
        # A loader draws a seed for its workers, from the global generator if it has none.
        batches.generator = torch.Generator()
    return batches.epoch(0)


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
    epoch; outputs larger than `max_bytes` are recomputed for each batch. `bottom` takes images, floats in [0, 1], and
    is used in evaluation mode. The other parameters are those of :func:`image_batches`.
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
        return TensorBatches(
            outputs, labels, order, batch_size=batch_size, prepare=lambda maps: maps.permute(0, 3, 1, 2)
        )
    return TensorBatches(outputs, labels, order, batch_size=batch_size)


def split_batches(order: Tensor, batch_size: int) -> list[Tensor]:
    """Cut an order into batches; a single left-over sample joins the batch before it: batch norm needs two.

    Examples
    --------
    >>> [len(batch) for batch in split_batches(torch.arange(9), 4)]
    [4, 5]
    """
    batches = list(order.split(batch_size))
    if len(batches) > 1 and len(batches[-1]) == 1:
        batches[-2:] = [torch.cat(batches[-2:])]
    return batches


def _as_float(images: Tensor) -> Tensor:
    """Return uint8 images as float32 in [0, 1], in their `memory_format`."""
    return images.to(torch.float32, memory_format=memory_format(images.shape[1])).div_(255)


def _outputs(bottom: nn.Module, split: ImageSplit, device: torch.device, workers: int) -> Tensor:
    batches = ordered_batches(split, batch_size=FROZEN_BATCH_SIZE, device=device, workers=workers)
    # Not in inference mode: the layers above are trained on these tensors.
    with torch.no_grad():
        return torch.cat([bottom(batch.inputs) for batch in batches])
