"""What a training run tells whoever watches it."""

from __future__ import annotations

from dataclasses import dataclass


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


class Progress:
    """Hears of every few steps; this one ignores them. The command line draws bars instead."""

    def update(self, step: Step) -> None:
        """Take note of a step."""
