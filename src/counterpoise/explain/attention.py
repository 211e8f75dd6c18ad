"""Similarity of two saliency maps."""

from __future__ import annotations

import numpy as np

from counterpoise.exceptions import InputError

#: Rank correlation from which two maps count as the same attention.
SAME_FROM = 0.5


def map_similarity(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return Spearman's rank correlation, shape (N,), of two maps (N, H, W) of each image, over their pixels.

    It compares the order of the pixels, whatever the scale of the values. Ties share their mean rank. Two constant
    maps have similarity 1; a constant map and another one, 0.

    Raises
    ------
    InputError
        If the shapes differ.

    Examples
    --------
    >>> map = np.array([[[1.0, 2.0], [3.0, 9.0]]])
    >>> map_similarity(map, map**2).round(6).tolist(), map_similarity(map, -map).round(6).tolist()
    ([1.0], [-1.0])
    """
    from scipy.stats import rankdata

    first, second = np.asarray(first), np.asarray(second)
    if first.shape != second.shape or first.ndim != 3:
        raise InputError(
            f"got maps of shapes {first.shape} and {second.shape}; expected the same (N, H, W) for both"
        )
    a, b = (rankdata(maps.reshape(len(maps), -1), axis=1) for maps in (first, second))
    a, b = a - a.mean(axis=1, keepdims=True), b - b.mean(axis=1, keepdims=True)
    length_a, length_b = np.linalg.norm(a, axis=1), np.linalg.norm(b, axis=1)
    product = length_a * length_b
    both_constant = (length_a == 0) & (length_b == 0)
    similarity = np.divide((a * b).sum(axis=1), product, out=np.zeros(len(a)), where=product > 0)
    return np.where(both_constant, 1.0, similarity.clip(-1, 1))
