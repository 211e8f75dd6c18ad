"""What a network's normalisation is made of."""

from __future__ import annotations

import numpy as np

from counterpoise.datasets import ImageSplit


def pixel_statistics(split: ImageSplit, *, sample: int = 5000) -> tuple[list[float], list[float]]:
    """Return mean and standard deviation per channel, in units of [0, 1], of at most `sample` evenly spread images."""
    indices = np.unique(np.linspace(0, len(split) - 1, min(sample, len(split))).round().astype(int))
    values = np.stack([np.asarray(split.images[int(i)]) for i in indices]).astype(np.float64) / 255
    mean, std = values.mean(axis=(0, 2, 3)), values.std(axis=(0, 2, 3))
    return mean.tolist(), np.maximum(std, 1 / 255).tolist()
