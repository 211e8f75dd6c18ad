"""Superpixels: patches of neighbouring pixels of like colour."""

from __future__ import annotations

import numpy as np

from counterpoise.exceptions import InputError

_COMPACTNESS = 0.5
_ROUNDS = 10


def superpixels(image: np.ndarray, count: int) -> np.ndarray:
    """Cut an image into about `count` patches by k-means on colour and place (the distance of Achanta et al. 2012).

    The centres start on a regular grid, so that nothing is random. Places are measured in grid cells, colours in
    [0, 1]: over a distance of one cell, a colour difference of 0.5 counts as much as the distance.

    Parameters
    ----------
    image : ndarray of float, shape (C, H, W)
        In [0, 1].
    count : int
        Patches wanted; there are at most as many as pixels.

    Returns
    -------
    ndarray of int64, shape (H, W)
        Numbers from 0 without gaps.

    Raises
    ------
    InputError
        If `count` is not positive.

    Examples
    --------
    >>> halves = np.zeros((1, 4, 4))
    >>> halves[:, :, 2:] = 1
    >>> superpixels(halves, 2).tolist()
    [[0, 0, 1, 1], [0, 0, 1, 1], [0, 0, 1, 1], [0, 0, 1, 1]]
    """
    from sklearn.cluster import KMeans

    if count < 1:
        raise InputError(f"superpixels is {count}; expected a number of at least 1")
    _, height, width = image.shape
    cell = max(1.0, (height * width / count) ** 0.5)
    rows, columns = np.mgrid[:height, :width]
    colour = image.reshape(len(image), -1).T.astype(np.float64)
    points = np.column_stack(
        [rows.ravel() / cell, columns.ravel() / cell, colour / (_COMPACTNESS * len(image) ** 0.5)]
    )
    starts = points[_grid(height, width, count)]
    means = KMeans(n_clusters=len(starts), init=starts, n_init=1, max_iter=_ROUNDS, random_state=0)
    labels = means.fit_predict(points)
    return np.unique(labels, return_inverse=True)[1].reshape(height, width).astype(np.int64)


def _grid(height: int, width: int, count: int) -> np.ndarray:
    """Return the flat indices of about `count` pixels on a regular grid."""
    count = min(count, height * width)
    down = min(height, max(1, round((count * height / width) ** 0.5)))
    across = min(width, max(1, round(count / down)))
    rows, columns = (
        np.floor((np.arange(n) + 0.5) * side / n).astype(int) for side, n in ((height, down), (width, across))
    )
    return (rows[:, None] * width + columns).ravel()
