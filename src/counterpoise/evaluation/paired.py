"""Paired tests: t-tests over the same repeats, corrected after Holm, and McNemar's test over the same images."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np

from counterpoise.exceptions import InputError

SAME = 1e-12  # differences below this are rounding


class PairedTest(NamedTuple):
    """Comparison of the methods `a` and `b` on the `n` repeats that both have.

    ``difference`` is the mean of `a` minus `b`, None without a common repeat; ``p_value`` is that of the two-sided
    paired t-test, None where it cannot be computed; ``p_adjusted`` the same after Holm's correction over all pairs.
    """

    a: str
    b: str
    n: int
    difference: float | None
    p_value: float | None
    p_adjusted: float | None


def paired_tests(values: Mapping[str, Mapping[Hashable, float | None]]) -> list[PairedTest]:
    """Compare all pairs of methods, each on the repeats that both have.

    `values` maps method -> repeat -> value; None and NaN (undefined) count as not having the repeat.

    Notes
    -----
    Repeats on one dataset share most of their images, so that values are more alike than independent ones
    would be and p-values come out somewhat too small (Nadeau & Bengio 2003). Read them as a guard against
    luck, not as proof.

    Examples
    --------
    >>> values = {"bl": {0: 0.50, 1: 0.55, 2: 0.52}, "ados": {0: 0.70, 1: 0.74, 2: 0.75, 3: 0.71}}
    >>> (test,) = paired_tests(values)
    >>> test.n, round(test.difference, 3), round(test.p_value, 4)
    (3, -0.207, 0.0034)
    """
    clean = {method: _defined(method, draws) for method, draws in values.items()}
    pairs = [(a, b, _differences(clean[a], clean[b])) for a, b in combinations(clean, 2)]
    p_values = [paired_p_value(differences) for _, _, differences in pairs]
    return [
        PairedTest(a, b, len(d), float(d.mean()) if len(d) else None, p, adjusted)
        for (a, b, d), p, adjusted in zip(pairs, p_values, holm(p_values), strict=True)
    ]


def paired_p_value(differences: Sequence[float] | np.ndarray) -> float | None:
    """Return the two-sided p-value of the paired t-test from the differences, repeat by repeat.

    1 where all differences are zero. None for fewer than two, and where all are the same but not zero: nothing then
    tells their spread, and p = 0 would claim certainty, often from two repeats on a small test set.

    Examples
    --------
    >>> paired_p_value([0.0, 0.0, 0.0]), paired_p_value([0.1]), paired_p_value([0.1, 0.1])
    (1.0, None, None)
    """
    array = np.asarray(differences, dtype=np.float64)
    if len(array) < 2:
        return None
    if np.abs(array).max() <= SAME:
        return 1.0
    if np.ptp(array) <= SAME:
        return None
    from scipy.stats import ttest_1samp

    return float(ttest_1samp(array, 0.0).pvalue)


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Correct p-values for having made many comparisons (Holm 1979, step-down).

    With m p-values in rising order, the i-th (from 0) is multiplied by m - i, is made at least the one before
    it, and at most 1. None stays None and is not counted.

    Examples
    --------
    >>> holm([0.01, 0.04, None, 0.03])
    [0.03, 0.06, None, 0.06]
    """
    known = [index for index, p in enumerate(p_values) if p is not None]
    adjusted: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(sorted(known, key=lambda index: p_values[index] or 0.0)):
        largest = max(largest, (len(known) - rank) * (p_values[index] or 0.0))
        adjusted[index] = min(1.0, largest)
    return adjusted


class Changes(NamedTuple):
    """Numbers of images on which two classifiers are right or wrong, and the p-value of McNemar's exact test."""

    both_right: int
    wrong_to_right: int
    right_to_wrong: int
    both_wrong: int
    p_value: float


def count_changes(true: np.ndarray, before: np.ndarray, after: np.ndarray) -> Changes:
    """Count the images that two classifiers get right, and test the difference (McNemar 1947, exact).

    Were both equally good, each image on which only one is right would be as likely to be the first's as the
    second's: the p-value is that of the two-sided binomial test. `before` and `after` are the predictions of the
    first and the second classifier, int of shape (N,).

    Examples
    --------
    >>> count_changes(np.zeros(6, int), np.array([0, 0, 1, 1, 1, 1]), np.array([0, 1, 0, 0, 0, 1]))
    Changes(both_right=1, wrong_to_right=3, right_to_wrong=1, both_wrong=1, p_value=0.625)
    """
    if not len(true) == len(before) == len(after):
        raise InputError(
            f"found {len(true)} classes and {len(before)} and {len(after)} predictions; expected one of each per image"
        )
    from scipy.stats import binomtest

    was, is_now = before == true, after == true
    gained, lost = int((~was & is_now).sum()), int((was & ~is_now).sum())
    p_value = float(binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0
    return Changes(int((was & is_now).sum()), gained, lost, int((~was & ~is_now).sum()), p_value)


def _defined(method: str, draws: Mapping[Hashable, float | None]) -> dict[Hashable, float]:
    defined = {draw: float(value) for draw, value in draws.items() if value is not None and value == value}
    if not np.isfinite(list(defined.values())).all():
        raise InputError(f"method {method!r} has an infinite value, expected finite scores")
    return defined


def _differences(a: Mapping[Hashable, float], b: Mapping[Hashable, float]) -> np.ndarray:
    return np.array([value - b[draw] for draw, value in a.items() if draw in b], dtype=np.float64)
