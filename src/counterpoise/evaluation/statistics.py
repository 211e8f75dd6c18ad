"""Statistics over repeats, images and datasets: intervals, paired tests, ranks of methods, and verdicts on claims."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from itertools import combinations
from typing import Literal, NamedTuple, TypedDict

import numpy as np

from counterpoise.exceptions import InputError

BASELINE = "bl"
"""Name of the method that the others are compared with."""

SIGNIFICANCE = 0.05
SAME = 1e-12  # differences below this are rounding


class _OnImages(TypedDict, total=False):
    images: int


class MeanEntry(_OnImages):
    """A `MeanInterval` in a file; without `images` where they are not known."""

    mean: float | None
    low: float | None
    high: float | None
    n: int


class MeanInterval(NamedTuple):
    """Mean of `n` repeats, None without any, and its confidence interval, None where nothing gives one.

    `images` is the number of independent images it rests on, 0 where it is not known.
    """

    mean: float | None
    low: float | None
    high: float | None
    n: int
    images: int = 0

    def entry(self) -> MeanEntry:
        """Return it as it stands in files."""
        entry: MeanEntry = {"mean": self.mean, "low": self.low, "high": self.high, "n": self.n}
        return {**entry, "images": self.images} if self.images else entry


def mean_interval(values: Iterable[float | None], *, confidence: float = 0.95) -> MeanInterval:
    """Return the mean over repeats and its Student-t confidence interval, mean ± t * s / sqrt(n).

    None and NaN (undefined) are left out; an infinite value raises InputError. The interval is not clipped: that of a
    score may reach beyond [0, 1].

    Examples
    --------
    >>> mean_interval([0.5])
    MeanInterval(mean=0.5, low=None, high=None, n=1, images=0)
    >>> [round(x, 3) for x in mean_interval([0.7, 0.8, 0.9])[:4]]
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


class PairedTest(NamedTuple):
    """Comparison of the methods `a` and `b` on the `n` repeats that both have.

    ``difference`` is the mean of `a` minus `b`; ``p_value`` is that of `paired_p_value`, ``p_adjusted`` the same after
    Holm's correction over all pairs.
    """

    a: str
    b: str
    n: int
    difference: float | None
    p_value: float | None
    p_adjusted: float | None


def paired_tests(values: Mapping[str, Mapping[Hashable, float | None]]) -> list[PairedTest]:
    """Compare all pairs of methods, each on the repeats that both have.

    `values` maps method -> repeat -> value; None and NaN (undefined) count as not having the repeat. Repeats on one
    dataset share most of their images, so that p-values come out somewhat too small (Nadeau & Bengio 2003). Read them
    as a guard against luck, not as proof.

    Examples
    --------
    >>> values = {"bl": {0: 0.50, 1: 0.55, 2: 0.52}, "ados": {0: 0.70, 1: 0.74, 2: 0.75, 3: 0.71}}
    >>> (test,) = paired_tests(values)
    >>> test.n, round(test.difference, 3), round(test.p_value, 4)
    (3, -0.207, 0.0034)
    """
    clean = {method: _defined(method, draws) for method, draws in values.items()}
    pairs = [
        (a, b, np.array([clean[a][repeat] - clean[b][repeat] for repeat in clean[a] if repeat in clean[b]]))
        for a, b in combinations(clean, 2)
    ]
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

    With m p-values in rising order, the i-th (from 0) is multiplied by m - i, and made at least the one before it and
    at most 1. None stays None and is not counted.

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

    The p-value is that of the two-sided binomial test over the images on which only one is right. `before` and `after`
    are the predictions of the first and the second classifier, int of shape (N,).

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


class Ranks(NamedTuple):
    """Mean ranks of methods over a number of blocks, such as datasets; 1 is the best, ties share theirs.

    ``p_value`` is that of Friedman's test, None for fewer than three methods or two blocks. Mean ranks that are further
    apart than ``critical_difference`` differ at the 5 % level (Nemenyi).
    """

    methods: tuple[str, ...]
    mean: tuple[float, ...]
    blocks: int
    p_value: float | None
    critical_difference: float | None

    @property
    def cliques(self) -> list[tuple[int, int]]:
        """Runs of methods, as first and last place in the order of their ranks, that do not differ from each other."""
        if self.critical_difference is None:
            return []
        ordered = sorted(self.mean)
        found: list[tuple[int, int]] = []
        for first in range(len(ordered)):
            near = [rank for rank in ordered[first:] if rank - ordered[first] <= self.critical_difference]
            last = first + len(near) - 1
            if last > first and not (found and found[-1][1] >= last):
                found.append((first, last))
        return found


