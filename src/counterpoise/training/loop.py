"""The one training loop."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.nn import Parameter
from torch.optim import SGD, Adam, AdamW, Optimizer

from counterpoise.config.schedules import rate_factor
from counterpoise.config.train import TrainConfig
from counterpoise.exceptions import TrainingError
from counterpoise.training.batch_loss import BatchLoss
from counterpoise.training.batches import Batch, Batches
from counterpoise.training.checkpoint import Position, load_checkpoint, save_checkpoint
from counterpoise.training.progress import ProgressCallback, Step
from counterpoise.training.randomness import seed_for, torch_seed

# Reading a loss waits for the device, so losses are looked at a few dozen steps at a time.
STEPS_PER_CHECK = 25


# No higher rate is worth trying after one that broke the weights.
HIGHEST_ADVICE = 0.01


@dataclass(frozen=True)
class Stage:
    """What one pass of the loop trains, on what, and for how long.

    Attributes
    ----------
    name : str
        ``"train"``, ``"representation"`` or ``"head"``.
    module : nn.Module
        Maps the inputs of a batch to logits (N, C); trained in place.
    batch_loss : BatchLoss
        What a step minimises.
    batches : Batches
        The data.
    epochs : int
        How often the data is passed.
    validate : callable, optional
        Called after each epoch with the module in evaluation mode; returns entries for the history.
    checkpoint : Path, optional
        Where the state is saved after each epoch, and resumed from.
    identity : str
        Hash of everything the stage depends on.
    """

    name: str
    module: nn.Module
    batch_loss: BatchLoss
    batches: Batches
    epochs: int
    validate: Callable[[], dict[str, Any]] | None = None
    checkpoint: Path | None = None
    identity: str = ""


def train_stage(
    stage: Stage, config: TrainConfig, fabric: Fabric, progress: ProgressCallback
) -> list[dict[str, Any]]:
    """Train ``stage.module`` in place, going on from its checkpoint where there is one.

    Returns
    -------
    list of dict
        The history: one entry per epoch with ``stage``, ``epoch`` (from 1), mean ``loss``,
        ``seconds``, ``images_per_second``, and what ``stage.validate`` gives.

    Raises
    ------
    TrainingError
        If the loss is no longer finite; the last checkpoint is kept.
    """
    return _StageRun(stage, config, fabric, progress).run()


class _StageRun:
    def __init__(self, stage: Stage, config: TrainConfig, fabric: Fabric, progress: ProgressCallback) -> None:
        self.stage = stage
        self.config = config
        self.progress = progress
        self.fabric = fabric
        self.raw_optimizer = make_optimizer(stage.module.parameters(), config)
        self.sizes = [stage.batches.epoch_size(epoch) for epoch in range(stage.epochs)]
        self.total_steps = sum(math.ceil(size / config.batch_size) for size in self.sizes)
        self.position = self._resume()
        # Fabric wraps after the checkpoint is loaded, so that what is saved does not depend on the wrapper.
        self.module, self.optimizer = fabric.setup(stage.module, self.raw_optimizer)

    def run(self) -> list[dict[str, Any]]:
        history = list(self.position.history)
        step = self.position.step
        for epoch in range(self.position.epoch, self.stage.epochs):
            with torch_seed(seed_for(self.config.seed, "torch", self.stage.name, epoch)):
                entry, step = self._epoch(epoch, step)
            history.append(entry)
            self._save(Position(epoch + 1, step, history))
        return history

    def _epoch(self, epoch: int, step: int) -> tuple[dict[str, Any], int]:
        stage, start = self.stage, time.perf_counter()
        stage.batch_loss.begin_epoch(epoch)
        stage.module.train()
        seen, total, recent, sizes = 0, 0.0, [], []
        for batch in stage.batches.epoch(epoch):
            self._set_rate(step)
            recent.append(self._step(batch))
            sizes.append(len(batch.targets))
            step += 1
            if len(recent) == STEPS_PER_CHECK:
                total += self._look(recent, sizes, epoch, step)
                seen += sum(sizes)
                recent, sizes = [], []
                self._report(epoch, seen, total)
        if recent:
            total += self._look(recent, sizes, epoch, step)
            seen += sum(sizes)
            self._report(epoch, seen, total)
        seconds = time.perf_counter() - start
        entry = {"stage": stage.name, "epoch": epoch + 1, "loss": total / seen, "seconds": seconds}
        entry["images_per_second"] = seen / seconds
        return entry | self._validate(), step

    def _step(self, batch: Batch) -> Tensor:
        loss = self.stage.batch_loss(self.module, batch)
        self.fabric.backward(loss)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return loss.detach()

    def _look(self, recent: list[Tensor], sizes: list[int], epoch: int, step: int) -> float:
        values = torch.stack(recent).tolist()
        for back, value in enumerate(reversed(values)):
            if not math.isfinite(value) and all(math.isfinite(v) for v in values[: len(values) - back - 1]):
                raise TrainingError(self._cause(value, epoch, step - back))
        return sum(value * size for value, size in zip(values, sizes, strict=True))

    def _is_finite(self) -> bool:
        return all(bool(torch.isfinite(p).all()) for p in self.stage.module.parameters())

    def _cause(self, value: float, epoch: int, step: int) -> str:
        where = f"the {self.stage.name} loss became {value} at step {step} (epoch {epoch + 1})"
        why = (
            "the inputs or the loss itself are not finite; look at the images and sample weights"
            if self._is_finite()
            else f"the network's weights are no longer finite: `lr` {self.config.lr:g} is probably too high, "
            f"try `lr` {min(self.config.lr / 10, HIGHEST_ADVICE):g}"
        )
        kept = self.stage.checkpoint
        return f"{where}: {why}" + (f"; last good checkpoint: {kept}" if kept and kept.exists() else "")

    def _set_rate(self, step: int) -> None:
        if self.config.schedule in (None, "constant"):
            return
        factor = rate_factor(self.config.schedule, min(1.0, step / max(1, self.total_steps - 1)))
        for group in self.raw_optimizer.param_groups:
            group["lr"] = self.config.lr * factor

    def _report(self, epoch: int, seen: int, total: float) -> None:
        done = sum(self.sizes[:epoch]) + seen
        state = Step(self.stage.name, done, sum(self.sizes), epoch + 1, self.stage.epochs, total / seen)
        self.progress.update(state)

    def _validate(self) -> dict[str, Any]:
        if self.stage.validate is None:
            return {}
        self.stage.module.eval()
        return self.stage.validate()

    def _resume(self) -> Position:
        self.stage.module.to(self.fabric.device)
        found = None
        if self.stage.checkpoint is not None:
            found = load_checkpoint(
                self.stage.checkpoint, self.stage.module, self.raw_optimizer, self.stage.identity
            )
        return found or Position(0, 0, [])

    def _save(self, position: Position) -> None:
        # The last step of an epoch can break the weights after its loss was still finite.
        if not self._is_finite():
            raise TrainingError(self._cause(math.nan, position.epoch - 1, position.step))
        if self.stage.checkpoint is not None:
            save_checkpoint(
                self.stage.checkpoint, self.stage.module, self.raw_optimizer, position, self.stage.identity
            )


def make_optimizer(parameters: Iterable[Parameter], config: TrainConfig) -> Optimizer:
    """Return the optimizer of `config` over the trainable `parameters`; fused, which saves a third of a small step."""
    trainable = [parameter for parameter in parameters if parameter.requires_grad]
    if config.optimizer == "sgd":
        return SGD(trainable, lr=config.lr, momentum=0.9, weight_decay=config.weight_decay, fused=True)
    kind = Adam if config.optimizer == "adam" else AdamW
    return kind(trainable, lr=config.lr, weight_decay=config.weight_decay, fused=True)
