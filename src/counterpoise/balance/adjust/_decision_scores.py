"""Values of decisions from counts alone: the scores that a threshold search maximizes.

All are higher for better decisions. Each also gives the values of N + 1 nested decisions at once, which makes an exact
search cheap: see :mod:`counterpoise.balance.adjust._threshold_search`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

import numpy as np

from counterpoise.exceptions import UnknownNameError


class DecisionScore(Protocol):
    """Score that a search maximizes."""

    def value(self, labels: np.ndarray, decisions: np.ndarray) -> float:
        """Return the score of the decisions (N,) for samples of the classes `labels` (N,)."""

    def along(self, chosen: int, labels: np.ndarray, rivals: np.ndarray) -> np.ndarray:
        """Return the scores (N + 1,) with the first j = 0..N samples decided for `chosen`, the others for `rivals`.

        `rivals`, int64 of shape (N,), are other classes than `chosen`.
        """


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
    """Mean over classes of a score of each class; classes without samples are left out.

    Parameters
    ----------
    name : str
        One of ``CLASS_SCORES``.
    labels : ndarray of int64, shape (N,)
        Classes of the samples.
    num_classes : int
        C.
    """

    def __init__(self, name: str, labels: np.ndarray, num_classes: int) -> None:
        if name not in CLASS_SCORES:
            raise UnknownNameError("score", str(name), CLASS_SCORES)
        self._score = CLASS_SCORES[name]
        self._support = np.bincount(labels, minlength=num_classes)
        self._present = self._support > 0

    def value(self, labels: np.ndarray, decisions: np.ndarray) -> float:
        """Return the score, see :class:`DecisionScore`."""
        return float(self._of_all(*self._count(labels, decisions)).sum())

    def along(self, chosen: int, labels: np.ndarray, rivals: np.ndarray) -> np.ndarray:
        """Return the scores, see :class:`DecisionScore`."""
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
    """Minus the mean cost of a decision; `costs` (C, C) has true classes in the rows."""

    def __init__(self, costs: np.ndarray) -> None:
        self._costs = costs

    def value(self, labels: np.ndarray, decisions: np.ndarray) -> float:
        """Return the score, see :class:`DecisionScore`."""
        return -float(self._costs[labels, decisions].mean())

    def along(self, chosen: int, labels: np.ndarray, rivals: np.ndarray) -> np.ndarray:
        """Return the scores, see :class:`DecisionScore`."""
        saved = self._costs[labels, rivals] - self._costs[labels, chosen]
        return self.value(labels, rivals) + _running(saved) / len(labels)


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
