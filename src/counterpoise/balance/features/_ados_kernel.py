"""The compiled heart of ADOS: one class grown point by point, without a new distance matrix at every step.

What makes it cheap, and exact:

* only points of the class itself are seeds, so only each seed's ``k_max`` nearest points are kept, sorted;
* every new point is a convex combination of older ones, so the greatest distance never changes;
* the least positive distance can only fall. A point closer than that to a new point is about as far from the new
  point's seed as the new point is, so it stands in the seed's list, unless the new point is at the list's very end.
  Then it is sought in the nearby cells of a grid over two directions, whose cells shrink with that distance, for the
  projections on any direction are at most as far apart as the points;
* a new point enters few seeds' lists. Which ones it cannot enter is known from one of three lower bounds:

  - *triangle*: its distance from its own seed, and that seed's distances from the others, known from the start;
  - *mixture*: for p = sum_j a_j y_j with sum_j a_j = 1, ``|p - t|^2 = sum_j a_j |y_j - t|^2 - V`` with one V for all
    t. With lower bounds of the parents' squared distances from all seeds, kept in one byte each, this is a lower
    bound of the new point's, whatever the number of features. On noise in many dimensions the triangle leaves
    half, this some per thousand. Seeds whose turn is not near are told of the new points later, many at once;
  - *product*: where classes are so large that no seed-seed distances can be kept, the new points of a block are
    held against all seeds in one matrix product; only inside the block the seeds' lists are kept up to date at once.

* what these leave is measured in single precision with a margin for its rounding, and what that leaves in double
  precision from the stored coordinates. Only the latter decides anything: order, extremes, how many neighbours.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = [
    "KINDS",
    "RULES",
    "State",
    "absorb_block",
    "add_point",
    "choose_neighbours",
    "fill_rows",
    "grow",
    "make_state",
    "mirror",
    "start_rows",
]

RULES = {"linear": 0, "printed": 1}
KINDS = {"exp": 0, "uniform": 1, "rbf": 2, "wedge": 3}

_WAIT = 64
"""For how many new points most seeds may wait to be told of them; one bit each."""
_TILE = 64
"""Rows and columns of a matrix that are copied at a time: 16 kB in single precision."""
_LANES = 8
"""Weights are computed in whole groups of so many, for loops over fewer are not vectorised."""
_SERIES = tuple(np.exp(-0.5) / math.factorial(power) for power in range(14, -1, -1))
"""Of ``exp(x - 0.5)``, highest power first; the next term is below 1e-16 for x from -0.5 to 0.5."""

_FAST: Any = {"reassoc", "contract", "nsz"}
# _nrt is not documented by numba, but with its reference counts, one for each array of a state, growth takes 2 to 3
# times as long; the kernel makes no arrays, so there is nothing to count
_JIT: dict[str, Any] = {"nogil": True, "cache": True, "_nrt": False, "error_model": "numpy"}
# a call passes every array of a state anew, in seven words each: more work than what most of these functions do
_INLINED: dict[str, Any] = {**_JIT, "forceinline": True}


class State(NamedTuple):
    """All that a class's growth remembers between two points; the arrays are written in place.

    Point number j is ``points[j]``, or ``new[j - n]`` from the n originals on.

    Attributes
    ----------
    points, new : (n, d), (m, d)
        The originals, and the room for the new points.
    near2, near, filled : (n + 1, k_max), (n + 1, k_max), (n,)
        For each seed its nearest points, ascending: squared distances and numbers, and how many there are. The
        last row is for a seed that is not an original.
    reach, reach2 : (n,), float32
        For each seed upper bounds of the distance at which a point enters its list, and of its square in the
        rounded coordinates; -1 for points that are no seeds, infinite while the list has room.
    extreme : (2,)
        The least positive and the greatest squared distance.
    along, head, after, chained, grid : (n + m, 2), (cells,), (n + m,), (1,), (2,)
        The points' projections on ``axes``; chains of the points in each cell of a hashed grid over them (-1 ends a
        chain, -2 stands for a point in none, one that equals another); how many points have been put there, the rest
        waits until it is needed; the width of a cell, and the rounding error of a projection.
    axes : (2, d)
        Two orthogonal directions, of length 1 at most.
    centre, rough, norm2 : (d,), (n, d), (n,), float32
        The originals relative to their centre, rounded, and their squared norms.
    coarse, shift : (n, d), (d,), float32
        The coordinates for coarse distances, and what they lack: the originals themselves and 0 where these are of
        single precision, so that the exact distance finds them in the cache; else as ``rough``, and the centre.
    between : (n, n), float32
        Lower bounds of the distances between originals; empty where they are too many.
    rows, unit, origin : (n + m, n), uint8, (n + m, 2), float32, (n + m,)
        Lower bounds of the squared distances of all points from the originals, as so many steps above a least one;
        these two; and for each point the original whose column says nothing: a new point's seed, or itself. Empty
        unless the mixture bound is used.
    slack : (4,)
        Bounds of rounding errors: of a distance in rounded coordinates, of a square in a product, of a square in a
        mixture, and the relative one of a square in rounded coordinates.
    mixed, rounded, bound, left, flags, words : (d,), (d,), (n,), (n,), (n up to the next 8,), (n / 8,)
        Scratch of the point being made; ``words`` are the flags, eight in one.
    best, weights : (k_max,), float32, (k_max up to the next 8,)
        Scratch for the least squares of a row, and for the neighbours' weights.
    member, waiting : (n,), bool, (n,), uint64
        Which seeds are told of a new point at once, and for the others the new points, one bit each, that they are to
        be told of later.
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
    head: NDArray[np.int32]
    after: NDArray[np.int32]
    chained: NDArray[np.int64]
    grid: NDArray[np.float64]
    axes: NDArray[np.float64]
    centre: NDArray[np.float32]
    rough: NDArray[np.float32]
    coarse: NDArray[np.float32]
    shift: NDArray[np.float32]
    norm2: NDArray[np.float32]
    between: NDArray[np.float32]
    rows: NDArray[np.uint8]
    unit: NDArray[np.float32]
    origin: NDArray[np.int64]
    slack: NDArray[np.float64]
    mixed: NDArray[np.float64]
    rounded: NDArray[np.float32]
    bound: NDArray[np.float32]
    left: NDArray[np.int64]
    flags: NDArray[np.uint8]
    words: NDArray[np.uint64]
    best: NDArray[np.float32]
    weights: NDArray[np.float64]
    member: NDArray[np.bool_]
    waiting: NDArray[np.uint64]


