"""Base class of all objectives."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from numbers import Integral
from typing import Any, Protocol

import numpy as np
from torch import Tensor, nn

from counterpoise.balance.deferral import first_epoch
from counterpoise.exceptions import InputError

#: Returns a scalar for logits (N, C), targets (N,) and optional sample weights (N,).
Loss = Callable[..., Tensor]


class Embedder(Protocol):
    """Passes training images through the network in evaluation mode, without gradients."""

    def __call__(self, rows: Tensor | None = None) -> Tensor:
        """Return the embeddings (R, d), float32 on the training device, of the images at `rows`; of all by default."""


class Objective(ABC):
    """Base of methods whose steps use embeddings of the whole training set.

    The first epochs minimize the classification loss: objectives start from a trained network. A method fills
    ``_prepare`` and ``_loss_of``, and `prototypes` where it classifies by distance.

    Parameters
    ----------
    defer_epochs : int or float, default=0
        First epoch of the objective, see :func:`counterpoise.balance.deferral.first_epoch`.
    epochs : int, optional
        Number of epochs; needed where `defer_epochs` is a share.
    """

    #: Whether the nearest of `prototypes` decide in place of the network's head, and how many of them.
    classifies_by_distance = False
    neighbors = 1

    # Whether the epoch minimizes the classification loss; None before the first.
    _plain: bool | None = None

    def __init__(self, *, defer_epochs: int | float = 0, epochs: int | None = None) -> None:
        self._first_epoch = first_epoch(defer_epochs, epochs)
        if epochs is not None and self._first_epoch >= epochs:
            raise InputError(
                f"defer_epochs={defer_epochs} of {epochs} epochs leaves none; give a smaller number"
            )

    @property
    def loss_epochs(self) -> int | None:
        """Number of first epochs in which the classification loss is used; None: in all."""
        return None

    @abstractmethod
    def _prepare(self, epoch: int, embed: Embedder, labels: Tensor, generator: np.random.Generator) -> None:
        """Prepare an epoch of the objective; `embed` takes time, so ask only for the rows that are needed."""

    @abstractmethod
    def _loss_of(self, network: nn.Module, z: Tensor, targets: Tensor, indices: Tensor, loss: Loss) -> Tensor:
        """Return the scalar that a step minimizes, from the embeddings `z` of its images."""

    def begin_epoch(
        self, epoch: int, embed: Embedder, labels: Tensor, generator: np.random.Generator
    ) -> None:
        """Prepare an epoch, counted from 0; a resumed training begins with a later one.

        `embed` returns embeddings of training images, whose classes are `labels`, int64 (N,); `generator` is the source
        of the epoch's randomness.
        """
        self._plain = epoch < self._first_epoch
        if not self._plain:
            self._prepare(epoch, embed, labels, generator)

    def step(
        self, network: nn.Module, images: Tensor, targets: Tensor, indices: Tensor, loss: Loss
    ) -> Tensor:
        """Return the scalar that one step minimizes; InputError if no epoch was begun.

        Parameters
        ----------
        network : torch.nn.Module
            Has ``embed(x)`` and ``head(z)``.
        images : Tensor of shape (B, C, H, W)
            A batch, floats in [0, 1].
        targets, indices : Tensor of shape (B,), int64
            Classes of the images, and their indices in the training set.
        loss : callable
            ``loss(logits, targets)``, with optional sample weights as a third argument.
        """
        if self._plain is None:
            raise InputError(f"{type(self).__name__} has begun no epoch; call begin_epoch first")
        z = network.embed(images)  # type: ignore[operator]
        if self._plain:
            return loss(network.head(z), targets)  # type: ignore[operator]
        return self._loss_of(network, z, targets, indices, loss)

    def prototypes(
        self, embeddings: Tensor, labels: Tensor, generator: np.random.Generator
    ) -> tuple[Tensor, Tensor] | None:
        """Return prototypes (K, d) and their classes (K,) if the method classifies by the nearest ones, else None.

        `embeddings`, (N, d), are those of the training images by the trained network, `labels`, int64 (N,), their
        classes.
        """
        return None


def check_positive(**options: Any) -> None:
    """Raise InputError unless all options are whole numbers of at least 1."""
    for name, value in options.items():
        if not (isinstance(value, Integral) and int(value) >= 1):
            raise InputError(f"{name} is {value!r}; expected a whole number of at least 1")
