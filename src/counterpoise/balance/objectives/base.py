"""The contract of all objectives."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Protocol

import numpy as np
from torch import Tensor, nn

from counterpoise.exceptions import InputError

#: Returns a scalar for logits (N, C) and targets (N,), and, as a third argument, sample weights (N,).
Loss = Callable[..., Tensor]


class Embedder(Protocol):
    """Passes training images through the network in evaluation mode, without gradients."""

    def __call__(self, rows: Tensor | None = None) -> Tensor:
        """Return the embeddings (R, d), float32 on the training device, of the images at `rows`; of all by default."""


class Objective(ABC):
    """What is minimised, step by step, by a method that looks at embeddings of the whole training set.

    The base checks the order of the calls; a method fills ``_begin_epoch`` and ``_step``, and ``_prototypes`` where
    it classifies by distance.
    """

    #: Whether `prototypes` decide in place of the network's head.
    classifies_by_distance = False

    _begun = False

    @property
    def loss_epochs(self) -> int | None:
        """In how many epochs from the start the loss is looked at; None: in all."""
        return None

    @abstractmethod
    def _begin_epoch(
        self, epoch: int, embed: Embedder, labels: Tensor, generator: np.random.Generator
    ) -> None:
        """Prepare an epoch; `embed` takes time, so ask it for what is needed."""

    @abstractmethod
    def _step(
        self, network: nn.Module, images: Tensor, targets: Tensor, indices: Tensor, loss: Loss
    ) -> Tensor:
        """Return the scalar that a step minimises."""

    def _prototypes(
        self, embeddings: Tensor, labels: Tensor, generator: np.random.Generator
    ) -> tuple[Tensor, Tensor] | None:
        return None

    def begin_epoch(
        self, epoch: int, embed: Embedder, labels: Tensor, generator: np.random.Generator
    ) -> None:
        """Prepare epoch `epoch`.

        Parameters
        ----------
        epoch : int
            From 0. A resumed training begins with a later one.
        embed : callable
            Returns the embeddings of the training images that are asked for.
        labels : Tensor of shape (N,), int64
            Their classes.
        generator : numpy.random.Generator
            All that is random in the epoch comes from it.
        """
        self._begin_epoch(epoch, embed, labels, generator)
        self._begun = True

    def step(
        self, network: nn.Module, images: Tensor, targets: Tensor, indices: Tensor, loss: Loss
    ) -> Tensor:
        """Return what one step minimises.

        Parameters
        ----------
        network : torch.nn.Module
            Has ``embed(x)`` and ``head(z)``.
        images : Tensor of shape (B, C, H, W)
            A batch, floats in [0, 1].
        targets, indices : Tensor of shape (B,), int64
            Classes of the images, and where they stand in the training set.
        loss : callable
            ``loss(logits, targets)``, perhaps with sample weights as a third argument.

        Raises
        ------
        InputError
            If no epoch was begun.
        """
        if not self._begun:
            raise InputError(f"{type(self).__name__} has begun no epoch; call begin_epoch first")
        return self._step(network, images, targets, indices, loss)

    def prototypes(
        self, embeddings: Tensor, labels: Tensor, generator: np.random.Generator
    ) -> tuple[Tensor, Tensor] | None:
        """Return prototypes (K, d) and their classes (K,) if the method classifies by the nearest one, else None.

        Parameters
        ----------
        embeddings : Tensor of shape (N, d)
            Of the training images, by the trained network.
        labels : Tensor of shape (N,), int64
            Their classes.
        generator : numpy.random.Generator
            Where the draws come from.
        """
        return self._prototypes(embeddings, labels, generator)
