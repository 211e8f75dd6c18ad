"""Stages of a training: their settings, shared state, progress, history and checkpoints.

A checkpoint is one safetensors file with everything that the next epoch depends on. Nothing is pickled: the file holds
tensors, and everything else as JSON in its metadata.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NotRequired, Protocol

import numpy as np
import torch
from lightning_fabric import Fabric
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim import Optimizer

from counterpoise.balance.adjust import Adjustment
from counterpoise.balance.steps import GradientStep
from counterpoise.config import TrainConfig
from counterpoise.datasets import ImageSplit
from counterpoise.exceptions import RunFolderError
from counterpoise.files import atomic_path, check_file
from counterpoise.methods import Component, Method
from counterpoise.networks import Network
from counterpoise.training.batches import Batch, Batches
from counterpoise.training.predict import (
    EmbeddedSplit,
    Validate,
    ValidationScores,
    check_logits,
    embed_images,
    learning_curve_scores,
    predict_logits,
)
from counterpoise.training.randomness import seed_for

#: Weights and buffers of a module by name.
StateDict = Mapping[str, Tensor]
# States of a module in a checkpoint beside that of the last step: the moving average, and those of the best epoch.
AVERAGE, BEST = "average", "best"


class HistoryEntryDict(ValidationScores):
    """One epoch of one stage: mean loss, wall time, throughput, and validation scores where there are any.

    `selected` marks the epoch whose weights were kept, where the best one is chosen.
    """

    stage: str
    epoch: int
    loss: float
    seconds: float
    images_per_second: float
    selected: NotRequired[bool]


@dataclass(frozen=True)
class Step:
    """Progress of a stage: samples processed over all its epochs, current epoch (from 1), its mean loss so far."""

    stage: str
    done: int
    total: int
    epoch: int
    epochs: int
    loss: float


class ProgressCallback:
    """Progress callback, called every few steps; no-op by default."""

    def update(self, step: Step) -> None:
        """Receive the progress of a stage."""


@dataclass
class RenamedStage(ProgressCallback):
    """Forwards progress to another callback, under another name of the stage."""

    progress: ProgressCallback
    name: str

    def update(self, step: Step) -> None:
        """Forward a step."""
        self.progress.update(replace(step, stage=self.name))


class BatchLoss(Protocol):
    """Scalar loss of a batch; draws from its `generator`, where it has one, and from torch's own."""

    @property
    def generator(self) -> torch.Generator | None:
        """Source of its randomness."""

    def begin_epoch(self, epoch: int) -> None:
        """Prepare epoch `epoch`, counted from 0."""

    def __call__(self, module: nn.Module, batch: Batch) -> Tensor:
        """Return the loss of a batch under `module`, which maps inputs to logits."""


@dataclass(frozen=True)
class Stage:
    """One training: `module`, which maps the inputs of a batch to logits (N, C), its loss, data and number of epochs.

    `name` seeds dropout. `step` decides at which weights the gradient is taken. `validate` is called after each epoch,
    with the module in evaluation mode. The state after each epoch is in the file `checkpoint`; one of the same
    `identity`, the hash of everything the stage depends on, is resumed.
    """

    name: str
    module: nn.Module
    batch_loss: BatchLoss
    batches: Batches
    epochs: int
    validate: Validate | None = None
    step: GradientStep | None = None
    checkpoint: Path | None = None
    identity: str = ""


@dataclass(frozen=True)
class Position:
    """Position of a stage: finished epochs and steps, their wall time, and one history entry per finished epoch."""

    epoch: int = 0
    step: int = 0
    history: list[HistoryEntryDict] = field(default_factory=list)
    seconds: float = 0.0


def save_checkpoint(
    stage: Stage, optimizer: Optimizer, position: Position, others: Mapping[str, StateDict]
) -> None:
    """Write the checkpoint of a stage, if it has one, atomically; `others` are further states of its module by name."""
    if stage.checkpoint is None:
        return
    states = {"module": stage.module.state_dict(), **others}
    tensors = {f"{kind}/{name}": tensor for kind, state in states.items() for name, tensor in state.items()}
    state = optimizer.state_dict()
    for index, values in state["state"].items():
        tensors |= {f"optimizer/{index}/{name}": torch.as_tensor(value) for name, value in values.items()}
    metadata = {
        "epoch": position.epoch,
        "step": position.step,
        "history": position.history,
        "seconds": position.seconds,
        "groups": state["param_groups"],
        "identity": stage.identity,
    }
    # safetensors refuses tensors that share memory, and needs them whole and on the CPU.
    plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    with atomic_path(stage.checkpoint) as temporary:
        save_file(plain, temporary, metadata={"counterpoise": json.dumps(metadata)})


