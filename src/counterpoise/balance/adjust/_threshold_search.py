"""Search for the offsets of log scores that give the best decisions."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from counterpoise.balance.adjust.base import log_shares
from counterpoise.exceptions import UnknownNameError

MOST_SWEEPS = 100
# Distance beyond the outermost sample of an offset that decides all samples, or none, for its class.
BEYOND = 1.0
# Rounding errors of equal sums are smaller.
ROUNDING = 1e-11


class Counts(NamedTuple):
    """Counts of each of some classes: its samples decided for it, all samples decided for it, and its samples.

    `total` and `num_classes` are those of the whole set.
    """

    hits: np.ndarray
    decided: np.ndarray
    support: np.ndarray
    total: int
    num_classes: int


def _specificity(n: Counts) -> np.ndarray:
    return 1 - (n.decided - n.hits) / np.maximum(n.total - n.support, 1)


def _log_recall(n: Counts) -> np.ndarray:
    """Return log recall; a recall of 0 outweighs all others together.

    A geometric mean is 0 with one such class as with two, which would leave a search without direction.
    """
    zero = -(n.num_classes + 1) * np.log(n.total + 1)
    return np.where(n.hits > 0, np.log(np.maximum(n.hits, 0.5) / n.support), zero)


# Each is averaged over the classes that have samples; for gmean the mean is the logarithm of the score.
CLASS_SCORES: dict[str, Callable[[Counts], np.ndarray]] = {
    "gmean": _log_recall,
    "f1": lambda n: 2 * n.hits / (n.support + n.decided),
    "recall": lambda n: n.hits / n.support,
    "precision": lambda n: n.hits / np.maximum(n.decided, 1),
    "specificity": _specificity,
    "accuracy": lambda n: n.hits * n.num_classes / n.total,
    "youden": lambda n: n.hits / n.support + _specificity(n) - 1,
}


class MacroScore:
    """Mean over classes of a score of each class, one of ``CLASS_SCORES``; classes without samples are left out.

    `labels`, int64 (N,), are the classes of the samples that are searched.
    """

    def __init__(self, name: str, labels: np.ndarray, num_classes: int) -> None:
        if name not in CLASS_SCORES:
            raise UnknownNameError("score", str(name), CLASS_SCORES)
        self._score = CLASS_SCORES[name]
        self._support = np.bincount(labels, minlength=num_classes)
        self._present = self._support > 0

    def value(self, labels: np.ndarray, decisions: np.ndarray) -> float:
        """Return the score of the decisions (N,) for samples of the classes `labels` (N,)."""
        return float(self._of_all(*self._count(labels, decisions)).sum())

    def along(self, chosen: int, labels: np.ndarray, rivals: np.ndarray) -> np.ndarray:
        """Return the scores (N + 1,) with the first j = 0..N samples decided for `chosen`, the others for `rivals`.

        `rivals`, int64 of shape (N,), are other classes than `chosen`.
        """
        hits, decided = self._count(labels, rivals)
        right = (rivals == labels).astype(np.int64)
        # When a sample changes to `chosen`, of the other classes only its rival's counts change.
        hits_gone, decided_gone = _earlier(rivals, decided, right)
        hits_before, decided_before = hits[rivals] - hits_gone, decided[rivals] - decided_gone
        loss = self._of(rivals, hits_before - right, decided_before - 1)
        loss -= self._of(rivals, hits_before, decided_before)
        others = self._of_all(hits, decided)
        others[chosen] = 0.0
        of_chosen = self._of(
            np.full(len(labels) + 1, chosen), _running(labels == chosen), np.arange(len(labels) + 1)
        )
        return others.sum() + _running(loss) + of_chosen

    def _count(self, labels: np.ndarray, decisions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        size = len(self._support)
        hits = np.bincount(labels[labels == decisions], minlength=size)
        return hits, np.bincount(decisions, minlength=size)

    def _of_all(self, hits: np.ndarray, decided: np.ndarray) -> np.ndarray:
        return self._of(np.arange(len(self._support)), hits, decided)

    def _of(self, classes: np.ndarray, hits: np.ndarray, decided: np.ndarray) -> np.ndarray:
        """Return each class's share of the mean, for one class, hits and decided count per entry."""
        present = int(self._present.sum())
        support = np.maximum(self._support[classes], 1)
        scores = self._score(Counts(hits, decided, support, int(self._support.sum()), present))
        return np.where(self._present[classes], scores, 0.0) / present


class NegativeCost:
    """Minus the mean cost of a decision, as :class:`MacroScore`; `costs` (C, C) has true classes in the rows."""

    def __init__(self, costs: np.ndarray) -> None:
        self._costs = costs

    def value(self, labels: np.ndarray, decisions: np.ndarray) -> float:
        return -float(self._costs[labels, decisions].mean())

    def along(self, chosen: int, labels: np.ndarray, rivals: np.ndarray) -> np.ndarray:
        saved = self._costs[labels, rivals] - self._costs[labels, chosen]
        return self.value(labels, rivals) + _running(saved) / len(labels)


