"""Learning-rate schedules: an entry here is all that a new one needs."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from counterpoise.catalogs import Catalog

WARM_UP = 0.3
SHORT_WARM_UP = 0.05
FIRST_FACTOR = 1 / 25
LAST_FACTOR = 1e-4


@dataclass(frozen=True)
class Schedule:
    """Course of the learning rate over a stage.

    `factor` maps the share of the steps done, in [0, 1], to the factor on the learning rate; `summary` is one sentence.
    """

    name: str
    title: str
    summary: str
    factor: Callable[[float], float]


def _cosine(start: float, end: float, progress: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * progress)) / 2


def _one_cycle(progress: float) -> float:
    if progress < WARM_UP:
        return _cosine(FIRST_FACTOR, 1.0, progress / WARM_UP)
    return _cosine(1.0, LAST_FACTOR, (progress - WARM_UP) / (1 - WARM_UP))


def _warm_up_cosine(progress: float) -> float:
    if progress < SHORT_WARM_UP:
        return FIRST_FACTOR + (1 - FIRST_FACTOR) * progress / SHORT_WARM_UP
    return _cosine(1.0, 0.0, (progress - SHORT_WARM_UP) / (1 - SHORT_WARM_UP))


COSINE_SUMMARY = "Falls to 0 along half a cosine (Loshchilov and Hutter 2017)."
ONE_CYCLE_SUMMARY = "Rises over the first 30 % of the steps, then falls to 0 (Smith and Topin 2018)."
WARM_UP_COSINE_SUMMARY = (
    "Rises linearly over the first 5 % of the steps, then falls to 0 along half a cosine."
)
SCHEDULES: Catalog[Schedule] = Catalog(
    "schedule",
    [
        Schedule("constant", "Constant", "The learning rate stays as it is.", lambda progress: 1.0),
        Schedule("cosine", "Cosine", COSINE_SUMMARY, lambda progress: _cosine(1.0, 0.0, progress)),
        Schedule("one-cycle", "One cycle", ONE_CYCLE_SUMMARY, _one_cycle),
        Schedule("warmup-cosine", "Warm-up, cosine", WARM_UP_COSINE_SUMMARY, _warm_up_cosine),
    ],
)


def rate_factor(schedule: str, progress: float) -> float:
    """Return the factor on the learning rate of a schedule at `progress`, the share of the steps done, in [0, 1].

    Examples
    --------
    >>> rate_factor("cosine", 0.5)
    0.5
    >>> rate_factor("one-cycle", 0.3)
    1.0
    """
    return SCHEDULES[schedule].factor(progress)
