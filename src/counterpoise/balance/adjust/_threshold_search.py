"""Search for the offsets of log scores that give the best decisions."""

from __future__ import annotations

import numpy as np

from counterpoise.balance.adjust._decision_scores import DecisionScore
from counterpoise.balance.adjust.logit_adjustment import log_shares

MOST_SWEEPS = 100
# Distance beyond the outermost sample of an offset that decides all samples, or none, for its class.
BEYOND = 1.0
# Rounding errors of equal sums are smaller.
ROUNDING = 1e-11


def search_offsets(
    scores: np.ndarray, labels: np.ndarray, class_counts: np.ndarray, objective: DecisionScore
) -> np.ndarray:
    """Return offsets b (C,) that maximize the score of the decisions argmax_c s_c + b_c, by coordinate search.

    One offset after the other is moved to its best value, the others fixed. Between two neighboring breakpoints, at
    each of which one sample changes sides, no decision changes: the score is known for the whole line, and the middle
    of the widest best interval is taken. This repeats until nothing improves. The search starts once without offsets
    and once with those of logit adjustment, and keeps the better end, which is never worse than no offsets. It is
    deterministic.

    Offsets have mean 0 over the classes that have samples; for the other classes, of which nothing is known, they are
    0.

    Parameters
    ----------
    scores : ndarray of float64, shape (N, C)
        Logarithms of probabilities or of other positive scores.
    labels : ndarray of int64, shape (N,)
        Classes of the samples.
    class_counts : ndarray of shape (C,)
        Training images of each class.
    objective : DecisionScore
        Score to maximize.
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
