"""Learning-rate schedules."""

from __future__ import annotations

import math

WARM_UP = 0.3


FIRST_FACTOR = 1 / 25


LAST_FACTOR = 1e-4


def rate_factor(schedule: str, progress: float) -> float:
    """Return what the learning rate is multiplied with.

    Parameters
    ----------
    schedule : {"constant", "cosine", "one-cycle"}
        ``"one-cycle"`` (Smith and Topin 2018) rises from 1/25 to 1 over the first 30 % of the steps and falls
        to 0.0001, both along a cosine.
    progress : float
        Share of the steps that are done, in [0, 1].

    Examples
    --------
    >>> rate_factor("cosine", 0.5)
    0.5
    >>> rate_factor("one-cycle", 0.3)
    1.0
    """
    if schedule == "constant":
        return 1.0
    if schedule == "cosine":
        return _cosine(1.0, 0.0, progress)
    if progress < WARM_UP:
        return _cosine(FIRST_FACTOR, 1.0, progress / WARM_UP)
    return _cosine(1.0, LAST_FACTOR, (progress - WARM_UP) / (1 - WARM_UP))


def _cosine(start: float, end: float, progress: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * progress)) / 2
