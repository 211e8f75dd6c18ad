"""Duplicates: copies of one picture, also resized, recompressed, rotated by 90 degrees or flipped."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from counterpoise.datasets.looks import Looks, standardized

# A pair is at distance 1 where its thumbnails, or their fine details, correlate as little as two copies of a
# photograph do after strong compression. Pictures of different scenes are beyond 2.
_COARSE, _FINE = 0.03, 0.15
# What is left without the patterns that many pictures share (the frame of an X-ray, the bars of a solar cell) decides.
_OWN = 0.2
_FAR = 2.0  # beyond it, other pairs are not looked at
_PATTERNS, _PICTURES_PER_PATTERN = 64, 40
_NEIGHBORS = 16
_RADIUS = 0.2  # between perceptual hashes; copies are within 0.05, of images of 32 pixels within 0.2
_FLAT = 4.0  # standard deviation of gray values
_COLOR = 12.0  # difference of the mean colors of two copies
_LEAD = 1.5  # how much farther the next look-alike is than the last copy (whose distance is 0.1 at least)
_TYPICAL = 0.7  # distance of copies, as a median; chance brings pairs just below 1, and more beyond
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
    for queries in (sample, np.arange(len(first))):
        pairs = _pairs(different, queries)
        copies = _copies(*pairs)
        alike = _alike(pairs[2], copies)
        if alike or len(queries) == len(first):
            break
    copies &= not alike
    cluster = connect(len(first), pairs[0][copies], pairs[1][copies])[exact]
    return Copies(by_appearance(cluster), alike)


def _copies(left: np.ndarray, right: np.ndarray, distance: np.ndarray) -> np.ndarray:
    """Return which pairs (P,) are copies: within distance 1, and much nearer than all that merely look alike.

    For each image, its look-alikes by distance are copies up to the last clear step. A pair is one of copies where both
    of its images say so. Where a list is full, what comes after it is as near as its last.
    """
    image = np.concatenate([left, right])
    order = np.lexsort((np.tile(distance, 2), image))
    image, pair = image[order], order % max(1, len(left))
    values = distance[pair]
    ends = np.append(image[1:] != image[:-1], True)[: len(image)]
    following = np.where(ends, np.inf, np.append(values[1:], np.inf)[: len(image)])
    length = np.bincount(image, minlength=1)[image]
    following[ends & (length >= _NEIGHBORS)] = 0.0
    steps = (values <= 1) & (following >= _LEAD * np.maximum(values, 0.1))
    last = np.zeros(image.max(initial=0) + 1)
    np.maximum.at(last, image[steps], values[steps])
    agreed = np.bincount(pair[values <= last[image]], minlength=len(left))
    return (distance <= 1) & (agreed == 2)


def _alike(distance: np.ndarray, copies: np.ndarray) -> bool:
    """Whether most look-alikes are no copies, or pairs are as near as chance would bring them."""
    within, beyond = (int((distance <= most).sum()) for most in (1.0, _FAR))
    if within == 0 or 2 * copies.sum() < within:
        return within > 0
    return beyond > 2 * within and bool(np.median(distance[copies]) > _TYPICAL)


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
    shared = _Shared.of(pictures)
    distance = np.concatenate(
        [_distances(pictures[a], pictures[b], shared) for a, b in (part.T for part in parts)]
    )
    return rows[pairs[:, 0]], rows[pairs[:, 1]], distance


class _Shared(NamedTuple):
    """What pictures have in common: their `mean` (P,) and the `patterns` (K, P) in which they vary most."""

    mean: np.ndarray
    patterns: np.ndarray

    @classmethod
    def of(cls, pictures: np.ndarray) -> _Shared:
        """Return the mean and the first principal components of a sample of pictures (N, 32, 32)."""
        from scipy.linalg import eigh

        sample = np.sort(np.random.default_rng(0).permutation(len(pictures))[:_SAMPLE])
        values = pictures[sample].reshape(len(sample), -1)
        mean = values.mean(axis=0)
        count = min(_PATTERNS, len(sample) // _PICTURES_PER_PATTERN)
        if not count:
            return cls(mean, values[:0])
        covariance, width = (values - mean).T @ (values - mean), values.shape[1]
        return cls(mean, eigh(covariance, subset_by_index=[width - count, width - 1])[1].T)

    def without(self, pictures: np.ndarray) -> np.ndarray:
        """Return pictures (N, 32, 32) without what they share, standardized."""
        values = pictures.reshape(len(pictures), -1) - self.mean
        values -= (values @ self.patterns.T) @ self.patterns
        return standardized(values.reshape(pictures.shape))


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


def _distances(one: np.ndarray, other: np.ndarray, shared: _Shared) -> np.ndarray:
    """Return the distances of pairs of pictures (n, 32, 32) under the best symmetry."""
    coarse = [p.reshape(len(p), 8, 4, 8, 4).mean(axis=(2, 4)) for p in (one, other)]
    fits = [np.einsum("nij,nij->n", coarse[0], turned) for turned in _symmetries(coarse[1])]
    best = np.argmax(fits, axis=0)
    turned = np.empty_like(other)
    for index, version in enumerate(_symmetries(other)):
        turned[best == index] = version[best == index]
    whole = _correlation(one, turned)
    result = np.full(len(one), np.inf)
    near = np.flatnonzero(whole >= 1 - _FAR * _COARSE)
    if len(near):
        fine = _correlation(_details(one[near]), _details(turned[near]))
        own = _correlation(shared.without(one[near]), shared.without(turned[near]))
        parts = [(1 - whole[near]) / _COARSE, (1 - fine) / _FINE, (1 - own) / _OWN]
        result[near] = np.max(parts, axis=0)
    return result


def _correlation(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return the correlation of standardized pictures (n, 32, 32), one by one."""
    return np.asarray(np.einsum("nij,nij->n", one, other) / one[0].size)


def _details(pictures: np.ndarray) -> np.ndarray:
    from scipy.ndimage import uniform_filter

    return standardized(pictures - uniform_filter(pictures, (0, 5, 5)))
