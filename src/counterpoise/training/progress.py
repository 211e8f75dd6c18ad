"""What a training run tells whoever watches it."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Step:
    """Where a stage stands.

    Attributes
    ----------
    stage : str
        ``"train"``, ``"representation"`` or ``"head"``.
    done, total : int
        Samples seen, and to be seen, over all epochs of the stage.
    epoch, epochs : int
        The current epoch, from 1, and their number.
    loss : float
        Mean loss over the last steps.
    """

    stage: str
    done: int
    total: int
    epoch: int
    epochs: int
    loss: float


class ProgressCallback:
    """Hears of every few steps; this one ignores them. The command line draws bars instead."""

    def update(self, step: Step) -> None:
        """Take note of a step."""


class Named(ProgressCallback):
    """Passes steps on under another name of the stage.

    Parameters
    ----------
    progress : ProgressCallback
        Hears of them.
    name : str
        The name.
    """

    def __init__(self, progress: ProgressCallback, name: str) -> None:
        self.progress = progress
        self.name = name

    def update(self, step: Step) -> None:
        """Pass a step on."""
        self.progress.update(replace(step, stage=self.name))
