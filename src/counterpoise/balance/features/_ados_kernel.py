"""Compiled part of ADOS: one class grown sample by sample, without a new distance matrix at every step.

It is exact, and fast for these reasons:

* only points of the class itself are seeds, so only each seed's ``k_max`` nearest points are kept, sorted;
* every synthetic sample is a convex combination of older points, so the greatest distance never changes;
* the least positive distance can only fall. A point closer than that to a new sample is about as far from the
  sample's seed as the sample is, so it is in the seed's list, unless the sample is at the list's end. Then it is
  searched among the points whose projections on two directions are near, for these are at most as far apart as the
  points;
* a sample enters few seeds' lists. Three lower bounds of its distances tell which ones it cannot enter:

  - *triangle*: its distance from its own seed, and that seed's distances from the others;
  - *mixture* (where the triangle rules out few): for p = sum_j a_j y_j with sum_j a_j = 1, ``|p - t|^2 = sum_j a_j
    |y_j - t|^2 - V`` with one V for all t. Lower bounds of the parents' squared distances from all seeds, kept in one
    byte each, give one for the sample. On noise in many dimensions the triangle leaves half, this a few per thousand;
  - *product* (points whose distances do not fit the memory): the samples of a block are compared with all seeds in
    one matrix product after the block; inside it only the lists of the block's own seeds are kept up to date.

The bounds allow for rounding. Distances that they leave are measured in double precision from the stored coordinates,
and only these decide: order, extremes, numbers of neighbors. All three give the same samples.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

RULES = {"linear": 0, "printed": 1}
KINDS = {"exp": 0, "uniform": 1, "rbf": 2, "wedge": 3}

_LANES = 8
"""Weights are computed in groups of so many: loops over fewer are not vectorized."""
_SERIES = tuple(np.exp(-0.5) / math.factorial(power) for power in range(14, -1, -1))
"""Coefficients of ``exp(x - 0.5)``, highest power first; the next term is below 1e-16 for x from -0.5 to 0.5."""

_FAST: Any = {"reassoc", "contract", "nsz"}
# _nrt is undocumented, but reference counts, one for each array of a state, make growth 2 to 3 times slower; the
# kernel makes no arrays, so there is nothing to count
_JIT: dict[str, Any] = {"nogil": True, "cache": True, "_nrt": False, "error_model": "numpy"}
# a call passes every array of a state in seven words, which is more work than most of these functions do
_INLINED: dict[str, Any] = {**_JIT, "forceinline": True}


class State(NamedTuple):
    """Arrays that a class's growth keeps between two samples; they are written in place.

    n originals of d features grow by m samples. Point number j is ``points[j]``, or ``new[j - n]`` from n on.

    Attributes
    ----------
    points, new : (n, d), (m, d), float32 or float64
        The originals, and the output.
    near2, near : (n + 1, k_max), float64 and int64
        Squared distances and numbers of each seed's nearest points, ascending. The last row is for a seed that is
        itself a synthetic sample.
    filled : (n,), int64
        Length of each seed's list.
    reach, reach2 : (n,), float32
        Upper bounds of the distance at which a point enters a seed's list, and of its square in rounded coordinates;
        infinite while the list has room, minus infinity for points that are no seeds.
    extreme : (2,), float64
        Least positive and greatest squared distance of all points so far.
    along : (2, n + m), float64
        Projections of the points on ``axes``.
    placed : (1,), int64
        Number of samples whose projections are known; the others are projected when needed.
    axes : (2, d), float64
        Two orthogonal directions, of length 1 at most.
    center, rough, norm2 : (d,), (n, d), (n,), float32
        Mean of the originals, the originals relative to it, and their squared norms.
    between : (n, n) or (0, n), float32
        Triangle bound: lower bounds of the distances between the originals.
    rows, unit : (n + m, n) or (0, n), uint8; (n + m, 2), float32
        Mixture bound: lower bounds of the squared distances of all points from the originals, as ``unit[0] + rows *
        unit[1]``.
    origin : (n + m,) or (0,), int64
        Mixture bound: the column of each point's row that holds no bound: a sample's seed, or an original itself.
    slack : (4,), float64
        Bounds of rounding errors: of a distance in rounded coordinates, of a square in a product, of a square in a
        mixture, of a projection.
    mixed, bound, left, weights : (d,), (n,), (n + 8,), (k_max up to the next 8,)
        Scratch of a sample: its coordinates, bounds of its squared distances, the seeds left by a bound, weights.
    flags, words : (n up to the next 8,), uint8; (n / 8,), uint64
        Scratch: whether a bound leaves a seed; the same memory as words, to skip eight flags at once.
    member : (n,), bool
        Product bound: whether a seed's list has been updated inside the block.
    """

    points: NDArray[Any]
    new: NDArray[Any]
    near2: NDArray[np.float64]
    near: NDArray[np.int64]
    filled: NDArray[np.int64]
    reach: NDArray[np.float32]
    reach2: NDArray[np.float32]
    extreme: NDArray[np.float64]
    along: NDArray[np.float64]
    placed: NDArray[np.int64]
    axes: NDArray[np.float64]
    center: NDArray[np.float32]
    rough: NDArray[np.float32]
    norm2: NDArray[np.float32]
    between: NDArray[np.float32]
    rows: NDArray[np.uint8]
    unit: NDArray[np.float32]
    origin: NDArray[np.int64]
    slack: NDArray[np.float64]
    mixed: NDArray[np.float64]
    bound: NDArray[np.float32]
    left: NDArray[np.int64]
    flags: NDArray[np.uint8]
    words: NDArray[np.uint64]
    weights: NDArray[np.float64]
    member: NDArray[np.bool_]


def make_state(
    points: NDArray[Any],
    new: NDArray[Any],
    seeds: NDArray[np.int64],
    k_max: int,
    between: NDArray[np.float32],
) -> State:
    """Return the state of a class's growth before the first distances; ``between`` is memory for those to keep."""
    n, d = points.shape
    m = new.shape[0]
    center = points.mean(axis=0, dtype=np.float64).astype(np.float32)
    rough = (points - center).astype(np.float32, copy=False)
    norm2 = np.einsum("ij,ij->i", rough, rough)
    radius = float(np.sqrt(norm2.max()))
    axes = np.zeros((2, d))
    axes[: min(2, d)] = _directions(rough, min(2, d)).T / (1 + 1e-6)
    along = np.empty((2, n + m))
    np.matmul(axes, points.T, out=along[:, :n])
    norm = float(np.sqrt(np.einsum("ij,ij->i", points, points, dtype=np.float64).max()))
    reach = np.full(n, -np.inf, dtype=np.float32)
    reach[seeds] = np.inf
    words = np.zeros((n + 7) // 8, dtype=np.uint64)
    eps = 2.0**-24
    # rounding moves a sample off its exact mixture by this much
    off = float(np.finfo(points.dtype).eps) * norm
    return State(
        points=points,
        new=new,
        near2=np.full((n + 1, k_max), np.inf),
        near=np.zeros((n + 1, k_max), dtype=np.int64),
        filled=np.zeros(n, dtype=np.int64),
        reach=reach,
        reach2=reach.copy(),
        extreme=np.array([np.inf, 0.0]),
        along=along,
        placed=np.zeros(1, dtype=np.int64),
        axes=axes,
        center=center,
        rough=rough,
        norm2=norm2,
        between=between,
        rows=np.empty((0, n), dtype=np.uint8),
        unit=np.empty((0, 2), dtype=np.float32),
        origin=np.empty(0, dtype=np.int64),
        slack=np.array(
            [
                4 * eps * radius,
                8 * (d + 8) * eps * radius**2,
                40 * (k_max + 4) * eps * radius**2 + 8 * off * (radius + off),
                max(4e-16 * (d + 4) * norm, np.finfo(float).tiny),
            ]
        ),
        mixed=np.empty(d),
        bound=np.empty(n, dtype=np.float32),
        left=np.empty(n + 8, dtype=np.int64),
        flags=words.view(np.uint8),
        words=words,
        weights=np.zeros(-(-k_max // _LANES) * _LANES),
        member=np.ones(n, dtype=np.bool_),
    )


def _directions(rough: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """Return orthonormal directions along which the points spread widely: one power iteration from a fixed start."""
    d = rough.shape[1]
    sample = rough[:: max(1, rough.shape[0] // 2000)]
    axes = np.cos(np.arange(1, d + 1)[:, None] * np.arange(count) * 1.7).astype(np.float32)
    spread = sample.T @ (sample @ axes)
    return np.linalg.qr(spread.astype(np.float64))[0].astype(np.float32)


@njit(fastmath=_FAST, **_INLINED)
def _square(a, i, b, j):  # type: ignore[no-untyped-def]
    """Return the squared distance of row i of a from row j of b, in double precision."""
    total = 0.0
    one, other = a[i], b[j]  # loops over rows are vectorized, over columns of a matrix not
    for column in range(one.shape[0]):
        difference = np.float64(one[column]) - np.float64(other[column])
        total += difference * difference
    return total


@njit(**_INLINED)
def _square_to(state, made, other):  # type: ignore[no-untyped-def]
    """Return the squared distance of a synthetic sample from any point."""
    n = state.points.shape[0]
    if other < n:
        return _square(state.new, made, state.points, other)
    return _square(state.new, made, state.new, other - n)


@njit(**_INLINED)
def _insert(near2, near, i, count, square, number):  # type: ignore[no-untyped-def]
    """Insert a point into the i-th sorted list, behind those equally near; return the list's new length."""
    room = near2.shape[1]
    if count < room:
        place = count
        count += 1
    else:
        place = room - 1
        if square >= near2[i, place]:
            return count
    while place > 0 and near2[i, place - 1] > square:
        near2[i, place] = near2[i, place - 1]
        near[i, place] = near[i, place - 1]
        place -= 1
    near2[i, place] = square
    near[i, place] = number
    return count


@njit(**_INLINED)
def _offer(state, i, square, number):  # type: ignore[no-untyped-def]
    """Offer a point to a seed's list, and update the distance at which the next one enters it."""
    near2, reach, filled = state.near2, state.reach, state.filled
    filled[i] = _insert(near2, state.near, i, filled[i], square, number)
    if filled[i] == near2.shape[1]:
        farthest = np.sqrt(near2[i, near2.shape[1] - 1])
        reach[i] = farthest * (1.0 + 1e-6)
        rough = farthest + state.slack[0]
        state.reach2[i] = rough * rough * (1.0 + 1e-6)


@njit(**_INLINED)
def _collect(flags, words, left):  # type: ignore[no-untyped-def]
    """Write the indices of the flags that are set to ``left``, and return their number."""
    count = 0
    for word in range(words.shape[0]):
        if words[word] != 0:
            for place in range(8 * word, 8 * word + 8):
                left[count] = place
                count += flags[place]
    return count


@njit(**_INLINED)
def _kth_least(squares, near2, near, k_max):  # type: ignore[no-untyped-def]
    """Return the k_max-th least of the squares, with the list behind the seeds' as scratch."""
    n = near2.shape[0] - 1
    near2[n] = np.inf
    last = np.float32(np.inf)
    for begin in range(0, n, 16):  # blocks without a smaller square cost one vectorized pass
        part = squares[begin : begin + 16]
        smaller = 0
        for square in part:
            smaller += square < last
        if smaller > 0:
            for square in part:
                _insert(near2, near, n, k_max, square, 0)
            last = np.float32(near2[n, k_max - 1])
    return last


@njit(fastmath=_FAST, **_JIT)
def start_rows(state, product, first):  # type: ignore[no-untyped-def]
    """Fill the lists of some originals, and the extremes, from their products with all originals.

    ``product`` holds the inner products of the rounded originals ``first``, ``first + 1``, ... with all rounded
    originals; it is overwritten by lower bounds of their distances.
    """
    points, norm2, extreme, near2, flags = state.points, state.norm2, state.extreme, state.near2, state.flags
    n = points.shape[0]
    k_max = near2.shape[1]
    error = np.float32(state.slack[1])
    twice = np.float32(2.0 * state.slack[0])
    for row in range(product.shape[0]):
        i = first + row
        squares = product[row]
        for j in range(n):
            squares[j] = norm2[i] + norm2[j] - np.float32(2.0) * squares[j]
        squares[i] = np.inf
        edge = np.float32(extreme[0]) + error
        if state.reach[i] >= 0:
            edge = max(edge, _kth_least(squares, near2, state.near, k_max) + np.float32(2.0) * error)
        rim = np.float32(extreme[1]) - error
        for j in range(n):
            flags[j] = (squares[j] <= edge) | (squares[j] >= rim)
        for place in range(_collect(flags, state.words, state.left)):
            j = state.left[place]
            if j == i:
                continue
            exact = _square(points, i, points, j)
            if exact > 0.0:
                extreme[0] = min(extreme[0], exact)
                extreme[1] = max(extreme[1], exact)
            if state.reach[i] >= 0:
                _offer(state, i, exact, j)
        for j in range(n):
            below = max(squares[j] - error, np.float32(0.0))
            squares[j] = np.sqrt(below) * np.float32(1.0 - 1e-6) - twice
        squares[i] = 0.0


@njit(**_JIT)
def _scan(points, new, near2, near, made, source):  # type: ignore[no-untyped-def]
    """Fill the row behind the seeds' lists with the nearest points of a synthetic sample; return their number."""
    n = points.shape[0]
    count = 0
    for j in range(n):
        count = _insert(near2, near, n, count, _square(new, source - n, points, j), j)
    for j in range(made):
        if n + j != source:
            count = _insert(near2, near, n, count, _square(new, source - n, new, j), n + j)
    return count


@njit(**_INLINED)
def _how_many(square, extreme, k_max, k_min, rule):  # type: ignore[no-untyped-def]
    """Return a seed's number of neighbors, from the squared distance of its nearest (thesis Algorithm 4)."""
    nearest, least, greatest = np.sqrt(square), np.sqrt(extreme[0]), np.sqrt(extreme[1])
    if nearest <= least:
        return k_max if rule == 0 else k_min
    if nearest >= greatest:
        return k_min if rule == 0 else k_max
    return int(np.ceil(k_max - (k_max - k_min) * (nearest - least) / (greatest - least)))


@njit(**_INLINED)
def choose_neighbors(state, made, source, k_max, k_min, rule):  # type: ignore[no-untyped-def]
    """Find the nearest points of a seed and return how many of them to use.

    They are in the seed's list, or in the row behind all lists where the seed is a synthetic sample.
    """
    n = state.points.shape[0]
    if source < n:
        count = state.filled[source]
    else:
        count = _scan(state.points, state.new, state.near2, state.near, made, source)
    return min(count, _how_many(state.near2[min(source, n), 0], state.extreme, k_max, k_min, rule))


@njit(fastmath=_FAST, **_INLINED)
def _exp_minus(ratio):  # type: ignore[no-untyped-def]
    """Return ``exp(-ratio)`` for ratios from 0 to 1, by a series, as calls of exp are not vectorized."""
    rest = 0.5 - ratio
    total = 0.0
    for coefficient in _SERIES:
        total = total * rest + coefficient
    return total


@njit(fastmath=_FAST, **_INLINED)
def _weigh(weights, squares, k, kind):  # type: ignore[no-untyped-def]
    """Write the weights of the k nearest points, from their squared distances in ascending order (thesis Eq. 4.5)."""
    farthest = squares[k - 1] if squares[k - 1] > 0.0 else 1.0
    for j in range(squares.shape[0]):
        weights[j] = squares[j] / farthest
    # all entries at once, also those behind the k-th: one pass of whole vectors
    if kind == 0:
        for j in range(weights.shape[0]):
            weights[j] = _exp_minus(np.sqrt(weights[j]))
    elif kind == 1:
        weights[:] = 1.0
    elif kind == 2:
        for j in range(weights.shape[0]):
            weights[j] = _exp_minus(weights[j])
    else:
        for j in range(weights.shape[0]):
            weights[j] = 1.0 - 0.5 * np.sqrt(weights[j])
    weights[k:] = 0.0


@njit(inline="always", **_JIT)
def _row(points, new, number):  # type: ignore[no-untyped-def]
    n = points.shape[0]
    return points[number] if number < n else new[number - n]


@njit(fastmath=_FAST, **_INLINED)
def _make_point(state, made, source, delta, weights, k):  # type: ignore[no-untyped-def]
    """Compute a sample (thesis Eq. 4.5 to 4.7), and return its squared distance from the seed."""
    points, new, mixed = state.points, state.new, state.mixed
    n, d = points.shape
    near = state.near[min(source, n)]
    total = 0.0
    for j in range(weights.shape[0]):
        total += weights[j]
    for j in range(weights.shape[0]):
        weights[j] /= total
    seed, rest = _row(points, new, source), 1.0 - delta
    for column in range(d):
        mixed[column] = delta * seed[column]
    # four neighbors at a time: a quarter of the passes over the sum
    j = 0
    while j + 4 <= k:
        one, two = _row(points, new, near[j]), _row(points, new, near[j + 1])
        three, four = _row(points, new, near[j + 2]), _row(points, new, near[j + 3])
        a, b, c, e = rest * weights[j], rest * weights[j + 1], rest * weights[j + 2], rest * weights[j + 3]
        for column in range(d):
            mixed[column] += a * one[column] + b * two[column] + c * three[column] + e * four[column]
        j += 4
    while j < k:  # the weight behind the k-th is 0
        one, two = _row(points, new, near[j]), _row(points, new, near[min(j + 1, k - 1)])
        a, b = rest * weights[j], rest * weights[j + 1]
        for column in range(d):
            mixed[column] += a * one[column] + b * two[column]
        j += 2
    point = new[made]
    radius2 = 0.0
    for column in range(d):
        point[column] = mixed[column]
        difference = np.float64(point[column]) - np.float64(seed[column])
        radius2 += difference * difference
    return radius2


@njit(fastmath=_FAST, **_INLINED)
def _lower_least(state, made, source, radius2):  # type: ignore[no-untyped-def]
    """Lower the least positive distance where the new sample makes a closer pair.

    A point q at distance r from the seed is at least ``abs(r - sqrt(radius2))`` from the sample. Where the seed's list
    reaches farther than the sample by more than the least distance, all points that can be closer are in that list.
    """
    near2, near, extreme = state.near2, state.near, state.extreme
    n = state.points.shape[0]
    if radius2 == 0.0:  # a copy of the seed has the seed's distances
        return
    extreme[0] = min(extreme[0], radius2)
    row = min(source, n)
    k_max = near2.shape[1]
    count = state.filled[source] if source < n else min(k_max, n + made - 1)
    radius = np.sqrt(radius2)
    least = np.sqrt(extreme[0]) + 1e-150  # squares of smaller numbers lose digits
    farther = radius + least
    high = farther * farther * (1.0 + 1e-9)
    if count == k_max and high >= near2[row, k_max - 1]:
        _search_all(state, made)
        return
    nearer = max(radius - least, 0.0)
    low = nearer * nearer * (1.0 - 1e-9)
    for j in range(count):
        if low <= near2[row, j] <= high:
            other = near[row, j]
            square = _square_to(state, made, other)
            if square == 0.0:
                return
            extreme[0] = min(extreme[0], square)


@njit(fastmath=_FAST, **_JIT)
def _search_all(state, made):  # type: ignore[no-untyped-def]
    """Lower the least positive distance by the points whose projections are near the new sample's."""
    new, extreme = state.new, state.extreme
    first, second = state.along[0], state.along[1]
    n = state.points.shape[0]
    for earlier in range(state.placed[0], made + 1):
        point = new[earlier]
        across, down = 0.0, 0.0
        for column in range(point.shape[0]):
            across += state.axes[0, column] * point[column]
            down += state.axes[1, column] * point[column]
        first[n + earlier], second[n + earlier] = across, down
    state.placed[0] = made + 1
    across, down = first[n + made], second[n + made]
    reach = np.sqrt(extreme[0]) * (1.0 + 1e-9) + state.slack[3]
    for begin in range(0, n + made, 64):  # blocks without a near point cost one vectorized pass
        end = min(begin + 64, n + made)
        close = 0
        for other in range(begin, end):
            close += (abs(first[other] - across) <= reach) & (abs(second[other] - down) <= reach)
        if close == 0:
            continue
        for other in range(begin, end):
            if abs(first[other] - across) <= reach and abs(second[other] - down) <= reach:
                square = _square_to(state, made, other)
                if square == 0.0:
                    return
                extreme[0] = min(extreme[0], square)


@njit(fastmath=_FAST, **_INLINED)
def _left_by_triangle(state, source, radius):  # type: ignore[no-untyped-def]
    """Write to ``left`` the seeds that the triangle inequality cannot rule out, and return their number."""
    reach, flags = state.reach, state.flags
    radius = np.float32(radius * (1.0 + 1e-6))
    apart = state.between[source]
    for seed in range(reach.shape[0]):
        flags[seed] = apart[seed] <= radius + reach[seed]
    return _collect(flags, state.words, state.left)


# without "reassoc", by which the product with the inverse would become a division again
@njit(fastmath={"contract", "nsz", "nnan"}, **_INLINED)
def _pack(bound, own, rows, unit, number):  # type: ignore[no-untyped-def]
    """Store a point's bounds as bytes between their least and greatest; its own seed's column holds no bound."""
    n = bound.shape[0]
    bound[own] = bound[own - 1] if own > 0 else bound[n - 1]
    # non-negative floats have the order of their bits, and only extremes of integers are vectorized
    least, greatest = np.int32(0x7F800000), np.int32(0)
    for j in range(n):
        bits = np.float32(max(bound[j], np.float32(0.0))).view(np.int32)
        least = min(least, bits)
        greatest = max(greatest, bits)
    low, high = np.int32(least).view(np.float32), np.int32(greatest).view(np.float32)
    step = max((high - low) / np.float32(255.0), np.float32(1e-30)) * np.float32(1.0 + 1e-6)
    unit[number, 0] = low
    unit[number, 1] = step
    inverse = np.float32(1.0 - 1e-6) / step
    target = rows[number]
    for j in range(n):
        target[j] = np.uint8(np.int32((max(bound[j], low) - low) * inverse))


@njit(fastmath=_FAST, **_INLINED)
def _left_by_mixture(state, source, radius2, number, weights, k, delta):  # type: ignore[no-untyped-def]
    """Write to ``left`` the seeds that the mixture bound cannot rule out, and store the bound as the sample's row."""
    rows, unit, bound, reach2, flags = state.rows, state.unit, state.bound, state.reach2, state.flags
    near2, near, origin, slack = state.near2, state.near, state.origin, state.slack
    n = rows.shape[1]
    spread, low = 0.0, delta * unit[source, 0]
    for j in range(k):
        share = (1.0 - delta) * weights[j]
        spread += share * near2[source, j]
        low += share * unit[near[source, j], 0]
    base = np.float32(low - (spread - radius2 + slack[2]))
    for begin in range(0, n, 1024):
        end = min(begin + 1024, n)
        part = bound[begin:end]
        step = np.float32(delta * unit[source, 1])
        parent = rows[source][begin:end]
        for j in range(part.shape[0]):
            part[j] = base + step * np.float32(parent[j])
        for i in range(0, k, 2):
            other = near[source, i]
            step = np.float32((1.0 - delta) * weights[i] * unit[other, 1])
            parent = rows[other][begin:end]
            next_step = np.float32(0.0)
            if i + 1 < k:
                other = near[source, i + 1]
                next_step = np.float32((1.0 - delta) * weights[i + 1] * unit[other, 1])
            next_parent = rows[other][begin:end]
            for j in range(part.shape[0]):
                part[j] += step * np.float32(parent[j]) + next_step * np.float32(next_parent[j])
    # a parent's row holds no bound for the seed that the parent came from, so these are measured
    for j in range(k):
        seed = origin[near[source, j]]
        bound[seed] = _square(state.points, seed, state.new, number - n) * (1.0 - 1e-6)
    _pack(bound, source, rows, unit, number)
    origin[number] = source
    for j in range(n):
        flags[j] = bound[j] <= reach2[j]
    return _collect(flags, state.words, state.left)


@njit(**_INLINED)
def add_point(state, made, source, delta, weights, k, block):  # type: ignore[no-untyped-def]
    """Make the next sample from a seed and its weighted neighbors, and update lists and extremes.

    ``weights`` are scaled to sum 1. ``block`` are the seeds whose lists are updated where neither distances nor rows
    are kept; :func:`absorb_block` updates the others.
    """
    points, new, left = state.points, state.new, state.left
    n = points.shape[0]
    number = n + made
    radius2 = _make_point(state, made, source, delta, weights, k)
    _lower_least(state, made, source, radius2)
    if source >= n:  # no later sample has an original as its seed
        return
    if state.rows.shape[0] > 0:
        count = _left_by_mixture(state, source, radius2, number, weights, k, delta)
    elif state.between.shape[0] > 0:
        count = _left_by_triangle(state, source, np.sqrt(radius2))
    else:
        count = block.shape[0]
        for j in range(count):
            left[j] = block[j]
    for j in range(count):
        seed = left[j]
        if seed != source:
            _offer(state, seed, _square(points, seed, new, made), number)
    _offer(state, source, radius2, number)


@njit(**_JIT)
def grow(state, sources, deltas, begin, end, k_max, k_min, rule, kind, block):  # type: ignore[no-untyped-def]
    """Make the samples number ``begin`` to ``end`` of one class (thesis Algorithm 5, lines 11 to 20)."""
    n = state.points.shape[0]
    for made in range(begin, end):
        source = sources[made]
        k = choose_neighbors(state, made, source, k_max, k_min, rule)
        _weigh(state.weights, state.near2[min(source, n)], k, kind)
        add_point(state, made, source, deltas[made], state.weights, k, block)


@njit(fastmath=_FAST, **_JIT)
def fill_rows(state, between):  # type: ignore[no-untyped-def]
    """Fill the byte rows of the originals from the lower bounds of their distances.

    The rows may share the memory of ``between``: a row is written after all distances up to there have been read.
    """
    bound = state.bound
    n = bound.shape[0]
    for number in range(n):
        apart = between[number]
        for j in range(n):
            distance = max(apart[j], np.float32(0.0))
            bound[j] = distance * distance * np.float32(1.0 - 1e-6)
        _pack(bound, number, state.rows, state.unit, number)


@njit(fastmath=_FAST, **_JIT)
def absorb_block(state, product, made, block):  # type: ignore[no-untyped-def]
    """Offer the samples from number ``made`` on to the seeds outside a block, from their products with all."""
    points, new, norm2, center = state.points, state.new, state.norm2, state.center
    n, d = points.shape
    member = state.member
    member[:] = False
    for j in range(block.shape[0]):
        member[block[j]] = True
    two = np.float32(2.0)
    for row in range(product.shape[0]):
        own = np.float32(-state.slack[1])
        point, inner = new[made + row], product[row]
        for column in range(d):
            centered = np.float32(point[column] - center[column])
            own += centered * centered
        flags = state.flags
        for seed in range(n):
            flags[seed] = own + norm2[seed] - two * inner[seed] <= state.reach2[seed]
        for j in range(_collect(flags, state.words, state.left)):
            seed = state.left[j]
            if not member[seed]:
                _offer(state, seed, _square(points, seed, new, made + row), n + made + row)
