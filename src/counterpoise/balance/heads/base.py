"""Base class of the heads: ways to retrain or replace a trained head."""

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn

from counterpoise.exceptions import InputError


class HeadStage(ABC):
    """Base of the ways to retrain or replace a trained head, given the embeddings of the training images.

    Training calls `prepare`, fits the returned module to the embeddings by gradient steps if `trains` is true, and
    calls `finish`, which stores the result in the head. Methods fill ``_prepare`` and ``_finish``.
    """

    #: Whether the head is reinitialized before.
    fresh: ClassVar[bool] = False
    #: Whether the head is replaced by one that depends on the embeddings alone.
    replaces: ClassVar[bool] = False
    #: Whether gradient steps follow.
    trains: ClassVar[bool] = True
    #: Factor of the learning rate in these steps.
    lr_factor: float = 1.0

    @abstractmethod
    def _prepare(self, head: nn.Module, embeddings: Tensor, labels: Tensor) -> nn.Module:
        """Return the module that is trained; it maps embeddings (N, d) to logits (N, C)."""

    def _finish(self, trained: nn.Module, head: nn.Module) -> None:  # noqa: B027 - often nothing is left to do
        """Store the result in `head`, where `trained` is not `head` itself."""

    def prepare(self, head: nn.Module, embeddings: Tensor, labels: Tensor) -> nn.Module:
        """Return the module to be trained, or, where nothing is trained, the input of `finish`.

        `head` maps the `embeddings` (N, d), float32, of the training images to logits (N, C); `labels`, int64 (N,), are
        their classes. InputError if the shapes do not fit, or the method needs a linear head and finds another.
        """
        if embeddings.ndim != 2 or labels.shape != embeddings.shape[:1] or not len(labels):
            raise InputError(
                f"found embeddings of shape {tuple(embeddings.shape)} and labels of shape {tuple(labels.shape)}; "
                "expected (N, d) and (N,)"
            )
        with torch.no_grad():
            return self._prepare(head, embeddings, labels)

    def finish(self, trained: nn.Module, head: nn.Module) -> None:
        """Store the result of training `trained`, which `prepare` returned, in `head`."""
        with torch.no_grad():
            self._finish(trained, head)


def linear_layer(head: nn.Module, name: str) -> nn.Linear:
    """Return `head` if it is linear, else raise InputError."""
    if not isinstance(head, nn.Linear):
        raise InputError(
            f"{name} needs a linear head, found {type(head).__name__}; use another method with it"
        )
    return head
