"""Batches of an epoch: gathered from memory by index, or decoded by worker processes.

Small images live as one uint8 tensor on the training device and a batch is one gather; there is no
per-image Python. Large ones go through a DataLoader.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from counterpoise.datasets import ImageSplit


class Batch(NamedTuple):
    """Samples of one step, on the training device."""

    inputs: Tensor
    targets: Tensor
    indices: Tensor
    weights: Tensor | None = None


class Batches(Protocol):
    """Gives the batches of each epoch: inputs, targets, where they stand in the set and, perhaps, their weights."""

    def epoch_size(self, epoch: int) -> int:
        """Return the number of samples of an epoch."""

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """Yield the batches of an epoch (0-based) on the training device; inputs are float32."""


def pixels(images: Tensor) -> Tensor:
    """Return uint8 images as float32 in [0, 1], laid out as `memory_format` says."""
    layout = memory_format(images.shape[1])
    return images.to(torch.float32, memory_format=layout).div_(255)


def memory_format(channels: int) -> torch.memory_format:
    """Return the layout that convolutions are fastest in: channels last for colour, on CPU and GPU alike."""
    return torch.channels_last if channels > 1 else torch.contiguous_format


def same(inputs: Tensor) -> Tensor:
    """Return embeddings as they are."""
    return inputs


class TensorBatches:
    """Batches of tensors that lie on the training device.

    Parameters
    ----------
    inputs : Tensor of shape (N, ...)
        Images (uint8) or embeddings (float32).
    targets : Tensor of shape (N,), int64
        Class indices.
    order : callable
        ``order(epoch)`` returns the indices that an epoch visits, in order.
    batch_size : int
        Samples per batch. A single left-over sample joins the batch before it: batch norm needs two.
    weights : Tensor of shape (N,), optional
        Sample weights.
    prepare : callable
        Makes float32 inputs of what is gathered: `pixels` or `same`.
    """

    def __init__(
        self,
        inputs: Tensor,
        targets: Tensor,
        order: Callable[[int], np.ndarray],
        *,
        batch_size: int,
        weights: Tensor | None = None,
        prepare: Callable[[Tensor], Tensor] = same,
    ) -> None:
        self.inputs = inputs
        self.targets = targets
        self.order = order
        self.batch_size = batch_size
        self.weights = weights
        self.prepare = prepare

    def epoch_size(self, epoch: int) -> int:
        """Return the number of samples of an epoch."""
        return len(self.order(epoch))

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """Yield the batches of an epoch."""
        order = torch.from_numpy(self.order(epoch)).to(self.inputs.device)
        for indices in split_batches(order, self.batch_size):
            weights = None if self.weights is None else self.weights[indices]
            inputs = self.prepare(self.inputs.index_select(0, indices))
            yield Batch(inputs, self.targets[indices], indices, weights)


class LoaderBatches:
    """Batches of images that are decoded when they are needed.

    Parameters
    ----------
    split : ImageSplit
        The images and labels.
    order : callable
        ``order(epoch)`` returns the indices that an epoch visits, in order.
    batch_size : int
        Images per batch.
    device : torch.device
        Where the batches go.
    workers : int
        Decoding processes; 0 decodes in this one.
    """

    def __init__(
        self,
        split: ImageSplit,
        order: Callable[[int], np.ndarray],
        *,
        batch_size: int,
        device: torch.device,
        workers: int = 0,
    ) -> None:
        self.split = split
        self.order = order
        self.batch_size = batch_size
        self.device = device
        self.workers = workers

    def epoch_size(self, epoch: int) -> int:
        """Return the number of samples of an epoch."""
        return len(self.order(epoch))

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """Yield the batches of an epoch."""
        order = torch.from_numpy(self.order(epoch))
        parts = split_batches(order, self.batch_size)
        loader = DataLoader(
            _SplitDataset(self.split),
            batch_sampler=[indices.tolist() for indices in parts],
            num_workers=self.workers,
            pin_memory=self.device.type == "cuda",
        )
        for indices, (images, targets) in zip(parts, loader, strict=True):
            inputs = pixels(images.to(self.device, non_blocking=True))
            yield Batch(inputs, targets.to(self.device), indices.to(self.device))


class _SplitDataset(Dataset):
    def __init__(self, split: ImageSplit) -> None:
        self.split = split

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return torch.from_numpy(np.ascontiguousarray(self.split.images[index])), int(self.split.labels[index])


def image_batches(
    split: ImageSplit,
    order: Callable[[int], np.ndarray],
    *,
    batch_size: int,
    device: torch.device,
    workers: int = 0,
) -> Batches:
    """Return the fitting batches for a split: from memory where its images are, else through a DataLoader."""
    if split.in_memory:
        images = device_images(split, device)
        targets = torch.from_numpy(split.labels).to(device)
        return TensorBatches(images, targets, order, batch_size=batch_size, prepare=pixels)
    return LoaderBatches(split, order, batch_size=batch_size, device=device, workers=workers)


def device_images(split: ImageSplit, device: torch.device) -> Tensor:
    """Return the images of a split that is in memory as one uint8 tensor (N, C, H, W) on `device`."""
    with warnings.catch_warnings():
        # Memory-mapped images are read-only; torch cannot say so of a tensor, and nothing here writes to it.
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(np.ascontiguousarray(split.images)).to(device)


def split_batches(order: Tensor, batch_size: int) -> list[Tensor]:
    """Cut an order into batches; a single left-over sample joins the batch before it.

    Examples
    --------
    >>> [len(batch) for batch in split_batches(torch.arange(9), 4)]
    [4, 5]
    """
    batches = list(order.split(batch_size))
    if len(batches) > 1 and len(batches[-1]) == 1:
        batches[-2:] = [torch.cat(batches[-2:])]
    return batches