def load_checkpoint(stage: Stage, optimizer: Optimizer, others: MutableMapping[str, StateDict]) -> Position:
    """Restore module and optimizer from the stage's checkpoint, and fill `others` with further states of the module.

    The start without a checkpoint of its identity. `RunFolderError` if the file is damaged.
    """
    start, path = Position(), stage.checkpoint
    if path is None or not path.exists():
        return start
    try:
        with safe_open(check_file(path), framework="pt") as file:
            metadata = json.loads(file.metadata()["counterpoise"])
            if metadata["identity"] != stage.identity:
                return start
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise RunFolderError(
            f"{path} is not a readable checkpoint ({error}); delete it to start over"
        ) from error
    stage.module.load_state_dict(_below("module/", tensors))
    for kind in (AVERAGE, BEST):
        if found := _below(f"{kind}/", tensors):
            others[kind] = found
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in _below("optimizer/", tensors).items():
        index, key = name.split("/", 1)
        state.setdefault(int(index), {})[key] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": metadata["groups"]})
    return Position(metadata["epoch"], metadata["step"], metadata["history"], metadata.get("seconds", 0.0))


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


@dataclass(frozen=True, eq=False, kw_only=True)
class FitContext:
    """State that the stages of one fit share: the arguments of `fit_method`, and the wall time of each stage."""

    method: Method
    network: Network
    train: ImageSplit
    config: TrainConfig
    fabric: Fabric
    validation: ImageSplit | None
    checkpoints: Path | None
    shared: Path | None
    identity: str
    classes: Sequence[str] | None
    progress: ProgressCallback
    minority: Sequence[int] | None = None  # by the split's manifest
    weights: Tensor | None = None  # of the training images' losses, on the training device
    seconds: dict[str, float] = field(default_factory=dict)
    penalties: dict[str, float] = field(default_factory=dict)

    @property
    def device(self) -> torch.device:
        """The training device."""
        return self.fabric.device

    @property
    def converges(self) -> bool:
        """Whether heads are trained to convergence: on embeddings that are computed once, and standardized."""
        return isinstance(self.train, EmbeddedSplit) and self.network.standardize

    @cached_property
    def class_counts(self) -> np.ndarray:
        """Training images of each class."""
        return self.train.class_counts(self.network.num_classes)

    @cached_property
    def known_adjustment(self) -> Adjustment | None:
        """The method's adjustment where epochs are compared, under it, and it is known before training."""
        component = self.method.adjust
        adjustment: Adjustment | None = self.build(component) if self.config.compares_epochs else None
        if adjustment is None or adjustment.needs_logits:
            return None
        return adjustment.fit(None, None, self.class_counts)

    def build(self, component: Component | None, *, epochs: int | None = None, **more: Any) -> Any:
        """Build a component of the method, or return None; `epochs` are those of the stage that it acts in."""
        if component is None:
            return None
        return component.build(
            class_counts=self.class_counts,
            class_names=self.classes,
            minority_classes=self.minority,
            epochs=epochs or self.config.epochs,
            random_state=seed_for(self.config.seed, "oversample"),
            n_jobs=self.config.threads,
            **more,
        )

    def embed(self, split: ImageSplit) -> Tensor:
        """Return the embeddings of a split, float32 of shape (N, d), on the training device."""
        rows = embed_images(self.network, split, device=self.device, workers=self.config.workers)
        return torch.from_numpy(rows).to(self.device)

    def logits(self, split: ImageSplit) -> np.ndarray:
        """Return the logits of a split, float32 of shape (N, C)."""
        logits = predict_logits(self.network, split, device=self.device, workers=self.config.workers)
        return check_logits(logits, self.config.lr)

    def validate(self, head: nn.Module | None = None) -> Validate | None:
        """Return a function that scores the network, or a `head` in training, on the validation images, if any."""
        split = self.validation
        if split is None:
            return None
        # For a head, the images are embedded once, not every epoch.
        embeddings = None if head is None else self.embed(split)

        def scores() -> ValidationScores:
            if head is None:
                logits = self.logits(split)
            else:
                with torch.inference_mode():
                    logits = head(embeddings).float().cpu().numpy()
            adjustment = self.known_adjustment
            return learning_curve_scores(
                logits if adjustment is None else adjustment.transform(logits), split.labels
            )

        return scores

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Record the wall time of the block."""
        start = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - start
