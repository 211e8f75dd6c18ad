"""Growth of one class by the compiled kernel, and the choice between its lower bounds."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from counterpoise.balance.features import _ados_kernel as kernel
from counterpoise.balance.features._growth import one_blas_thread
from counterpoise.exceptions import InputError

WeightFunction = Callable[[NDArray[np.float64]], NDArray[np.float64]]

_BLOCK = 128
"""Samples per matrix product where the distances between seeds are not kept."""
_THREADED = 2000
"""Products of so many points with each other are worth several threads."""
_NO_BLOCK = np.empty(0, dtype=np.int64)


def grow_class(
    points: NDArray[Any],
    new: NDArray[Any],
    seeds: NDArray[np.int64],
    sources: NDArray[np.int64],
    deltas: NDArray[np.float64],
    *,
    k_max: int,
    k_min: int,
    k_rule: str,
    weights: str | WeightFunction,
    work_bytes: float = 200e6,
    bound: str = "auto",
) -> None:
    """Write a class's synthetic samples into ``new``, all of the points' type, float32 or float64.

    ``seeds`` are indices of points. ``sources`` is the seed of each sample; from n on, the sample number
    ``source - n``. ``deltas`` is the seed's share in each sample. The result depends neither on ``work_bytes``, the
    most memory for stored distances, nor on ``bound``: "auto", or for tests and timings "triangle", "mixture" or
    "product".
    """
    n, m = points.shape[0], new.shape[0]
    if bound == "auto" and (4 * n * n > work_bytes / 2 or (n + m) * n > 0.65 * work_bytes):
        bound = "product"
    # the byte rows of the mixture bound reuse the memory of the distances, as fresh memory costs time
    store = np.empty(0 if bound == "product" else n * max(4 * n, n + m), dtype=np.uint8)
    between = store[: 0 if bound == "product" else 4 * n * n].view(np.float32).reshape(-1, n)
    # small products on several threads wait for each other, longer on a busy machine
    with one_blas_thread() if n < _THREADED else nullcontext():
        state = kernel.make_state(points, new, seeds, k_max, between)
        _start(state)
    step = _Step(state, sources, deltas, (k_max, k_min, kernel.RULES[k_rule]), weights)
    if bound == "product":
        _with_products(step)
        return
    if bound == "mixture" or (bound == "auto" and _mixture_pays(state, seeds)):
        _replace_distances(step, store)
    step(0, m)


def _mixture_pays(state: kernel.State, seeds: NDArray[np.int64]) -> bool:
    """Compare the costs of a sample by the triangle and the mixture bound, in rough processor cycles."""
    (n, d), k_max = state.points.shape, state.near2.shape[1]
    some = seeds[:: max(1, seeds.size // 16)]
    # a sample is about half as far from its seed as the farthest in the seed's list
    left = np.count_nonzero(state.between[some] <= state.reach + 0.5 * state.reach[some, None]) / some.size
    # the triangle leaves fewer and fewer, as the lists reach less far in a class that grows
    fewer = 5 + 0.1 * state.new.shape[0] / n
    return (left - k_max) * (20 + 0.3 * d) > fewer * (500 + 0.3 * n * (k_max + 1))


@dataclass
class _Step:
    """Growth from one number of samples to another, with built-in weights or a callable's."""

    state: kernel.State
    sources: NDArray[np.int64]
    deltas: NDArray[np.float64]
    rule: tuple[int, int, int]
    weights: str | WeightFunction

    def __call__(self, begin: int, end: int, block: NDArray[np.int64] = _NO_BLOCK) -> None:
        state = self.state
        if isinstance(self.weights, str):
            kind = kernel.KINDS[self.weights]
            kernel.grow(state, self.sources, self.deltas, begin, end, *self.rule, kind, block)
            return
        for made in range(begin, end):
            source = int(self.sources[made])
            k = kernel.choose_neighbors(state, made, source, *self.rule)
            squares = state.near2[min(source, state.points.shape[0]), :k]
            state.weights[:k] = _checked(self.weights(np.sqrt(squares)), k)
            state.weights[k:] = 0.0
            kernel.add_point(state, made, source, float(self.deltas[made]), state.weights, k, block)


def _checked(weights: Any, k: int) -> NDArray[np.float64]:
    w = np.array(weights, dtype=np.float64)
    if w.shape != (k,) or not np.all(np.isfinite(w)) or np.any(w < 0) or not w.sum() > 0:
        raise InputError(
            f"the weights callable must return {k} finite numbers, none below 0 and not all 0, found {w.tolist()}"
        )
    return w


def _start(state: kernel.State) -> None:
    """Fill the first lists, from products of the originals with each other, in blocks where they are not kept."""
    n = state.points.shape[0]
    kept = state.between.shape[0] > 0
    rows = n if kept else max(1, min(n, int(16e6 / (4 * n))))
    product = state.between if kept else np.empty((rows, n), dtype=np.float32)
    for first in range(0, n, rows):
        part = product[: min(rows, n - first)]
        np.matmul(state.rough[first : first + rows], state.rough.T, out=part)
        kernel.start_rows(state, part, first)


def _replace_distances(step: _Step, store: NDArray[np.uint8]) -> None:
    """Replace the distances between the originals by the byte rows of the mixture bound."""
    n, m = step.state.points.shape[0], step.sources.size
    between = step.state.between
    step.state = step.state._replace(
        rows=store[: (n + m) * n].reshape(n + m, n),
        unit=np.empty((n + m, 2), dtype=np.float32),
        origin=np.concatenate([np.arange(n), step.sources]),
        between=np.empty((0, n), dtype=np.float32),
    )
    kernel.fill_rows(step.state, between)


def _with_products(step: _Step) -> None:
    """Grow block by block: inside a block only its own seeds' lists are updated, all others after the block."""
    state, m = step.state, step.sources.size
    n = state.points.shape[0]
    product = np.empty((_BLOCK, n), dtype=np.float32)
    for begin in range(0, m, _BLOCK):
        end = min(m, begin + _BLOCK)
        block = np.unique(step.sources[begin:end])
        block = block[block < n]
        step(begin, end, block)
        if block.size:  # otherwise no original is a seed any more
            rough = (state.new[begin:end] - state.center).astype(np.float32, copy=False)
            part = np.matmul(rough, state.rough.T, out=product[: end - begin])
            kernel.absorb_block(state, part, begin, block)
