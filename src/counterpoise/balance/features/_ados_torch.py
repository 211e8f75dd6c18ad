"""ADOS on tensors: the points stay on their device, and equal what the compiled kernel makes of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from counterpoise.balance.features._ados_kernel import RULES
from counterpoise.exceptions import InputError

__all__ = ["danger_points", "grow_class"]

_BLOCK = 128
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
    seeds: NDArray[np.int64],
    sources: NDArray[np.int64],
    deltas: NDArray[np.float64],
    *,
    k_max: int,
    k_min: int,
    k_rule: str,
    weights: str | Callable[[Tensor], Tensor],
) -> None:
    """Write a class's new points into ``new``; the arguments are those of the compiled ``grow_class``.

    Every new point is measured against all others once, directly and in double precision. These distances lower the
    least one at once; the seeds' lists take them up block by block, except for the seed whose turn it is. Which seed
    that is is known beforehand, and numbers of neighbours are masks, so that nothing waits for the device.
    """
    n, d = points.shape
    everything = torch.empty((n + new.shape[0], d), dtype=torch.float64, device=points.device)
    everything[:n] = points
    lists, least, greatest = _start(everything[:n], k_max)
    shares = torch.from_numpy(deltas).to(points.device)
    for begin in range(0, sources.size, _BLOCK):
        end = min(begin + _BLOCK, sources.size)
        block = torch.full((end - begin, n), torch.inf, dtype=torch.float64, device=points.device)
        for made in range(begin, end):
            source = int(sources[made])
            if source < n:
                near, numbers = _merge(
                    (lists[0][source : source + 1], lists[1][source : source + 1]),
                    block[: made - begin, source : source + 1],
                    n + begin,
                )
            else:
                apart = _distances(everything[source], everything[: n + made])
                apart[source] = torch.inf
                near, numbers = (part[None, :k_max] for part in torch.sort(apart, stable=True))
            k = _how_many(near[0, 0], least, greatest, k_max, k_min, RULES[k_rule])
            k = k.clamp(max=min(near.shape[1], n + made - 1))
            share = _shares(near[0], k, weights)
            mixed = share @ everything[numbers[0]]
            new[made] = shares[made] * everything[source] + (1.0 - shares[made]) * mixed
            everything[n + made] = new[made]
            apart = _distances(everything[n + made], everything[: n + made])
            least = torch.minimum(least, torch.where(apart > 0, apart, torch.inf).min())
            block[made - begin] = apart[:n]
        lists = _merge(lists, block, n + begin)


def _distances(point: Tensor, others: Tensor) -> Tensor:
    return torch.cdist(point[None], others, compute_mode=_DIRECT)[0]


def _start(points: Tensor, k_max: int) -> tuple[tuple[Tensor, Tensor], Tensor, Tensor]:
    """The nearest points of each point, and the least positive and the greatest distance, in blocks of rows."""
    n = points.shape[0]
    least = torch.full((), torch.inf, dtype=torch.float64, device=points.device)
    greatest = torch.zeros((), dtype=torch.float64, device=points.device)
    near, numbers = [], []
    rows = max(1, int(8e6 / n))
    for first in range(0, n, rows):
        apart = torch.cdist(points[first : first + rows], points, compute_mode=_DIRECT)
        greatest = torch.maximum(greatest, apart.max())
        own = torch.arange(apart.shape[0], device=points.device)
        apart[own, first + own] = torch.inf
        least = torch.minimum(least, torch.where(apart > 0, apart, torch.inf).min())
        ordered, places = torch.sort(apart, dim=1, stable=True)
        near.append(ordered[:, :k_max].clone())
        numbers.append(places[:, :k_max].clone())
    kept, kept_numbers = torch.cat(near), torch.cat(numbers)
    if n < k_max:  # room for the points to come
        kept = torch.nn.functional.pad(kept, (0, k_max - n), value=torch.inf)
        kept_numbers = torch.nn.functional.pad(kept_numbers, (0, k_max - n))
    return (kept, kept_numbers), least, greatest


def _merge(lists: tuple[Tensor, Tensor], block: Tensor, first: int) -> tuple[Tensor, Tensor]:
    """Lists that have taken up the distances of new points number ``first`` on, one row of ``block`` each."""
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
    """The neighbours' weights, summing to 1 and 0 behind the k-th."""
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


def danger_points(rows: Tensor, X: Tensor, foreign: Tensor, m: int) -> NDArray[np.int64]:
    """Which of the class's points have at least half, but not all, of their m nearest in other classes."""
    danger = []
    step = max(1, int(8e6 / X.shape[0]))
    for part in rows.split(step):
        apart = torch.cdist(X[part].double(), X.double(), compute_mode=_DIRECT)
        apart[torch.arange(part.numel(), device=X.device), part] = torch.inf
        nearest = torch.sort(apart, dim=1, stable=True)[1][:, :m]
        others = foreign[nearest].sum(dim=1)
        danger.append((2 * others >= m) & (others < m))
    return np.flatnonzero(torch.cat(danger).cpu().numpy())
