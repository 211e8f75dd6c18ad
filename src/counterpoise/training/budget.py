"""Time budget of a command: what remains, and what can still finish."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from counterpoise.exceptions import InputError

Clock = Callable[[], float]


class Budget:
    """Seconds for a sequence of stages, with a reserve for writing the results.

    Its time starts when it is created.

    Parameters
    ----------
    seconds : float, optional
        Total time. Default: unlimited.
    reserve : float, default=0.1
        Share of the total, below 1, that no stage may use: at least 5 s, at most half of the total.
    clock : callable, default=time.monotonic
        Current time in seconds. It must never go back.
    used : float, default=0
        Seconds of the total that are used already.

    Examples
    --------
    >>> now = [0.0]
    >>> budget = Budget(100, clock=lambda: now[0])
    >>> now[0] = 2.0
    >>> budget.record("embed", 20, 2.0)  # 20 images
    >>> budget.estimate("embed", 500), budget.remaining
    (50.0, 88.0)
    >>> budget.can(budget.estimate("embed", 1000))
    False
    """

    def __init__(
        self,
        seconds: float | None = None,
        *,
        reserve: float = 0.1,
        clock: Clock = time.monotonic,
        used: float = 0.0,
    ) -> None:
        if seconds is not None and not 0 < seconds < math.inf:
            raise InputError(f"`seconds` is {seconds!r}; expected a number above 0, or None for no limit")
        if not 0 <= reserve < 1:
            raise InputError(f"`reserve` is {reserve!r}; expected a share from 0 to below 1")
        self.seconds = math.inf if seconds is None else float(seconds)
        self.reserve = 0.0 if seconds is None else min(max(reserve * seconds, 5.0), seconds / 2)
        self._clock = clock
        self._start = clock() - used
        self._measured: dict[str, tuple[float, float]] = {}

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return self._clock() - self._start

    @property
    def remaining(self) -> float:
        """Seconds of work left, the reserve aside: 0 once they are used up, ``inf`` without a limit."""
        return max(0.0, self.seconds - self.reserve - self.elapsed)

    def can(self, seconds: float | None) -> bool:
        """Return whether work of this duration would finish in time; None (not measured) counts as 0 s."""
        return 0 < self.remaining >= (seconds or 0.0)

    def record(self, name: str, count: float, seconds: float) -> None:
        """Record that `count` units of the work `name` took `seconds`."""
        known, units = self._measured.get(name, (0.0, 0.0))
        self._measured[name] = (known + seconds, units + count)

    def estimate(self, name: str, count: float) -> float | None:
        """Return the seconds that `count` units take at the mean rate measured, None if nothing was."""
        seconds, units = self._measured.get(name, (0.0, 0.0))
        return seconds / units * count if units else None
