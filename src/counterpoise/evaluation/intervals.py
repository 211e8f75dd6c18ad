"""Means over repeats and their confidence intervals."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from counterpoise.exceptions import InputError


class MeanInterval(NamedTuple):
    """Mean of `n` values with its confidence interval.

    ``mean`` is None without values; ``low`` and ``high`` are None for fewer than two, which say nothing about spread.
    """

    mean: float | None
    low: float | None
    high: float | None
    n: int


def mean_interval(values: Iterable[float | None], *, confidence: float = 0.95) -> MeanInterval:
    """Return the mean over repeats and its Student-t confidence interval, mean ± t * s / sqrt(n).

    None and NaN (undefined) are left out. The interval is not clipped: that of a score may reach beyond [0, 1].

    Raises
    ------
    InputError
        If a value is infinite or the confidence is not in (0, 1).

    Examples
    --------
    >>> mean_interval([0.5])
    MeanInterval(mean=0.5, low=None, high=None, n=1)
    >>> [round(x, 3) for x in mean_interval([0.7, 0.8, 0.9])]
    [0.8, 0.552, 1.048, 3]
    """
    if not 0 < confidence < 1:
        raise InputError(f"found confidence={confidence}, expected a number between 0 and 1, such as 0.95")
    array = np.array([np.nan if value is None else value for value in values], dtype=np.float64)
    array = array[~np.isnan(array)]
    if np.isinf(array).any():
        raise InputError("found an infinite value among the repeats, expected finite scores")
    n = len(array)
    if n == 0:
        return MeanInterval(None, None, None, 0)
    mean = float(array.mean())
    if n == 1:
        return MeanInterval(mean, None, None, 1)
    from scipy.stats import t

    half = float(t.ppf((1 + confidence) / 2, n - 1) * array.std(ddof=1) / np.sqrt(n))
    return MeanInterval(mean, mean - half, mean + half, n)
