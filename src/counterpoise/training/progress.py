"""Progress and history of a training."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypedDict


class ValidationScores(TypedDict, total=False):
    """Scores on the validation images after an epoch; the last two are those of a network that copies images."""

    validation_loss: float
    validation_accuracy: float
    validation_gmean: float
    validation_entropy: float
    validation_error: float


class HistoryEntryDict(ValidationScores):
    """One epoch of one stage: mean loss, wall time, throughput, and validation scores where there are any."""

    stage: str
    epoch: int
    loss: float
    seconds: float
    images_per_second: float


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
