"""The contract of all heads."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn

from counterpoise.exceptions import InputError


class HeadStage(ABC):
    """What becomes of the head of a trained network, given the embeddings of its training images.

    Training calls `prepare`, then, where `trains` says so, fits the module that it returned to the embeddings by
    gradient steps, and calls `finish`, which leaves the result in the head. Methods fill ``_prepare`` and
    ``_finish``.

    Attributes
    ----------
    fresh : bool
        Whether the head is drawn anew before.
    trains : bool
        Whether gradient steps follow.
    lr_factor : float
        What the learning rate is multiplied with in these steps.
    """

    fresh: ClassVar[bool] = False
    trains: ClassVar[bool] = True
    lr_factor: float = 1.0

    @abstractmethod
    def _prepare(self, head: nn.Module, embeddings: Tensor, labels: Tensor) -> nn.Module:
        """Return what is trained; it maps embeddings (N, d) to logits (N, C)."""

    def _finish(self, trained: nn.Module, head: nn.Module) -> None:  # noqa: B027 - often nothing is left to do
        """Leave the result in `head`, where `trained` is not `head` itself."""

    def prepare(self, head: nn.Module, embeddings: Tensor, labels: Tensor) -> nn.Module:
        """Return the module to be trained, or, where nothing is trained, what `finish` needs.

        Parameters
        ----------
        head : torch.nn.Module
            Maps embeddings (N, d) to logits (N, C).
        embeddings : Tensor of shape (N, d), float32
            Of the training images.
        labels : Tensor of shape (N,), int64
            Their classes.

        Raises
        ------
        InputError
            If the shapes do not fit, or the method needs a linear head and finds another.
        """
        if embeddings.ndim != 2 or labels.shape != embeddings.shape[:1] or not len(labels):
            raise InputError(
                f"found embeddings of shape {tuple(embeddings.shape)} and labels of shape {tuple(labels.shape)}; "
                "expected (N, d) and (N,)"
            )
        with torch.no_grad():
            return self._prepare(head, embeddings, labels)

    def finish(self, trained: nn.Module, head: nn.Module) -> None:
        """Leave the result of training `trained`, which `prepare` gave, in `head`."""
        with torch.no_grad():
            self._finish(trained, head)


def linear_layer(head: nn.Module, name: str) -> nn.Linear:
    """Return `head` if it is linear.

    Raises
    ------
    InputError
        If it is not.
    """
    if not isinstance(head, nn.Linear):
        raise InputError(
            f"{name} needs a linear head, found {type(head).__name__}; use another method with it"
        )
    return head
