"""The training loop."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from itertools import islice
from typing import TYPE_CHECKING

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from counterpoise.config import TrainConfig, rate_factor, steps_of
from counterpoise.exceptions import TrainingError
from counterpoise.seeding import torch_seed
from counterpoise.training.batches import Batch
from counterpoise.training.cuda_graphs import can_replay, recorded_steps
from counterpoise.training.optimizer import stage_optimizer
from counterpoise.training.randomness import seed_for
from counterpoise.training.stage import (
    AVERAGE,
    BEST,
    HistoryEntryDict,
    Position,
    ProgressCallback,
    Stage,
    StateDict,
    Step,
    load_checkpoint,
    save_checkpoint,
)

if TYPE_CHECKING:
    from timm.utils import ModelEmaV3

# Reading a loss synchronizes the device, so losses are read and reported every 25 steps.
LOG_INTERVAL = 25
# Largest learning rate that the message about a diverged training suggests.
HIGHEST_SUGGESTED_RATE = 0.01


def train_stage(
    stage: Stage, config: TrainConfig, fabric: Fabric, progress: ProgressCallback
) -> list[HistoryEntryDict]:
    """Train ``stage.module`` in place, resuming from its checkpoint where there is one, and return the history.

    The module ends with the weights of the last epoch or, as `config` says, of the best one on the validation images,
    and with a moving average of them. `TrainingError` if the loss is no longer finite; the last checkpoint remains.
    """
    run = _StageRun(stage, config, fabric, progress)
    with recorded_steps(stage.module) if can_replay(stage, config, fabric.device) else nullcontext():
        return run.run()


class _StageRun:
    def __init__(self, stage: Stage, config: TrainConfig, fabric: Fabric, progress: ProgressCallback) -> None:
        self.stage = stage
        self.config = config
        self.progress = progress
        self.fabric = fabric
        self.raw_optimizer = stage_optimizer(stage.module, config)
        self.sizes = [len(stage.batches.order(epoch)) for epoch in range(stage.epochs)]
        self.total_steps = sum(steps_of(size, config) for size in self.sizes)
        stage.module.to(fabric.device)
        self.selects = stage.validate is not None and config.select == "best"
        states: dict[str, StateDict] = {}
        self.start = load_checkpoint(stage, self.raw_optimizer, states)
        self.best = states.get(BEST)
        self.average = _moving_average(stage.module, config.ema, states.get(AVERAGE)) if config.ema else None
        self.step = self.start.step
        self.started = time.monotonic() - self.start.seconds
        # Fabric wraps after the checkpoint is loaded, so that what is saved does not depend on the wrapper.
        self.module, self.optimizer = fabric.setup(stage.module, self.raw_optimizer)

    def run(self) -> list[HistoryEntryDict]:
        history = list(self.start.history)
        if not self._is_finite():
            raise TrainingError(
                f"the weights are not finite before the first step of stage {self.stage.name!r}; start from other ones"
            )
        for epoch in range(self.start.epoch, self.stage.epochs):
            if self._is_over() or self._lost_patience(history):
                break
            with torch_seed(seed_for(self.config.seed, "torch", self.stage.name, epoch)):
                history.append(self._epoch(epoch))
            # The last step of an epoch can break the weights after its loss was still finite.
            if not self._is_finite():
                raise TrainingError(self._cause(math.nan, epoch, self.step))
            if self.selects and _best_epoch(history) == epoch:
                self.best = _copy(self._evaluated)
            position = Position(epoch + 1, self.step, history, self._seconds())
            others = {AVERAGE: self._average_state(), BEST: self.best}
            save_checkpoint(
                self.stage, self.raw_optimizer, position, {k: v for k, v in others.items() if v is not None}
            )
        if self.best is not None:
            self.stage.module.load_state_dict(self.best)
            history[_best_epoch(history)]["selected"] = True
        elif self.average is not None:
            self.stage.module.load_state_dict(self.average.module.state_dict())
        return history

    def _epoch(self, epoch: int) -> HistoryEntryDict:
        stage, start = self.stage, time.perf_counter()
        stage.batch_loss.begin_epoch(epoch)
        if stage.step is not None:
            stage.step.set_epoch(epoch)
        stage.module.train()
        if self.config.batch_norm == "keep":
            _keep_statistics(stage.module)
        seen, total = 0, 0.0
        steps = self._steps(epoch)
        while done := list(islice(steps, LOG_INTERVAL)):
            losses, sizes = zip(*done, strict=True)
            total += self._summed_loss(losses, sizes, epoch)
            seen += sum(sizes)
            images = sum(self.sizes[:epoch]) + seen
            step = Step(stage.name, images, sum(self.sizes), epoch + 1, stage.epochs, total / seen)
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
            with self._averaged():
                entry.update(stage.validate())
        return entry

    def _steps(self, epoch: int) -> Iterator[tuple[Tensor, int]]:
        """Yield mean loss and size of each step; end when the time is over."""
        batches = self.stage.batches.epoch(epoch)
        while group := list(islice(batches, self.config.accumulate)):
            yield self._train_step(group)
            if self._is_over():
                return

    def _train_step(self, batches: Sequence[Batch]) -> tuple[Tensor, int]:
        self._set_rate()
        size = sum(len(batch.targets) for batch in batches)
        if self.stage.step is None:
            loss = self._backward(batches, size)
        else:
            replay = _recorded(self.stage.batch_loss.generator)

            def backward() -> Tensor:
                replay()
                return self._backward(batches, size)

            loss = self.stage.step.backward(self.stage.module, backward)
        if self.config.clip is not None:
            self.fabric.clip_gradients(self.module, self.optimizer, max_norm=self.config.clip)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.step += 1
        if self.average is not None:
            self.average.update(self.stage.module, step=self.step)
        return loss, size

    def _backward(self, batches: Sequence[Batch], size: int) -> Tensor:
        """Add up the gradients of batches of `size` samples in all, and return their mean loss."""
        if len(batches) == 1:
            loss = self.stage.batch_loss(self.module, batches[0])
            self.fabric.backward(loss)
            return loss.detach()
        losses = []
        for batch in batches:
            loss = self.stage.batch_loss(self.module, batch) * (len(batch.targets) / size)
            self.fabric.backward(loss)
            losses.append(loss.detach())
        return torch.stack(losses).sum()

    def _set_rate(self) -> None:
        if self.config.schedule in (None, "constant"):
            return
        progress = min(1.0, self.step / max(1, self.total_steps - 1))
        if self.config.max_time is not None:
            # Where the time does not suffice for all steps, the schedule runs over the time.
            progress = min(1.0, max(progress, self._seconds() / self.config.max_time))
        factor = rate_factor(self.config.schedule, progress)
        for group in self.raw_optimizer.param_groups:
            group["lr"] = self.config.lr * factor * group.get("lr_scale", 1.0)

    def _seconds(self) -> float:
        return time.monotonic() - self.started

    def _is_over(self) -> bool:
        return self.config.max_time is not None and self._seconds() >= self.config.max_time

    def _lost_patience(self, history: Sequence[HistoryEntryDict]) -> bool:
        patience = self.config.patience
        if patience is None or self.stage.validate is None or not history:
            return False
        return len(history) - 1 - _best_epoch(history) >= patience

    def _average_state(self) -> StateDict | None:
        return None if self.average is None else self.average.module.state_dict()

    @property
    def _evaluated(self) -> StateDict:
        """The weights that are evaluated and selected: the moving average where there is one."""
        average = self._average_state()
        return self.stage.module.state_dict() if average is None else average

    @contextmanager
    def _averaged(self) -> Iterator[None]:
        """Give the module the weights of the moving average inside the block, where there is one."""
        average = self._average_state()
        if average is None:
            yield
            return
        trained = _copy(self.stage.module.state_dict())
        self.stage.module.load_state_dict(average)
        try:
            yield
        finally:
            self.stage.module.load_state_dict(trained)

    def _summed_loss(self, losses: tuple[Tensor, ...], sizes: tuple[int, ...], epoch: int) -> float:
        """Return the sum over samples; raise at the first step whose loss is not finite."""
        values = torch.stack(losses).tolist()
        for index, value in enumerate(values):
            if not math.isfinite(value):
                step = self.step - len(values) + index + 1
                # The weights were finite before the first step.
                given = step == self.start.step + 1
                raise TrainingError(self._cause(value, epoch, step, given=given))
        return sum(value * size for value, size in zip(values, sizes, strict=True))

    def _is_finite(self) -> bool:
        return all(bool(torch.isfinite(t).all()) for t in self.stage.module.state_dict().values())

    def _cause(self, value: float, epoch: int, step: int, *, given: bool = False) -> str:
        where = f"the {self.stage.name} loss became {value} at step {step} (epoch {epoch + 1})"
        why = (
            "the inputs or the loss itself are not finite; check the images, sample weights and options of the method"
            if given or self._is_finite()
            else f"the network's weights are no longer finite: `lr` {self.config.lr:g} is probably too high, "
            f"try `lr` {min(self.config.lr / 10, HIGHEST_SUGGESTED_RATE):g}"
        )
        kept = self.stage.checkpoint
        return f"{where}: {why}" + (f"; last good checkpoint: {kept}" if kept and kept.exists() else "")


def _recorded(generator: torch.Generator | None) -> Callable[[], None]:
    """Return a function that lets `generator` and torch's own draw the same as after this call."""
    devices = range(torch.cuda.device_count())
    states = torch.get_rng_state(), [torch.cuda.get_rng_state(device) for device in devices]
    own = None if generator is None else generator.get_state()

    def replay() -> None:
        torch.set_rng_state(states[0])
        for device, state in zip(devices, states[1], strict=True):
            torch.cuda.set_rng_state(state, device)
        if generator is not None and own is not None:
            generator.set_state(own)

    return replay


def _best_epoch(history: Sequence[HistoryEntryDict]) -> int:
    """Return the first epoch with the lowest balanced loss: unlike the G-mean, it is not 0 where one class fails."""
    losses = [entry.get("validation_balanced_loss", math.inf) for entry in history]
    return losses.index(min(losses))


def _moving_average(module: nn.Module, decay: float, state: StateDict | None) -> ModelEmaV3:
    """Return timm's average, which follows more closely at first, so that it forgets the start."""
    from timm.utils import ModelEmaV3

    average = ModelEmaV3(module, decay=decay, use_warmup=True)
    if state is not None:
        average.module.load_state_dict(state)
    return average


def _copy(state: StateDict) -> StateDict:
    return {name: tensor.detach().clone() for name, tensor in state.items()}


def _keep_statistics(module: nn.Module) -> None:
    """Put all batch norms into evaluation mode; scale and shift are still trained."""
    for layer in module.modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            layer.eval()
