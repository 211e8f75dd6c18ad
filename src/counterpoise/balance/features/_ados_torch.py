"""ADOS on tensors: the points stay on their device, and equal those of the compiled kernel.

The samples of a block are made one after the other, each from the lists of the block's seeds and from its distances
to these. All other lists are updated after the block: one matrix product rules out nearly all pairs of a sample and a
seed, the others are measured in double precision. Only numbers reach the processor: the classes' counts, how many
pairs a block leaves, whether its lists settle the least distance, with ``border`` the number of danger points, and
with a callable for the weights the number of neighbors at every step.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from counterpoise.balance.features._ados_kernel import RULES
from counterpoise.exceptions import InputError

_BLOCK = 128
_PAIRS = 1 << 22
"""Coordinates of pairs that are measured at a time."""
_DIRECT = "donot_use_mm_for_euclid_dist"
_SHAPES: dict[str, Callable[[Tensor], Tensor]] = {
    "exp": lambda q: torch.exp(-q),
    "uniform": torch.ones_like,
    "rbf": lambda q: torch.exp(-q * q),
    "wedge": lambda q: 1.0 - 0.5 * q,
}


def grow_class(
    points: Tensor,
    new: Tensor,
    seeds: Tensor,
    order: NDArray[np.int64],
    deltas: NDArray[np.float64],
    *,
    k_max: int,
    k_min: int,
    k_rule: str,
    weights: str | Callable[[Tensor], Tensor],
) -> None:
    """Write a class's synthetic samples into ``new``.

    ``order`` is the index of each sample's seed among the seeds; from n_seeds on, the sample number
    ``order - n_seeds``. The other arguments are those of the compiled ``grow_class``.
    """
    growth = _Growth(points, new, deltas, (k_max, k_min, RULES[k_rule]), weights)
    first_of_new = int(np.count_nonzero(order < seeds.shape[0]))  # such seeds come last
    sources = seeds[torch.from_numpy(order[:first_of_new]).to(points.device)]
    for begin in range(0, first_of_new, _BLOCK):
        block = sources[begin : begin + _BLOCK]
        if not growth.make_block(begin, block, careful=False):
            growth.make_block(begin, block, careful=True)
        growth.absorb_block(begin, block.shape[0])
    for made in range(first_of_new, order.size):
        growth.make_from_new(made, int(order[made]) - seeds.shape[0])


class _Growth:
    """State of a class's growth: its points in double precision, the seeds' lists and the extremes."""

    def __init__(
        self,
        points: Tensor,
        new: Tensor,
        deltas: NDArray[np.float64],
        rule: tuple[int, int, int],
        weights: str | Callable[[Tensor], Tensor],
    ) -> None:
        n, d = points.shape
        self.n, self.new, self.rule, self.weights = n, new, rule, weights
        self.deltas = torch.from_numpy(deltas).to(points.device)
        self.everything = torch.empty((n + new.shape[0], d), dtype=torch.float64, device=points.device)
        self.everything[:n] = points
        self.lists, self.least, self.greatest = _start(self.everything[:n], rule[0])
        self.center = self.everything[:n].mean(dim=0)
        self.centered = self.everything[:n] - self.center
        self.norms = self.centered.square().sum(dim=1)
        self.margin = 16 * (d + 8) * torch.finfo(torch.float64).eps * self.norms.max()

    def make_block(self, begin: int, sources: Tensor, *, careful: bool) -> bool:
        """Make a block of samples; return whether the least distance is certain, else the block must be made again.

        A point closer to a sample than the least distance is in the seed's list, unless the sample is at the list's
        end. ``careful`` measures the distances from all points instead.
        """
        seeds = self.everything[sources]
        lists = self.lists[0][sources], self.lists[1][sources]
        inside = torch.full((sources.shape[0],) * 2, torch.inf, dtype=torch.float64, device=seeds.device)
        least, certain = self.least, torch.ones((), dtype=torch.bool, device=seeds.device)
        for row in range(sources.shape[0]):
            number = self.n + begin + row
            near, numbers = _merge(
                (lists[0][row : row + 1], lists[1][row : row + 1]),
                inside[:row, row : row + 1],
                self.n + begin,
            )
            point = self._make(begin + row, seeds[row], near[0], numbers[0], least)
            inside[row] = _distances(point, seeds)
            radius = inside[row, row]
            least = _least(least, inside[row, row : row + 1])
            if number - 1 > near.shape[1]:  # else the list holds all points
                settled = (radius == 0) | ((radius + least) * (1.0 + 1e-9) < near[0, -1])
                certain = certain & settled
            known = self.everything[:number] if careful else self.everything[numbers[0]]
            least = _least(least, _distances(point, known))
        if not careful and not bool(certain):
            return False
        self.least = least
        return True

    def absorb_block(self, begin: int, count: int) -> None:
        """Update all seeds' lists by a block of samples."""
        first = self.n + begin
        block = self.everything[first : first + count]
        centered = block - self.center
        squares = centered.square().sum(dim=1)[:, None] + self.norms - 2.0 * (centered @ self.centered.T)
        reach = self.lists[0][:, -1]
        pairs = (squares <= reach * reach * (1.0 + 1e-9) + self.margin).nonzero()
        apart = torch.full_like(squares, torch.inf)
        for part in pairs.split(max(1, _PAIRS // block.shape[1])):
            made, seed = part.unbind(dim=1)
            one, other = block[made][:, None], self.everything[seed][:, None]
            apart[made, seed] = torch.cdist(one, other, compute_mode=_DIRECT)[:, 0, 0]
        self.lists = _merge(self.lists, apart, first)

    def make_from_new(self, made: int, seed: int) -> None:
        """Make one sample whose seed is a synthetic sample, which has no list: all distances are measured."""
        source = self.n + seed
        apart = _distances(self.everything[source], self.everything[: self.n + made])
        apart[source] = torch.inf
        near, numbers = (part[: self.rule[0]] for part in torch.sort(apart, stable=True))
        point = self._make(made, self.everything[source], near, numbers, self.least)
        self.least = _least(self.least, _distances(point, self.everything[: self.n + made]))

    def _make(self, made: int, seed: Tensor, near: Tensor, numbers: Tensor, least: Tensor) -> Tensor:
        """Compute a sample (thesis Eq. 4.5 to 4.7), rounded as it is stored."""
        k = _how_many(near[0], least, self.greatest, *self.rule)
        share = _shares(near, k.clamp(max=min(near.shape[0], self.n + made - 1)), self.weights)
        mixed = share @ self.everything[numbers]
        self.new[made] = self.deltas[made] * seed + (1.0 - self.deltas[made]) * mixed
        self.everything[self.n + made] = self.new[made]
        return self.everything[self.n + made]


def _distances(point: Tensor, others: Tensor) -> Tensor:
    return torch.cdist(point[None], others, compute_mode=_DIRECT)[0]


def _least(least: Tensor, distances: Tensor) -> Tensor:
    return torch.minimum(least, torch.where(distances > 0, distances, torch.inf).min())


def _start(points: Tensor, k_max: int) -> tuple[tuple[Tensor, Tensor], Tensor, Tensor]:
    """Return each point's nearest points, and the least positive and the greatest distance, in blocks of rows."""
    n = points.shape[0]
    least = torch.full((), torch.inf, dtype=torch.float64, device=points.device)
    greatest = torch.zeros((), dtype=torch.float64, device=points.device)
    near = torch.full((n, k_max), torch.inf, dtype=torch.float64, device=points.device)
    numbers = torch.zeros((n, k_max), dtype=torch.int64, device=points.device)
    rows, width = max(1, int(8e6 / n)), min(n, k_max)
    for first in range(0, n, rows):
        apart = torch.cdist(points[first : first + rows], points, compute_mode=_DIRECT)
        greatest = torch.maximum(greatest, apart.max())
        own = torch.arange(apart.shape[0], device=points.device)
        apart[own, first + own] = torch.inf
        least = _least(least, apart)
        ordered, places = torch.sort(apart, dim=1, stable=True)
        near[first : first + rows, :width] = ordered[:, :width]
        numbers[first : first + rows, :width] = places[:, :width]
    return (near, numbers), least, greatest


def _merge(lists: tuple[Tensor, Tensor], block: Tensor, first: int) -> tuple[Tensor, Tensor]:
    """Return lists updated by the distances of samples number ``first`` on, one row of ``block`` each."""
    near, numbers = lists
    made = torch.arange(first, first + block.shape[0], device=near.device).expand(near.shape[0], -1)
    ordered, places = torch.sort(torch.cat([near, block.T], dim=1), dim=1, stable=True)
    everyone = torch.cat([numbers, made], dim=1)
    return ordered[:, : near.shape[1]], everyone.gather(1, places[:, : near.shape[1]])


def _how_many(nearest: Tensor, least: Tensor, greatest: Tensor, k_max: int, k_min: int, rule: int) -> Tensor:
    low, high = (k_max, k_min) if rule == 0 else (k_min, k_max)
    k = torch.ceil(k_max - (k_max - k_min) * (nearest - least) / (greatest - least))
    k = torch.where(nearest >= greatest, float(high), k)
    return torch.where(nearest <= least, float(low), k)


def _shares(near: Tensor, k: Tensor, weights: str | Callable[[Tensor], Tensor]) -> Tensor:
    """Return the neighbors' weights, summing to 1 and 0 behind the k-th."""
    used = torch.arange(near.shape[0], device=near.device) < k
    if callable(weights):
        raw = torch.zeros_like(near)
        found: Any = weights(near[used])
        if found.shape != near[used].shape or not bool(
            (found >= 0).all() & found.isfinite().all() & (found.sum() > 0)
        ):
            raise InputError(
                f"the weights callable must return {int(k)} finite numbers, none below 0 and not all 0, "
                f"found {found.tolist()}"
            )
        raw[used] = found.to(raw.dtype)
    else:
        distances = torch.where(used, near, 0.0)
        farthest = distances.max()
        ratio = torch.where(farthest > 0, distances / farthest, 0.0)
        raw = torch.where(used, _SHAPES[weights](ratio), 0.0)
    return raw / raw.sum()


def danger_points(rows: Tensor, X: Tensor, foreign: Tensor, m: int) -> Tensor:
    """Return the class's points of whose m nearest in X at least half, but not all, are of other classes."""
    danger = []
    step = max(1, int(8e6 / X.shape[0]))
    for part in rows.split(step):
        apart = torch.cdist(X[part].double(), X.double(), compute_mode=_DIRECT)
        apart[torch.arange(part.numel(), device=X.device), part] = torch.inf
        nearest = torch.sort(apart, dim=1, stable=True)[1][:, :m]
        others = foreign[nearest].sum(dim=1)
        danger.append((2 * others >= m) & (others < m))
    return torch.cat(danger).nonzero()[:, 0]
