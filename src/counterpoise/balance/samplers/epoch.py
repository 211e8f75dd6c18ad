"""A sampler's draws, epoch by epoch, for a training loop."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from counterpoise.balance.samplers.base import ImageSampler
from counterpoise.exceptions import InputError

_UNEVEN = ("keep", "drop", "pad")


def epoch_indices(
    sampler: ImageSampler | None, labels: Any, *, seed: int, epoch: int, shuffle: bool = True
) -> np.ndarray:
    """Return the images of one epoch in the order in which training sees them.

    Parameters
    ----------
    sampler : ImageSampler or None
        Chooses the images; its own `random_state` is not used. None: every image once.
    labels : array-like of shape (N,)
        Labels of the training images.
    seed, epoch : int
        Together they fix the draw; no other state counts.
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


class EpochSampler:
    """Draws anew each epoch, and deals the draw out to the processes of a distributed run.

    For ``torch.utils.data.DataLoader(sampler=...)``. All ranks compute the same draw from (seed, epoch), and
    rank r takes every `world_size`-th index from r on: together they hold exactly the draw of a single
    process. No global generator is read or moved.

    Parameters
    ----------
    sampler : ImageSampler or None
        Chooses the images; None: every image once per epoch.
    labels : array-like of shape (N,)
        Labels of the training images.
    seed : int
        The same seed gives the same epochs.
    rank, world_size : int, default=0 and 1
        Which process this is, and of how many.
    shuffle : bool, default=True
        Whether the order is random.
    uneven : {"keep", "drop", "pad"}, default="keep"
        What happens if the draw cannot be shared out evenly: the first ranks get one index more, or the
        last indices are left out, or the first ones are repeated.

    Examples
    --------
    >>> from counterpoise.balance.samplers import RUS
    >>> sampler = EpochSampler(RUS(), [0, 0, 0, 0, 1, 1], seed=0)
    >>> sampler.set_epoch(1)
    >>> len(sampler), {4, 5} <= set(sampler)
    (4, True)
    """

    def __init__(
        self,
        sampler: ImageSampler | None,
        labels: Any,
        *,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        shuffle: bool = True,
        uneven: str = "keep",
    ) -> None:
        if not 0 <= rank < world_size:
            raise InputError(f"rank is {rank} of a world of {world_size}; expected 0 <= rank < world_size")
        if uneven not in _UNEVEN:
            raise InputError(f"uneven is {uneven!r}; expected one of {', '.join(_UNEVEN)}")
        self.sampler = sampler
        self.labels = labels
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self.shuffle = shuffle
        self.uneven = uneven
        self.epoch = 0
        self._indices: np.ndarray | None = None

    def set_epoch(self, epoch: int) -> None:
        """Go to epoch `epoch`, counted from 0."""
        self.epoch = epoch
        self._indices = None

    def indices(self) -> np.ndarray:
        """Return this rank's images of the epoch in order (int64)."""
        if self._indices is None:
            draw = epoch_indices(
                self.sampler, self.labels, seed=self.seed, epoch=self.epoch, shuffle=self.shuffle
            )
            self._indices = self._even(draw)[self.rank :: self.world_size]
        return self._indices

    def _even(self, draw: np.ndarray) -> np.ndarray:
        surplus = len(draw) % self.world_size
        if self.uneven == "keep" or not surplus:
            return draw
        if self.uneven == "drop":
            return draw[: len(draw) - surplus]
        return np.resize(draw, len(draw) + self.world_size - surplus)

    def __iter__(self) -> Iterator[int]:
        return iter(self.indices().tolist())

    def __len__(self) -> int:
        return len(self.indices())
