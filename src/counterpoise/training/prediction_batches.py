"""Batches of a prediction: as many images as fit the memory."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from counterpoise.exceptions import is_out_of_memory
from counterpoise.training.machine import free_bytes

BATCH_SIZE = 512
"""Most images or embeddings of one prediction."""
SMALL_BATCH = 8
"""Photographs of a batch on one core; larger ones leave its cache."""
DEVICE_BATCH = 128
LARGE_IMAGE = 48 * 48
"""Pixels from which images are predicted in small batches, one on each core."""
MOST_PIXELS, CORE_PIXELS = DEVICE_BATCH * 224 * 224, SMALL_BATCH * 384 * 384
"""Most pixels of a batch, on a device and on one core."""
PIXEL_BYTES = 512
"""Memory for each pixel of a batch: some layers of 64 channels at full size, or more at half of it."""


def prediction_batch(image_size: tuple[int, int], largest: int, most: int | None = None) -> int:
    """Return how many images of (height, width) a prediction takes at a time: fewer than `largest` of large ones.

    Examples
    --------
    >>> prediction_batch((28, 28), BATCH_SIZE), prediction_batch((512, 512), BATCH_SIZE)
    (512, 24)
    >>> [prediction_batch((size, size), SMALL_BATCH) for size in (224, 384, 1024)]
    [8, 8, 1]
    """
    pixels = CORE_PIXELS if largest == SMALL_BATCH else MOST_PIXELS
    size = max(1, min(largest, pixels // (image_size[0] * image_size[1])))
    return min(size, most or size)


def prediction_workers(image_size: tuple[int, int], batch_size: int, cores: int) -> int:
    """Return how many cores compute batches of their own, so that these fit half of the free memory."""
    needed = batch_size * image_size[0] * image_size[1] * PIXEL_BYTES
    return max(1, int(min(cores, free_bytes(torch.device("cpu")) / 2 // needed)))


def within_memory(function: Callable[[Tensor], Tensor], inputs: Tensor) -> Tensor:
    """Return the outputs (N, ...) of a function for inputs (N, ...): of both halves where the memory is too small."""
    try:
        return function(inputs)
    except (MemoryError, RuntimeError) as error:
        if len(inputs) < 2 or not is_out_of_memory(error):
            raise
    # Outside of the block, which holds the layers' outputs through its traceback.
    if inputs.device.type == "cuda":
        torch.cuda.empty_cache()
    return torch.cat([within_memory(function, half) for half in inputs.chunk(2)])
