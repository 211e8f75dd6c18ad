"""Progress events of a study's tasks, wherever they run."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from counterpoise.training import ProgressCallback, Step

SECONDS_BETWEEN_EVENTS = 0.2


@dataclass(frozen=True)
class Event:
    """Progress of a task: a step of its training, or None once it has ended."""

    key: str
    title: str
    step: Step | None


OnEvent = Callable[[Event], None]


def ignore_event(event: Event) -> None:
    """Do nothing."""


class ThrottledProgress(ProgressCallback):
    """Progress callback that forwards the steps of a task as events, at most five a second."""

    def __init__(self, key: str, title: str, on_event: OnEvent) -> None:
        self.key = key
        self.title = title
        self.on_event = on_event
        self.last = 0.0

    def update(self, step: Step) -> None:
        """Forward a step, unless the last one is very recent."""
        now = time.monotonic()
        if now - self.last >= SECONDS_BETWEEN_EVENTS:
            self.last = now
            self.on_event(Event(self.key, self.title, step))
