"""Loss of a training step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from counterpoise.balance.losses import ClassificationLoss
from counterpoise.balance.objectives import Embedder, Objective
from counterpoise.balance.perturb import Perturbation
from counterpoise.training.batches import Batch
from counterpoise.training.randomness import generator_for, seed_for


class BatchLoss(Protocol):
    """Scalar loss of a batch."""

    def begin_epoch(self, epoch: int) -> None:
        """Prepare epoch `epoch`, counted from 0."""

    def __call__(self, module: nn.Module, batch: Batch) -> Tensor:
        """Return the loss of a batch under `module`, which maps inputs to logits."""


@dataclass(eq=False)
class LogitLoss:
    """Loss of a batch's logits, after its images were perturbed in order, seeded by `seed` and the epoch."""

    loss: ClassificationLoss
    perturbations: Sequence[Perturbation] = ()
    seed: int = 0
    device: torch.device | str = "cpu"

    def __post_init__(self) -> None:
        self.generator = torch.Generator(self.device)

    def begin_epoch(self, epoch: int) -> None:
        """Set the epoch of the loss and the perturbations, and seed the perturbations."""
        self.loss.set_epoch(epoch)
        for perturbation in self.perturbations:
            perturbation.set_epoch(epoch)
        self.generator.manual_seed(seed_for(self.seed, "perturb", epoch))

    def __call__(self, module: nn.Module, batch: Batch) -> Tensor:
        """Return the loss of the perturbed batch."""
        if not self.perturbations:
            return self.loss(module(batch.inputs), batch.targets, batch.weights)
        images = batch.inputs
        for perturbation in self.perturbations:
            perturbed = perturbation.perturb(
                images, batch.targets, network=module, loss=self.loss, generator=self.generator
            )
            images = perturbed.images
        return perturbed.loss(self.loss, module(images), batch.weights)


@dataclass(eq=False, kw_only=True)
class ObjectiveLoss:
    """Objective of a method that replaces the loss of the logits; `augment` changes the images first.

    `embed` returns the embeddings of the training images at the given rows, or of all; `labels` are their classes.
    `autocast` returns the context of the chosen precision: Fabric's wrapper applies it to `forward` only, and
    objectives call ``embed`` and ``head``.
    """

    objective: Objective
    loss: ClassificationLoss
    embed: Embedder
    labels: Tensor
    seed: int
    augment: Sequence[Perturbation] = ()
    autocast: Callable[[], AbstractContextManager[None]] = nullcontext

    def __post_init__(self) -> None:
        self.generator = torch.Generator(self.labels.device)

    def begin_epoch(self, epoch: int) -> None:
        """Set the epoch of the loss and begin that of the objective."""
        self.loss.set_epoch(epoch)
        self.generator.manual_seed(seed_for(self.seed, "perturb", epoch))
        generator = generator_for(self.seed, "objective", epoch)
        self.objective.begin_epoch(epoch, self.embed, self.labels, generator)

    def __call__(self, module: nn.Module, batch: Batch) -> Tensor:
        """Return the objective of the batch."""
        images = batch.inputs
        for perturbation in self.augment:
            images = perturbation.perturb(
                images, batch.targets, network=module, loss=self.loss, generator=self.generator
            ).images
        with self.autocast():
            return self.objective.step(module, images, batch.targets, batch.indices, self.loss)
