"""Prediction sets with a promise for each class, and distances to training images: NumPy in, numbers out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypedDict

import numpy as np
from numpy.typing import ArrayLike

from counterpoise.evaluation.checks import check_labels, check_probabilities
from counterpoise.exceptions import InputError

ALPHA = 0.1
QUANTILES = (
    0.5,
    0.6,
    0.7,
    0.8,
    0.9,
)  # of a class's scores, by which classes are clustered (Ding et al. 2023)
NEIGHBORS = 5


class ClassRule(TypedDict):
    """Threshold of a class: an image's set holds the class if its probability is at least `threshold`.

    `rule` names the held-out images, `images` in number, behind it: of the "class", of its "cluster" of similar
    classes, or of "all" classes. With "none" there are too few of any, and every set holds the class.
    """

    name: str
    threshold: float
    rule: str
    images: int


def conformal_rules(
    y_prob: ArrayLike, y_true: ArrayLike, classes: Sequence[str], *, alpha: float = ALPHA
) -> list[ClassRule]:
    """Return a threshold for each class, so that sets hold the true class of new images often enough.

    A class with at least ``1 / alpha - 1`` held-out images has a threshold of its own (Vovk et al. 2005): the sets of
    at least ``1 - alpha`` of its new images hold it, on average over held-out sets. Rarer classes are pooled with
    classes of similar score quantiles (Ding et al. 2023), and those with under half of these images share the threshold
    of all classes; there the promise holds for the pool, not for each class in it.

    Parameters
    ----------
    y_prob, y_true : array, shape (N, C) and (N,)
        Probabilities and classes of images that neither the model nor its selection depended on.
    alpha : float, default=0.1
        Share of the images whose set may lack the true class, in (0, 1).

    Examples
    --------
    >>> p = np.linspace(0.5, 0.95, 10)
    >>> [(r["threshold"], r["rule"]) for r in conformal_rules(np.stack([p, 1 - p], axis=1), [0] * 10, ["cat", "owl"])]
    [(0.5, 'class'), (0.5, 'all')]
    """
    if not 0 < alpha < 1:
        raise InputError(f"`alpha` is {alpha}; expected a number above 0 and below 1")
    probabilities = check_probabilities(y_prob, num_classes=len(classes))
    labels, needed = check_labels(y_true, num_classes=len(classes)), math.ceil(1 / alpha - 1 - 1e-9)
    own, rules = probabilities[np.arange(len(labels)), labels], []
    clusters = _clusters(own, labels, np.bincount(labels, minlength=len(classes)), needed)
    for c, name in enumerate(classes):
        similar = (clusters[labels] == clusters[c]) & (clusters[c] >= 0)
        pools = {"class": own[labels == c], "cluster": own[similar], "all": own}
        rule = next((rule for rule, pool in pools.items() if len(pool) >= needed), "none")
        pool = np.sort(pools.get(rule, own[:0]))
        rank = math.floor(alpha * (len(pool) + 1) + 1e-9)
        threshold = float(pool[rank - 1]) if len(pool) else 0.0
        rules.append(ClassRule(name=name, threshold=threshold, rule=rule, images=len(pool)))
    return rules


def prediction_sets(y_prob: ArrayLike, rules: Sequence[ClassRule]) -> np.ndarray:
    """Return which classes each image's set holds, bool (N, C); a set may be empty, or hold all classes."""
    return check_probabilities(y_prob, num_classes=len(rules)) >= [rule["threshold"] for rule in rules]


def _clusters(own: np.ndarray, labels: np.ndarray, counts: np.ndarray, needed: int) -> np.ndarray:
    """Return the cluster of each class by its score quantiles, -1 where there are too few images, or no need."""
    from sklearn.cluster import KMeans

    found, known = np.full(len(counts), -1), np.flatnonzero(counts >= needed / 2)
    if counts.min() < needed and len(known) > 1:
        quantiles = np.array([np.quantile(own[labels == c], QUANTILES) for c in known])
        # The number of clusters of Ding et al., section 2.2, but at least two.
        number = max(2, int(counts[known].min() * len(known) / (75 + len(known)) / 2))
        means = KMeans(min(number, len(np.unique(quantiles, axis=0))), n_init=10, random_state=0)
        found[known] = means.fit(quantiles, sample_weight=np.sqrt(counts[known])).labels_
    return found


def neighbor_distances(rows: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Return the distance of each point (N, d) to its fifth nearest row (M, d).

    Examples
    --------
    >>> neighbor_distances(np.repeat([[0.0], [2.0]], 5, axis=0), np.array([[0.0], [5.0]])).tolist()
    [0.0, 3.0]
    """
    rows = rows.astype(np.float32)
    place, squares, found = min(NEIGHBORS, len(rows)) - 1, (rows**2).sum(axis=1), []
    for part in np.array_split(points.astype(np.float32), len(points) // 512 + 1):
        away = (part**2).sum(axis=1)[:, None] + squares - 2 * part @ rows.T
        found.append(np.sqrt(np.maximum(np.partition(away, place, axis=1)[:, place], 0)))
    return np.concatenate(found)


def pixel_statistics(images: np.ndarray) -> np.ndarray:
    """Return brightness, contrast, edges and color of images, uint8 (N, C, H, W), float32 (N, 4 C + 1).

    A network may map a picture without edges into the middle of its classes; these numbers tell it apart.
    """
    x = images.astype(np.float32) / 255
    edges = [np.abs(np.diff(x, axis=axis)).mean(axis=(2, 3)) for axis in (2, 3)]
    color = (x.max(axis=1) - x.min(axis=1)).mean(axis=(1, 2))
    return np.concatenate([x.mean(axis=(2, 3)), x.std(axis=(2, 3)), *edges, color[:, None]], axis=1)
