"""The training loop."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from itertools import islice

import torch
from lightning_fabric import Fabric
from torch import Tensor
from torch.nn import Parameter
from torch.optim import SGD, Adam, AdamW, Optimizer

from counterpoise.config import TrainConfig, rate_factor
from counterpoise.exceptions import TrainingError
from counterpoise.training.batches import Batch
from counterpoise.training.randomness import seed_for, torch_seed
from counterpoise.training.stage import (
    HistoryEntryDict,
    Position,
    ProgressCallback,
    Stage,
    Step,
    load_checkpoint,
    save_checkpoint,
)

# Reading a loss synchronizes the device, so losses are read and reported every 25 steps.
LOG_INTERVAL = 25
# Largest learning rate that the message about a diverged training suggests.
HIGHEST_SUGGESTED_RATE = 0.01


def train_stage(
    stage: Stage, config: TrainConfig, fabric: Fabric, progress: ProgressCallback
) -> list[HistoryEntryDict]:
    """Train ``stage.module`` in place, resuming from its checkpoint where there is one, and return the history.

    `TrainingError` if the loss is no longer finite; the last checkpoint remains.
    """
    return _StageRun(stage, config, fabric, progress).run()


class _StageRun:
    def __init__(self, stage: Stage, config: TrainConfig, fabric: Fabric, progress: ProgressCallback) -> None:
        self.stage = stage
        self.config = config
        self.progress = progress
        self.fabric = fabric
        self.raw_optimizer = make_optimizer(stage.module.parameters(), config)
        self.sizes = [len(stage.batches.order(epoch)) for epoch in range(stage.epochs)]
        self.total_steps = sum(math.ceil(size / config.batch_size) for size in self.sizes)
        stage.module.to(fabric.device)
        self.start = load_checkpoint(stage, self.raw_optimizer)
        self.step = self.start.step
        # Fabric wraps after the checkpoint is loaded, so that what is saved does not depend on the wrapper.
        self.module, self.optimizer = fabric.setup(stage.module, self.raw_optimizer)

    def run(self) -> list[HistoryEntryDict]:
        history = list(self.start.history)
        for epoch in range(self.start.epoch, self.stage.epochs):
            with torch_seed(seed_for(self.config.seed, "torch", self.stage.name, epoch)):
                history.append(self._epoch(epoch))
            # The last step of an epoch can break the weights after its loss was still finite.
            if not self._is_finite():
                raise TrainingError(self._cause(math.nan, epoch, self.step))
            save_checkpoint(self.stage, self.raw_optimizer, Position(epoch + 1, self.step, history))
        return history

    def _epoch(self, epoch: int) -> HistoryEntryDict:
        stage, start = self.stage, time.perf_counter()
        stage.batch_loss.begin_epoch(epoch)
        stage.module.train()
        seen, total = 0, 0.0
        batches = stage.batches.epoch(epoch)
        while steps := [self._train_step(batch) for batch in islice(batches, LOG_INTERVAL)]:
            losses, sizes = zip(*steps, strict=True)
            total += self._summed_loss(losses, sizes, epoch)
            seen += sum(sizes)
            done = sum(self.sizes[:epoch]) + seen
            step = Step(stage.name, done, sum(self.sizes), epoch + 1, stage.epochs, total / seen)
            self.progress.update(step)
        seconds = time.perf_counter() - start
        entry: HistoryEntryDict = {
            "stage": stage.name,
            "epoch": epoch + 1,
            "loss": total / seen,
            "seconds": seconds,
            "images_per_second": seen / seconds,
        }
        if stage.validate is not None:
            stage.module.eval()
            entry.update(stage.validate())
        return entry

    def _train_step(self, batch: Batch) -> tuple[Tensor, int]:
        self._set_rate()
        loss = self.stage.batch_loss(self.module, batch)
        self.fabric.backward(loss)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.step += 1
        return loss.detach(), len(batch.targets)

    def _set_rate(self) -> None:
        if self.config.schedule in (None, "constant"):
            return
        factor = rate_factor(self.config.schedule, min(1.0, self.step / max(1, self.total_steps - 1)))
        for group in self.raw_optimizer.param_groups:
            group["lr"] = self.config.lr * factor

    def _summed_loss(self, losses: tuple[Tensor, ...], sizes: tuple[int, ...], epoch: int) -> float:
        """Return the sum over samples; raise at the first step whose loss is not finite."""
        values = torch.stack(losses).tolist()
        for index, value in enumerate(values):
            if not math.isfinite(value):
                raise TrainingError(self._cause(value, epoch, self.step - len(values) + index + 1))
        return sum(value * size for value, size in zip(values, sizes, strict=True))

    def _is_finite(self) -> bool:
        return all(bool(torch.isfinite(p).all()) for p in self.stage.module.parameters())

    def _cause(self, value: float, epoch: int, step: int) -> str:
        where = f"the {self.stage.name} loss became {value} at step {step} (epoch {epoch + 1})"
        why = (
            "the inputs or the loss itself are not finite; check the images and sample weights"
            if self._is_finite()
            else f"the network's weights are no longer finite: `lr` {self.config.lr:g} is probably too high, "
            f"try `lr` {min(self.config.lr / 10, HIGHEST_SUGGESTED_RATE):g}"
        )
        kept = self.stage.checkpoint
        return f"{where}: {why}" + (f"; last good checkpoint: {kept}" if kept and kept.exists() else "")


def make_optimizer(parameters: Iterable[Parameter], config: TrainConfig) -> Optimizer:
    """Return the optimizer of `config` over the trainable `parameters`; fused, which saves a third of a small step."""
    trainable = [parameter for parameter in parameters if parameter.requires_grad]
    if config.optimizer == "sgd":
        return SGD(trainable, lr=config.lr, momentum=0.9, weight_decay=config.weight_decay, fused=True)
    kind = Adam if config.optimizer == "adam" else AdamW
    return kind(trainable, lr=config.lr, weight_decay=config.weight_decay, fused=True)
