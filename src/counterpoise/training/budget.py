"""Time budget of a command: what remains, shares of it, and what can still finish."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

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
    >>> with budget.measure("embed", 20):  # 20 images
    ...     now[0] = 2.0
    >>> budget.estimate("embed", 500), budget.remaining
    (50.0, 88.0)
    >>> heads = budget.share(0.5)
    >>> heads.remaining, heads.can(heads.estimate("embed", 500))
    (44.0, False)
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
        self._parent: Budget | None = None
        self._measured: dict[str, tuple[float, float]] = {}

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return self._clock() - self._start

    @property
    def remaining(self) -> float:
        """Seconds of work left, the reserve aside: 0 once they are used up, ``inf`` without a limit."""
        own = max(0.0, self.seconds - self.reserve - self.elapsed)
        return own if self._parent is None else min(own, self._parent.remaining)

    def can(self, seconds: float | None) -> bool:
        """Return whether work of this duration would finish in time; None (not measured) counts as 0 s."""
        return 0 < self.remaining >= (seconds or 0.0)

    def share(self, fraction: float) -> Budget:
        """Return a budget for one stage: a share of what remains now; time that it leaves unused stays here."""
        if not 0 < fraction <= 1:
            raise InputError(f"`fraction` is {fraction!r}; expected a share above 0, at most 1")
        stage = Budget(clock=self._clock)
        stage.seconds = self.remaining * fraction
        stage._parent, stage._measured = self, self._measured
        return stage

    @contextmanager
    def measure(self, name: str, count: float) -> Iterator[None]:
        """Measure the block as `count` units of the work `name`; budgets and their shares know the same costs."""
        start = self._clock()
        yield
        self.record(name, count, self._clock() - start)

    def record(self, name: str, count: float, seconds: float) -> None:
        """Record that `count` units of the work `name` took `seconds`."""
        known, units = self._measured.get(name, (0.0, 0.0))
        self._measured[name] = (known + seconds, units + count)

    def estimate(self, name: str, count: float) -> float | None:
        """Return the seconds that `count` units take at the mean rate measured, None if nothing was."""
        seconds, units = self._measured.get(name, (0.0, 0.0))
        return seconds / units * count if units else None