def rank_methods(methods: Sequence[str], values: np.ndarray) -> Ranks:
    """Rank methods within each block; `values` are scores of shape (blocks, methods), the greater the better.

    Demšar, "Statistical comparisons of classifiers over multiple datasets", JMLR 7, 2006.

    Examples
    --------
    >>> ranks = rank_methods(["a", "b", "c"], np.array([[0.9, 0.8, 0.7], [0.9, 0.7, 0.8]]))
    >>> ranks.mean, ranks.blocks
    ((1.0, 2.5, 2.5), 2)
    """
    from scipy.stats import friedmanchisquare, rankdata

    blocks, count = values.shape
    ranks = rankdata(-values, axis=1).mean(axis=0) if blocks else np.full(count, np.nan)
    p_value = None
    if count >= 3 and blocks >= 2:
        with np.errstate(invalid="ignore"):  # where all values tie
            found = float(friedmanchisquare(*values.T).pvalue)
        p_value = found if np.isfinite(found) else 1.0
    difference = critical_difference(count, blocks) if blocks >= 2 and count >= 2 else None
    return Ranks(tuple(methods), tuple(float(rank) for rank in ranks), blocks, p_value, difference)


def critical_difference(methods: int, blocks: int, *, alpha: float = 0.05) -> float:
    """Return Nemenyi's critical difference of mean ranks: ``q * sqrt(k (k + 1) / (6 N))``.

    q is the upper quantile of the studentized range for k groups and infinitely many degrees of freedom, divided by the
    square root of 2. The example is that of Demšar 2006, section 3.2.5.

    Examples
    --------
    >>> round(critical_difference(4, 14), 2)
    1.25
    """
    from scipy.stats import studentized_range

    q = studentized_range.isf(alpha, methods, np.inf) / np.sqrt(2)
    return float(q * np.sqrt(methods * (methods + 1) / (6 * blocks)))


class Verdict(NamedTuple):
    """Whether a claim holds for the mean (None without one), and whether chance is excluded (None if unknown)."""

    holds: bool | None
    certain: bool | None

    @property
    def outcome(self) -> Literal["confirmed", "refuted", "not decided", "not run"]:
        """The verdict in words; only certain differences confirm or refute."""
        if self.holds is None:
            return "not run"
        if not self.certain:
            return "not decided"
        return "confirmed" if self.holds else "refuted"


def judge(
    difference: MeanInterval, *, border: float = 0.0, inclusive: bool = False, p_value: float | None = None
) -> Verdict:
    """Judge the claim that a difference is above a border, or at least the border if `inclusive`.

    It is certainly true where the whole interval is above the border, certainly false where all of it is below. The
    p-value of a test of this difference replaces the interval: certain below 0.05.

    Examples
    --------
    >>> judge(MeanInterval(0.02, 0.01, 0.03, 5)).outcome, judge(MeanInterval(0.02, -0.01, 0.05, 5)).outcome
    ('confirmed', 'not decided')
    >>> judge(MeanInterval(-0.01, None, None, 1), border=-0.02, inclusive=True)
    Verdict(holds=True, certain=None)
    >>> judge(MeanInterval(-0.01, -0.02, 0.0, 3), p_value=0.03).outcome
    'refuted'
    """

    def above(value: float) -> bool:
        return value > border or (inclusive and value == border)

    holds = None if difference.mean is None else above(difference.mean)
    if p_value is not None:
        return Verdict(holds, p_value < SIGNIFICANCE)
    if difference.low is None or difference.high is None:
        return Verdict(holds, None)
    return Verdict(holds, above(difference.low) or difference.high < border)


def _defined(method: str, draws: Mapping[Hashable, float | None]) -> dict[Hashable, float]:
    defined = {draw: float(value) for draw, value in draws.items() if value is not None and value == value}
    if not np.isfinite(list(defined.values())).all():
        raise InputError(f"method {method!r} has an infinite value, expected finite scores")
    return defined
