"""Ranks of methods over datasets: mean ranks, Friedman's test, Nemenyi's critical difference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Ranks(NamedTuple):
    """Mean ranks of methods over a number of blocks, such as datasets; 1 is the best, ties share theirs.

    ``p_value`` is that of Friedman's test that all methods rank alike, None for fewer than three methods or two
    blocks. Mean ranks that are further apart than ``critical_difference`` differ at the 5 % level (Nemenyi).
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
            last = max(
                i
                for i in range(first, len(ordered))
                if ordered[i] - ordered[first] <= self.critical_difference
            )
            if last > first and not (found and found[-1][1] >= last):
                found.append((first, last))
        return found


def rank_methods(methods: Sequence[str], values: np.ndarray) -> Ranks:
    """Rank methods within each block.

    `values` are scores of shape (blocks, methods), the greater the better. Demšar, "Statistical comparisons of
    classifiers over multiple datasets", JMLR 7, 2006.

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

    Here q is the upper quantile of the studentized range for k groups and infinitely many degrees of freedom,
    divided by the square root of 2.

    Examples
    --------
    Demšar 2006, section 3.2.5: four classifiers on 14 datasets.

    >>> round(critical_difference(4, 14), 2)
    1.25
    """
    from scipy.stats import studentized_range

    q = studentized_range.isf(alpha, methods, np.inf) / np.sqrt(2)
    return float(q * np.sqrt(methods * (methods + 1) / (6 * blocks)))