def make_state(
    points: NDArray[Any],
    new: NDArray[Any],
    seeds: NDArray[np.int64],
    k_max: int,
    between: NDArray[np.float32],
) -> State:
    """Room for the growth of one class, and everything that is fixed from the start but the first distances.

    Parameters
    ----------
    points : ndarray of shape (n, d), float32 or float64
        The class's points, at least two.
    new : ndarray of shape (m, d), same dtype
        Where the new points go.
    seeds : ndarray of shape (n_seeds,), int64
        Which of the points are seeds.
    k_max : int
        The most neighbours a seed can have.
    between : ndarray of shape (n, n) or (0, n), float32
        Room for the distances between the originals, if they are to be kept.
    """
    n, d = points.shape
    m = new.shape[0]
    centre = points.mean(axis=0, dtype=np.float64).astype(np.float32)
    rough = (points - centre).astype(np.float32, copy=False)
    norm2 = np.einsum("ij,ij->i", rough, rough)
    radius = float(np.sqrt(norm2.max()))
    axes = np.zeros((2, d))
    axes[: min(2, d)] = _directions(rough, min(2, d)).T / (1 + 1e-6)
    along = np.empty((n + m, 2))
    np.matmul(points, axes.T, out=along[:n])
    norm = float(np.sqrt(np.einsum("ij,ij->i", points, points, dtype=np.float64).max()))
    reach = np.full(n, -1.0, dtype=np.float32)
    reach[seeds] = np.inf
    words = np.zeros((n + 7) // 8, dtype=np.uint64)
    eps = 2.0**-24
    # a new point's own rounding moves it off the mixture it is meant to be, by this much
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
        head=np.full(1 << int(2 * (n + m)).bit_length(), -1, dtype=np.int32),
        after=np.full(n + m, -2, dtype=np.int32),
        chained=np.array([n]),
        grid=np.array([np.inf, max(4e-16 * (d + 4) * norm, np.finfo(float).tiny)]),
        axes=axes,
        centre=centre,
        rough=rough,
        coarse=points if points.dtype == np.float32 else rough,
        shift=np.zeros_like(centre) if points.dtype == np.float32 else centre,
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
                1e-6 + 2 * d * eps,
            ]
        ),
        mixed=np.empty(d),
        rounded=np.empty(d, dtype=np.float32),
        bound=np.empty(n, dtype=np.float32),
        left=np.empty(n + 8, dtype=np.int64),
        flags=words.view(np.uint8),
        words=words,
        best=np.empty(k_max, dtype=np.float32),
        weights=np.zeros(-(-k_max // _LANES) * _LANES),
        member=np.ones(n, dtype=np.bool_),
        waiting=np.zeros(n, dtype=np.uint64),
    )


def _directions(rough: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """Orthonormal directions along which the points spread widely: a power iteration from a fixed start."""
    d = rough.shape[1]
    sample = rough[:: max(1, rough.shape[0] // 2000)]
    axes = np.cos(np.arange(1, d + 1)[:, None] * np.arange(count) * 1.7).astype(np.float32)
    spread = sample.T @ (sample @ axes)
    return np.linalg.qr(spread.astype(np.float64))[0].astype(np.float32)


@njit(fastmath=_FAST, **_INLINED)
def _square(a, i, b, j):  # type: ignore[no-untyped-def]
    """Squared distance of row i of a from row j of b, in double precision."""
    total = 0.0
    one, other = a[i], b[j]  # loops over rows are vectorised, loops over columns of a matrix are not
    for column in range(one.shape[0]):
        difference = np.float64(one[column]) - np.float64(other[column])
        total += difference * difference
    return total


@njit(**_INLINED)
def _insert(near2, near, i, count, square, number):  # type: ignore[no-untyped-def]
    """Put a point into the i-th sorted list, behind those equally near; return the list's new length."""
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
def _offer(near2, near, filled, reach, reach2, slack, i, square, number):  # type: ignore[no-untyped-def]
    """Offer a point to a seed's list, and note how near the next one must be."""
    filled[i] = _insert(near2, near, i, filled[i], square, number)
    if filled[i] == near2.shape[1]:
        farthest = np.sqrt(near2[i, near2.shape[1] - 1])
        reach[i] = farthest * (1.0 + 1e-6)
        rough = (farthest + slack[0]) * (1.0 + slack[3])
        reach2[i] = rough * rough * (1.0 + 1e-6)


@njit(**_JIT)
def _cell(across, down, n_cells):  # type: ignore[no-untyped-def]
    return (across * 73856093 ^ down * 19349663) & (n_cells - 1)


@njit(**_JIT)
def _chain(along, head, after, width, number):  # type: ignore[no-untyped-def]
    """Put a point into its cell of the grid over the two projections."""
    across, down = int(np.floor(along[number, 0] / width)), int(np.floor(along[number, 1] / width))
    cell = _cell(across, down, head.shape[0])
    after[number] = head[cell]
    head[cell] = number


@njit(**_JIT)
def _refine(along, head, after, grid, reach, count):  # type: ignore[no-untyped-def]
    """Make the cells narrower, now that closer points have been found, and chain all points anew."""
    grid[0] = 2.0 * reach
    head[:] = -1
    for number in range(count):
        if after[number] != -2:
            _chain(along, head, after, grid[0], number)


@njit(**_INLINED)
def _collect(flags, words, left):  # type: ignore[no-untyped-def]
    """Write the places of the flags that are set to ``left``, and return how many there are."""
    count = 0
    for word in range(words.shape[0]):
        if words[word] != 0:
            for place in range(8 * word, 8 * word + 8):
                left[count] = place
                count += flags[place]
    return count


@njit(**_JIT)
def mirror(square):  # type: ignore[no-untyped-def]
    """Copy what is below the diagonal of a square matrix to above it, tile by tile, for columns are far apart."""
    n = square.shape[0]
    for top in range(0, n, _TILE):
        for left in range(top, n, _TILE):
            for row in range(top, min(top + _TILE, n)):
                for column in range(max(row + 1, left), min(left + _TILE, n)):
                    square[row, column] = square[column, row]


@njit(fastmath=_FAST, **_JIT)
def start_rows(state, product, first):  # type: ignore[no-untyped-def]
    """Fill the lists of some originals, and the extremes, from their products with all originals.

    ``product`` holds the inner products of the rounded originals ``first``, ``first + 1``, ... with all rounded
    originals; it is overwritten by lower bounds of their distances.
    """
    points, norm2, extreme = state.points, state.norm2, state.extreme
    near2, near, filled, reach, reach2 = state.near2, state.near, state.filled, state.reach, state.reach2
    slack, after = state.slack, state.after
    flags, words, left = state.flags, state.words, state.left
    n = points.shape[0]
    k_max = near2.shape[1]
    error = np.float32(slack[1])
    twice = np.float32(2.0 * slack[0])
    best = state.best
    for row in range(product.shape[0]):
        i = first + row
        own = norm2[i]
        squares = product[row]
        for j in range(n):
            squares[j] = own + norm2[j] - np.float32(2.0) * squares[j]
        squares[i] = np.inf
        after[i] = -1
        # the k_max-th least of the rounded squares, block by block
        edge = np.float32(-1.0)
        if reach[i] >= 0:
            best[:] = np.inf
            last = best[k_max - 1]
            for begin in range(0, n, 16):
                end = min(begin + 16, n)
                smaller = 0
                for square in squares[begin:end]:
                    smaller += square < last
                if smaller > 0:
                    for j in range(begin, end):
                        square = squares[j]
                        if square < last:
                            place = k_max - 1
                            while place > 0 and best[place - 1] > square:
                                best[place] = best[place - 1]
                                place -= 1
                            best[place] = square
                            last = best[k_max - 1]
            edge = last + np.float32(2.0) * error
        edge = max(edge, np.float32(extreme[0]) + error)
        rim = np.float32(extreme[1]) - error
        for j in range(n):
            flags[j] = (squares[j] <= edge) | (squares[j] >= rim)
        for count in range(_collect(flags, words, left)):
            j = left[count]
            if j == i or not (squares[j] <= edge or squares[j] >= rim):
                continue
            exact = _square(points, i, points, j)
            if exact > 0.0:
                extreme[0] = min(extreme[0], exact)
                if exact > extreme[1]:
                    extreme[1] = exact
                    rim = np.float32(exact) - error
            elif j < i:
                after[i] = -2
            if reach[i] >= 0 and squares[j] <= edge:
                _offer(near2, near, filled, reach, reach2, slack, i, exact, j)
        for j in range(n):
            below = max(squares[j] - error, np.float32(0.0))
            squares[j] = np.sqrt(below) * np.float32(1.0 - 1e-6) - twice
        squares[i] = 0.0


@njit(**_JIT)
def _scan(points, new, near2, near, made, source):  # type: ignore[no-untyped-def]
    """Fill the row behind the seeds' lists with the nearest points of a new point; return how many there are."""
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
    """How many neighbours a seed gets, from the squared distance of its nearest (thesis Algorithm 4)."""
    nearest, least, greatest = np.sqrt(square), np.sqrt(extreme[0]), np.sqrt(extreme[1])
    if nearest <= least:
        return k_max if rule == 0 else k_min
    if nearest >= greatest:
        return k_min if rule == 0 else k_max
    return int(np.ceil(k_max - (k_max - k_min) * (nearest - least) / (greatest - least)))


@njit(**_INLINED)
def choose_neighbours(state, made, source, k_max, k_min, rule):  # type: ignore[no-untyped-def]
    """Find the nearest points of a seed and return how many of them to use.

    They stand in the seed's list, or in the row behind the seeds' lists where the seed is a new point.
    """
    n = state.points.shape[0]
    if source < n:
        count = state.filled[source]
    else:
        count = _scan(state.points, state.new, state.near2, state.near, made, source)
    return min(count, _how_many(state.near2[min(source, n), 0], state.extreme, k_max, k_min, rule))


@njit(fastmath=_FAST, **_INLINED)
def _exp_minus(ratio):  # type: ignore[no-untyped-def]
    """``exp(-ratio)`` for ratios from 0 to 1: a series in double precision, for a call of exp is not vectorised."""
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
    # all places at once, also those behind the k-th: one pass of whole vectors
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
    """Compute the new point (thesis Eq. 4.5 to 4.7), and its coordinates for coarse distances.

    Return its squared distance from the seed.
    """
    points, new, mixed, rounded, shift = state.points, state.new, state.mixed, state.rounded, state.shift
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
    # four at a time: a quarter of the passes over the sum
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
        rounded[column] = point[column] - shift[column]
        difference = np.float64(point[column]) - np.float64(seed[column])
        radius2 += difference * difference
    return radius2


@njit(fastmath=_FAST, **_INLINED)
def _lower_least(state, made, source, radius2):  # type: ignore[no-untyped-def]
    """Lower the least positive distance where the new point makes a closer pair.

    A point q at distance r from the seed is at least ``abs(r - sqrt(radius2))`` from the new point. So where the seed's
    list reaches farther than the new point by more than the least distance, all that can be closer stand in that list.
    """
    points, new, near2, near, extreme = state.points, state.new, state.near2, state.near, state.extreme
    n = points.shape[0]
    number = n + made
    if radius2 == 0.0:  # what is close to the seed is close to its twin
        return
    extreme[0] = min(extreme[0], radius2)
    row = min(source, n)
    k_max = near2.shape[1]
    count = state.filled[source] if source < n else min(k_max, number - 1)
    radius = np.sqrt(radius2)
    least = np.sqrt(extreme[0]) + 1e-150  # squares of less than that lose digits
    farther = radius + least
    high = farther * farther * (1.0 + 1e-9)
    if count == k_max and high >= near2[row, k_max - 1]:
        _search_cells(state, made)
        return
    nearer = max(radius - least, 0.0)
    low = nearer * nearer * (1.0 - 1e-9)
    for j in range(count):
        if low <= near2[row, j] <= high:
            other = near[row, j]
            if other < n:
                square = _square(new, made, points, other)
            else:
                square = _square(new, made, new, other - n)
            if square == 0.0:
                return
            extreme[0] = min(extreme[0], square)
    state.after[number] = -1


@njit(fastmath=_FAST, **_JIT)
def _place(state, number):  # type: ignore[no-untyped-def]
    """Project a new point on the two axes."""
    along, axis, other_axis = state.along, state.axes[0], state.axes[1]
    point = state.new[number - state.points.shape[0]]
    first, second = 0.0, 0.0
    for column in range(point.shape[0]):
        first += axis[column] * point[column]
        second += other_axis[column] * point[column]
    along[number, 0] = first
    along[number, 1] = second


@njit(**_JIT)
def _search_cells(state, made):  # type: ignore[no-untyped-def]
    """Lower the least positive distance by the points whose projections are near, and mark the new point for a cell."""
    points, new, extreme = state.points, state.new, state.extreme
    along, head, after, grid, chained = state.along, state.head, state.after, state.grid, state.chained
    n = points.shape[0]
    number = n + made
    # only few points need the cells, so the points made since the last one that did are put there now
    for earlier in range(chained[0], number):
        if after[earlier] != -2:
            _place(state, earlier)
            _chain(along, head, after, grid[0], earlier)
    chained[0] = number
    _place(state, number)
    first, second = along[number, 0], along[number, 1]
    reach = np.sqrt(extreme[0]) * (1.0 + 1e-9) + grid[1]
    if 4.0 * reach < grid[0]:
        _refine(along, head, after, grid, reach, number)
    width = grid[0]
    for across in range(int(np.floor((first - reach) / width)), int(np.floor((first + reach) / width)) + 1):
        for down in range(
            int(np.floor((second - reach) / width)), int(np.floor((second + reach) / width)) + 1
        ):
            other = head[_cell(across, down, head.shape[0])]
            while other >= 0:
                if abs(along[other, 0] - first) <= reach and abs(along[other, 1] - second) <= reach:
                    if other < n:
                        square = _square(new, made, points, other)
                    else:
                        square = _square(new, made, new, other - n)
                    if square == 0.0:
                        return
                    extreme[0] = min(extreme[0], square)
                other = after[other]
    after[number] = -1


@njit(fastmath=_FAST, **_INLINED)
def _rough_square(coarse, rounded, i):  # type: ignore[no-untyped-def]
    """Squared distance of the new point from an original in single precision."""
    total = np.float32(0.0)
    seed = coarse[i]
    for column in range(seed.shape[0]):
        difference = seed[column] - rounded[column]
        total += difference * difference
    return total


@njit(fastmath=_FAST, **_INLINED)
def _rough_square_to(state, seed, made):  # type: ignore[no-untyped-def]
    """The same for an earlier new point, whose rounded coordinates have been overwritten."""
    total = np.float32(0.0)
    place, point, shift = state.coarse[seed], state.new[made], state.shift
    for column in range(place.shape[0]):
        difference = place[column] - np.float32(point[column] - shift[column])
        total += difference * difference
    return total


@njit(fastmath=_FAST, **_INLINED)
def _left_by_triangle(state, source, radius):  # type: ignore[no-untyped-def]
    """Write to ``left`` the seeds that the triangle inequality cannot rule out, and return how many there are."""
    reach, flags = state.reach, state.flags
    radius = np.float32(radius * (1.0 + 1e-6))
    apart = state.between[source]
    for seed in range(reach.shape[0]):
        flags[seed] = apart[seed] <= radius + reach[seed]
    return _collect(flags, state.words, state.left)


@njit(**_INLINED)
def _left_by_measure(state, source, count):  # type: ignore[no-untyped-def]
    """Of the first ``count`` seeds in ``left`` but the new point's own, keep those that it may be near enough to."""
    reach2, left = state.reach2, state.left
    remaining = 0
    for j in range(count):  # without a branch, so that the next seeds are fetched meanwhile
        seed = left[j]
        left[remaining] = seed
        remaining += (_rough_square(state.coarse, state.rounded, seed) <= reach2[seed]) & (seed != source)
    return remaining


# without "reassoc", by which the product with the inverse would become a division again
@njit(fastmath={"contract", "nsz", "nnan"}, **_INLINED)
def _pack(bound, own, rows, unit, number):  # type: ignore[no-untyped-def]
    """Keep a point's bounds as bytes between their least and greatest; its own seed's column counts for nothing."""
    n = bound.shape[0]
    bound[own] = bound[own - 1] if own > 0 else bound[n - 1]
    # floats from 0 on are in the order of their bits, and only of whole numbers the extremes are vectorised
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
    """Write to ``left`` the seeds that the mixture bound cannot rule out, and keep the bound as the point's row."""
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
    # a parent's row says nothing about the seed that the parent came from, so these are measured
    for j in range(k):
        seed = origin[near[source, j]]
        distance = np.sqrt(_rough_square(state.coarse, state.rounded, seed)) - slack[0]
        bound[seed] = max(distance, 0.0) ** 2 * (1.0 - slack[3])
    _pack(bound, source, rows, unit, number)
    origin[number] = source
    for j in range(n):
        flags[j] = bound[j] <= reach2[j]
    return _collect(flags, state.words, state.left)


@njit(**_INLINED)
def add_point(state, made, source, delta, weights, k, block):  # type: ignore[no-untyped-def]
    """Make the next point from a seed and its weighted neighbours, and let everything know of it.

    ``weights`` are scaled to sum 1 on the way. ``block`` are the seeds to tell now where no distances between the
    originals are kept; the others learn of it from :func:`absorb_block`.
    """
    points, new, near2, near, filled = state.points, state.new, state.near2, state.near, state.filled
    reach, reach2, slack, left = state.reach, state.reach2, state.slack, state.left
    n = points.shape[0]
    number = n + made
    radius2 = _make_point(state, made, source, delta, weights, k)
    _lower_least(state, made, source, radius2)
    if source >= n:  # all original seeds have had their turn
        return
    if state.rows.shape[0] > 0:
        count = _left_by_mixture(state, source, radius2, number, weights, k, delta)
        count = _put_off(state, made, count)
    elif state.between.shape[0] > 0:
        count = _left_by_triangle(state, source, np.sqrt(radius2))
    else:
        count = block.shape[0]
        for j in range(count):
            left[j] = block[j]
    for j in range(_left_by_measure(state, source, count)):
        seed = left[j]
        _offer(near2, near, filled, reach, reach2, slack, seed, _square(points, seed, new, made), number)
    _offer(near2, near, filled, reach, reach2, slack, source, radius2, number)


@njit(**_INLINED)
def _put_off(state, made, count):  # type: ignore[no-untyped-def]
    """Of the first ``count`` seeds in ``left``, keep those to tell now, and note the new point for the others."""
    member, waiting, left = state.member, state.waiting, state.left
    bit = np.uint64(1) << np.uint64(made % _WAIT)
    remaining = 0
    for j in range(count):
        seed = left[j]
        left[remaining] = seed
        remaining += member[seed]
        waiting[seed] |= np.uint64(0) if member[seed] else bit
    return remaining


@njit(**_JIT)
def _tell_waiting(state, begin, end):  # type: ignore[no-untyped-def]
    """Offer new points to the seeds that they were noted for, seed by seed, so that each is fetched only once."""
    points, new, waiting, reach2 = state.points, state.new, state.waiting, state.reach2
    n = points.shape[0]
    for seed in range(n):
        if waiting[seed] == 0:
            continue
        for made in range(begin, end):
            asked = waiting[seed] >> np.uint64(made % _WAIT) & np.uint64(1)
            if asked and _rough_square_to(state, seed, made) <= reach2[seed]:
                _offer(
                    state.near2, state.near, state.filled, state.reach, reach2, state.slack, seed,
                    _square(points, seed, new, made), n + made,
                )  # fmt: skip
        waiting[seed] = 0


@njit(**_JIT)
def grow(state, sources, deltas, begin, end, k_max, k_min, rule, kind, block):  # type: ignore[no-untyped-def]
    """Make the new points number ``begin`` to ``end`` of one class (thesis Algorithm 5, lines 11 to 20)."""
    near2, weights, member = state.near2, state.weights, state.member
    n = state.points.shape[0]
    for first in range(begin, end, _WAIT):
        last = min(first + _WAIT, end)
        if state.rows.shape[0] > 0:  # only the seeds of these points need to know of them at once
            member[:] = False
            for made in range(first, last):
                member[min(sources[made], n - 1)] = True
        for made in range(first, last):
            source = sources[made]
            k = choose_neighbours(state, made, source, k_max, k_min, rule)
            _weigh(weights, near2[min(source, n)], k, kind)
            add_point(state, made, source, deltas[made], weights, k, block)
        if state.rows.shape[0] > 0:
            _tell_waiting(state, first, last)


@njit(fastmath=_FAST, **_JIT)
def fill_rows(state, between):  # type: ignore[no-untyped-def]
    """Fill the byte rows of the originals from the lower bounds of their distances.

    The rows may lie in the memory of ``between``: a row is written after all distances up to there have been read.
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
    """Offer the new points from number ``made`` on to the seeds outside a block, from their products with all."""
    points, new, norm2, rounded = state.points, state.new, state.norm2, state.rounded
    centre, shift = state.centre, state.shift
    near2, near, filled, reach, reach2 = state.near2, state.near, state.filled, state.reach, state.reach2
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
            rounded[column] = point[column] - shift[column]
            centred = np.float32(point[column] - centre[column])
            own += centred * centred
        flags = state.flags
        for seed in range(n):
            flags[seed] = own + norm2[seed] - two * inner[seed] <= reach2[seed]
        for j in range(_collect(flags, state.words, state.left)):
            seed = state.left[j]
            if not member[seed] and _rough_square(state.coarse, rounded, seed) <= reach2[seed]:
                square = _square(points, seed, new, made + row)
                _offer(near2, near, filled, reach, reach2, state.slack, seed, square, n + made + row)
