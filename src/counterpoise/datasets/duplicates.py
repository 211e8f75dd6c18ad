"""Duplicates: copies of one picture, also resized, recompressed, rotated by 90 degrees or flipped."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from counterpoise.datasets.looks import Looks, standardized

# A pair is at distance 1 where its thumbnails, or their fine details, correlate as little as two copies of a
# photograph do after strong compression. Pictures of different scenes are beyond 2.
_COARSE, _FINE = 0.03, 0.15
_NEIGHBORS = 8
_RADIUS = 0.2  # between perceptual hashes; copies are within 0.05, of images of 32 pixels within 0.2
_FLAT = 4.0  # standard deviation of gray values
_COLOR = 12.0  # difference of the mean colors of two copies
_MOST_BEYOND = 0.5  # pairs just beyond a threshold, by those within it
_FEW = 0.005  # share of images that may have a near-duplicate without a gap
_BATCH = 4096
_SAMPLE = 4000  # images


class Copies(NamedTuple):
    """Pictures of N images: images with the same number in `cluster` (N,) show one picture.

    `alike` tells that the images resemble each other so much that near-duplicates do not stand out; only exact copies
    are in one cluster then.
    """

    cluster: np.ndarray
    alike: bool


def find_copies(keys: np.ndarray, looks: Looks) -> Copies:
    """Find images of one picture: with equal `keys` (N,), or with looks that are equal up to one of 8 symmetries.

    The perceptual hash of an image does not depend on flips and quarter turns; neighbors by hash (k-d tree) are
    verified on thumbnails. Time grows almost linearly with the number of images.

    Examples
    --------
    >>> pixels = np.random.default_rng(0).integers(0, 256, (2, 1, 8, 8), dtype=np.uint8).repeat(4, 2).repeat(4, 3)
    >>> images = [*pixels, np.rot90(pixels[0], axes=(1, 2)), pixels[1, :, :, ::-1]]
    >>> find_copies(np.arange(4), Looks.of(images)).cluster.tolist()
    [0, 1, 0, 1]
    """
    _, first, exact = np.unique(keys, return_index=True, return_inverse=True)
    different = Looks(*(part[first] for part in looks))
    # A sample shows quickly whether near-duplicates stand out at all.
    sample = np.random.default_rng(0).permutation(len(first))[:_SAMPLE]
    left, right, distance = _pairs(different, sample)
    limit = _gap(left, distance, len(sample))
    if limit and len(sample) < len(first):
        left, right, distance = _pairs(different, np.arange(len(first)))
        limit = _gap(left, distance, len(first))
    near = distance <= limit
    cluster = connect(len(first), left[near], right[near])[exact]
    return Copies(by_appearance(cluster), not limit)


def _gap(left: np.ndarray, distance: np.ndarray, count: int) -> float:
    """Return the distance beyond which there are few more pairs of `count` images, or 0."""
    for threshold in (1.0, 0.5):
        within, beyond = (int((distance <= factor * threshold).sum()) for factor in (1, 2))
        shared = len(np.unique(left[distance <= threshold])) / count
        if beyond - within <= _MOST_BEYOND * within or (threshold == 1.0 and shared <= _FEW):
            return threshold
    return 0.0


def connect(count: int, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return the number of the connected component of each of `count` nodes, int64."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    edges = coo_array((np.ones(len(left)), (left, right)), shape=(count, count))
    return connected_components(edges, directed=False)[1].astype(np.int64)


def by_appearance(values: np.ndarray) -> np.ndarray:
    """Return values (N,) as numbers from 0 in the order of their first appearance, int64.

    Examples
    --------
    >>> by_appearance(np.array(["b", "a", "b"])).tolist()
    [0, 1, 0]
    """
    _, first, inverse = np.unique(values, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse].astype(np.int64)


def _pairs(looks: Looks, queries: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return pairs of `queries` and their look-alikes, as two arrays of indices, and their distances."""
    from scipy.spatial import KDTree

    rows = np.flatnonzero(looks.gray.std(axis=(1, 2)) >= _FLAT)
    none = np.zeros(0, np.int64)
    if len(rows) < 2:
        return none, none, np.zeros(0)
    pictures = standardized(looks.gray[rows])
    hashes = _hashes(pictures)
    asked = np.flatnonzero(np.isin(rows, queries))
    count = min(_NEIGHBORS + 1, len(rows))
    neighbors = KDTree(hashes).query(hashes[asked], k=count, distance_upper_bound=_RADIUS)[1]
    here = np.repeat(asked, count)
    pairs = np.sort(np.stack([here, neighbors.ravel()], axis=1), axis=1)
    pairs = np.unique(pairs[(pairs[:, 1] < len(rows)) & (pairs[:, 0] < pairs[:, 1])], axis=0)
    color = looks.color[rows]
    pairs = pairs[(np.abs(color[pairs[:, 0]] - color[pairs[:, 1]]) <= _COLOR).all(axis=1)]
    if not len(pairs):
        return none, none, np.zeros(0)
    parts = np.array_split(pairs, range(_BATCH, len(pairs), _BATCH))
    distance = np.concatenate([_distances(pictures[a], pictures[b]) for a, b in (part.T for part in parts)])
    return rows[pairs[:, 0]], rows[pairs[:, 1]], distance


def _hashes(pictures: np.ndarray) -> np.ndarray:
    """Return low frequencies of standardized pictures, (N, 20), that flips and quarter turns leave as they are."""
    from scipy.fft import dctn

    waves = dctn(pictures, axes=(1, 2), norm="ortho")
    rows, columns = (index[1:] for index in np.nonzero(np.triu(np.add.outer(range(6), range(6)) < 6)))
    # A flip changes the sign of a frequency; a quarter turn swaps rows and columns, too.
    one, other = np.abs(waves[:, rows, columns]), np.abs(waves[:, columns, rows])
    both = np.concatenate([np.hypot(one, other), np.abs(one - other)[:, rows != columns]], axis=1)
    return np.asarray(both / pictures.shape[1])


def _symmetries(pictures: np.ndarray) -> Iterator[np.ndarray]:
    for turns in range(4):
        turned = np.rot90(pictures, turns, axes=(1, 2))
        yield from (turned, turned[:, :, ::-1])


def _distances(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return the distances of pairs of pictures (n, 32, 32) under the best symmetry."""
    coarse = [p.reshape(len(p), 8, 4, 8, 4).mean(axis=(2, 4)) for p in (one, other)]
    fits = [np.einsum("nij,nij->n", coarse[0], turned) for turned in _symmetries(coarse[1])]
    best = np.argmax(fits, axis=0)
    turned = np.empty_like(other)
    for index, version in enumerate(_symmetries(other)):
        turned[best == index] = version[best == index]
    whole = np.einsum("nij,nij->n", one, turned) / one[0].size
    result = np.full(len(one), np.inf)
    near = np.flatnonzero(whole >= 1 - 2 * _COARSE)
    if len(near):
        fine = np.einsum("nij,nij->n", _details(one[near]), _details(turned[near])) / one[0].size
        result[near] = np.maximum((1 - whole[near]) / _COARSE, (1 - fine) / _FINE)
    return result


def _details(pictures: np.ndarray) -> np.ndarray:
    from scipy.ndimage import uniform_filter

    return standardized(pictures - uniform_filter(pictures, (0, 5, 5)))