DecisionScore = MacroScore | NegativeCost


def _running(values: np.ndarray) -> np.ndarray:
    """Return the sums of the first 0, 1, .., N values."""
    return np.concatenate([[0], np.cumsum(values)])


def _earlier(groups: np.ndarray, sizes: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return for each entry the sum of `values`, and the number, of the earlier entries of its group."""
    order = np.argsort(groups, kind="stable")
    firsts = np.repeat(_running(sizes)[:-1], sizes)
    running = _running(values[order])[:-1]
    sums, numbers = np.empty_like(groups), np.empty_like(groups)
    sums[order] = running - running[firsts]
    numbers[order] = np.arange(len(groups)) - firsts
    return sums, numbers


def search_offsets(
    scores: np.ndarray, labels: np.ndarray, class_counts: np.ndarray, objective: DecisionScore
) -> np.ndarray:
    """Return offsets b (C,) that maximize the score of the decisions argmax_c s_c + b_c, by coordinate search.

    One offset after the other is moved to its best value, the others fixed. Between two neighboring breakpoints, at
    each of which one sample changes sides, no decision changes: the score is known for the whole line, and the middle
    of the widest best interval is taken. This repeats until nothing improves. The search starts once without offsets
    and once with those of logit adjustment, and keeps the better end, which is never worse than no offsets. It is
    deterministic.

    Offsets have mean 0 over the classes that have samples; for the others, of which nothing is known, they are 0.

    Parameters
    ----------
    scores : ndarray of float64, shape (N, C)
        Logarithms of probabilities or of other positive scores.
    labels : ndarray of int64, shape (N,)
        Classes of the samples.
    class_counts : ndarray of shape (C,)
        Training images of each class.
    """
    none = np.zeros(scores.shape[1])
    present = np.unique(labels)
    if len(present) < 2:
        return none
    # Deciding for a class without samples is always wrong here: the search would never do it.
    known = np.full_like(scores, -np.inf)
    known[:, present] = scores[:, present]
    best, worth = none, objective.value(labels, scores.argmax(axis=1))
    for start in (none, -log_shares(class_counts)):
        end = none.copy()
        end[present] = _climb(known, labels, start, present, objective)[present]
        end[present] -= end[present].mean()
        reached = objective.value(labels, (scores + end).argmax(axis=1))
        if reached > worth:
            best, worth = end, reached
    return best


def _climb(
    scores: np.ndarray, labels: np.ndarray, start: np.ndarray, movable: np.ndarray, objective: DecisionScore
) -> np.ndarray:
    offsets, samples = start.copy(), np.arange(len(scores))
    first, second = _top_two(scores + offsets)
    value = objective.value(labels, first)
    for _ in range(MOST_SWEEPS):
        moved = False
        for chosen in movable:
            rivals = np.where(first == chosen, second, first)
            breakpoints = scores[samples, rivals] + offsets[rivals] - scores[:, chosen]
            order = np.argsort(breakpoints, kind="stable")
            values = objective.along(chosen, labels[order], rivals[order])
            found, offset = _highest(breakpoints[order], values)
            if found > value + ROUNDING * max(1.0, abs(value)):
                offsets[chosen] = offset
                first, second = _top_two(scores + offsets)
                value = objective.value(labels, first)
                moved = True
        if not moved:
            break
    return offsets


def _top_two(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the classes of the highest and of the second highest score of each row."""
    first = scores.argmax(axis=1)
    others = scores.copy()
    others[np.arange(len(scores)), first] = -np.inf
    return first, others.argmax(axis=1)


def _highest(breakpoints: np.ndarray, values: np.ndarray) -> tuple[float, float]:
    """Return the highest of `values` (N + 1,), and the middle of the widest interval in which it is reached.

    ``values[j]`` is reached between the ascending ``breakpoints[j - 1]`` and ``breakpoints[j]``.
    """
    ends = np.concatenate([breakpoints[:1] - 2 * BEYOND, breakpoints, breakpoints[-1:] + 2 * BEYOND])
    # Samples whose breakpoints coincide change sides together.
    open_ = np.diff(ends) > 1e-9 * max(1.0, float(np.abs(ends).max()))
    low, high, reached = ends[:-1][open_], ends[1:][open_], values[open_]
    top = float(reached.max())
    best = reached >= top - ROUNDING * max(1.0, abs(top))
    starts = np.flatnonzero(best & ~np.concatenate([[False], best[:-1]]))
    stops = np.flatnonzero(best & ~np.concatenate([best[1:], [False]]))
    widest = int(np.argmax(high[stops] - low[starts]))
    return top, float((low[starts[widest]] + high[stops[widest]]) / 2)
