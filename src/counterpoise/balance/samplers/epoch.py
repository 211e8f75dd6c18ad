"""The images of one epoch."""

from __future__ import annotations

from typing import Any

import numpy as np

from counterpoise.balance.samplers.base import ImageSampler


def epoch_indices(
    sampler: ImageSampler | None, labels: Any, *, seed: int, epoch: int, shuffle: bool = True
) -> np.ndarray:
    """Return the indices of an epoch's images in training order.

    Parameters
    ----------
    sampler : ImageSampler or None
        Chooses the images; its own `random_state` is not used. None: every image once.
    labels : array-like of shape (N,)
        Labels of the training images.
    seed, epoch : int
        The result depends on these two only.
    shuffle : bool, default=True
        Whether the order is random.

    Returns
    -------
    ndarray of int64
        Indices into `labels`.

    Examples
    --------
    >>> epoch_indices(None, [0, 0, 1, 1], seed=0, epoch=3, shuffle=False)
    array([0, 1, 2, 3])
    """
    generator = np.random.default_rng([seed, epoch])
    if sampler is None:
        indices = np.arange(len(labels), dtype=np.int64)
    else:
        sampler.set_epoch(epoch)
        indices = sampler.resample_indices(labels, random_state=generator)
    return generator.permutation(indices) if shuffle else indices
