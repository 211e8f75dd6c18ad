"""The contract of all perturbations."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from counterpoise.exceptions import InputError

#: Returns a scalar (or one value per image) for logits (N, C) and targets (N,), and perhaps sample weights (N,).
Loss = Callable[..., Tensor]


@dataclass(frozen=True)
class PerturbedBatch:
    """A batch after a perturbation.

    Attributes
    ----------
    images : Tensor of shape (N, C, H, W)
        Floats in [0, 1].
    targets : Tensor of shape (N,), int64
        Their classes.
    other_targets : Tensor of shape (N,), int64, optional
        The second class of mixed images.
    share : Tensor of shape (N,), optional
        How much of each image's label is `targets`, in [0, 1]; the rest is `other_targets`.
    """

    images: Tensor
    targets: Tensor
    other_targets: Tensor | None = None
    share: Tensor | None = None

    def loss(self, loss: Loss, logits: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        """Return ``loss``, for mixed images that of both classes, each by its share."""
        if self.other_targets is None or self.share is None:
            return loss(logits, self.targets, sample_weight)
        weight = torch.ones_like(self.share) if sample_weight is None else sample_weight
        first = loss(logits, self.targets, weight * self.share)
        return first + loss(logits, self.other_targets, weight * (1 - self.share))


class Perturbation(ABC):
    """A change of a batch's images, and perhaps of what their classes are.

    The base checks the input; a method fills ``_perturb``, which leaves its inputs as they are and draws from
    `generator` alone.
    """

    @abstractmethod
    def _perturb(
        self,
        images: Tensor,
        targets: Tensor,
        network: nn.Module,
        loss: Loss,
        generator: torch.Generator | None,
    ) -> PerturbedBatch:
        """Return the perturbed batch."""

    def perturb(
        self,
        images: Tensor,
        targets: Tensor,
        *,
        network: nn.Module,
        loss: Loss,
        generator: torch.Generator | None = None,
    ) -> PerturbedBatch:
        """Return the perturbed batch.

        Parameters
        ----------
        images : Tensor of shape (N, C, H, W)
            Floats in [0, 1]; they are not changed.
        targets : Tensor of shape (N,), int64
            Their classes.
        network : torch.nn.Module
            The network under training; maps images to logits.
        loss : callable
            What it is trained with, called as ``loss(logits, targets)``.
        generator : torch.Generator, optional
            All that is random comes from it; it is on the images' device. Default: torch's global one.

        Raises
        ------
        InputError
            If shapes or types do not fit.
        """
        if images.ndim != 4 or not images.is_floating_point():
            kind = str(images.dtype).removeprefix("torch.")
            raise InputError(
                f"found {kind} images of shape {tuple(images.shape)}; expected floats in [0, 1] of shape (N, C, H, W)"
            )
        if targets.shape != images.shape[:1]:
            raise InputError(
                f"found targets of shape {tuple(targets.shape)} for {len(images)} images; give one class for each"
            )
        return self._perturb(images, targets, network, loss, generator)

    def set_epoch(self, epoch: int) -> None:  # noqa: B027 - few need it
        """Tell the perturbation that epoch `epoch` (from 0) begins. Only those with a schedule care."""
