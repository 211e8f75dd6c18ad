"""Recall as a function of the number of training images, extrapolated by a power law with an interval.

``1 - recall(n) = a n^-b + c`` with a, c >= 0 is fitted to the recalls of models that were trained on growing parts of
the images. The interval holds the uncertainty of the images (Bayesian bootstrap over groups, Jeffreys prior on hits and
misses), of the repeats (bootstrap), and of the one training to come, as far as recalls differ between repeats.
"""

from __future__ import annotations

from typing import NamedTuple, TypedDict

import numpy as np
from numpy.typing import ArrayLike

from counterpoise.exceptions import InputError

#: With fewer images, or groups, the recall of a class is too rough for a forecast.
FEWEST_IMAGES = 8
FACTOR, CONFIDENCE = 2.0, 0.9
#: Random weights drawn for a class at most, in a thousand replicates or fewer.
_WEIGHTS = 1e7
_EXPONENTS = np.arange(0.05, 1.55, 0.05)


class PowerLaw(NamedTuple):
    """Parameters of ``a n^-b + c``, each an array (...)."""

    a: np.ndarray
    b: np.ndarray
    c: np.ndarray

    def at(self, sizes: ArrayLike) -> np.ndarray:
        """Return the values, (..., K), at `sizes` (K,)."""
        a, b, c = (parameter[..., None] for parameter in self)
        return np.asarray(a * np.asarray(sizes, dtype=float) ** -b + c)


class RecallForecast(TypedDict):
    """Forecast of one class: `measured` are (images, recall); `now` and `more` are (images, recall, low, high).

    Without a forecast both are None, and `reason` tells why.
    """

    images: int
    measured: list[tuple[float, float]]
    now: tuple[float, float, float, float] | None
    more: tuple[float, float, float, float] | None
    reason: str


def fit_power_law(sizes: ArrayLike, errors: ArrayLike) -> PowerLaw:
    """Fit ``a n^-b + c`` with a, c >= 0 and b in [0.05, 1.5] by least squares, weighted by the sizes.

    Parameters
    ----------
    sizes, errors : array of float, shapes (S,) and (..., S)
        Numbers of images, above 0, and the error at each.

    Examples
    --------
    >>> sizes = np.array([10, 20, 40, 80])
    >>> law = fit_power_law(sizes, 0.9 * sizes**-0.5 + 0.1)
    >>> [round(float(value), 3) for value in law], law.at([160]).round(3)
    ([0.9, 0.5, 0.1], array([0.171]))
    """
    x, e = np.asarray(sizes, dtype=float), np.asarray(errors, dtype=float)
    if x.ndim != 1 or e.shape[-1:] != x.shape or not (x > 0).all():
        raise InputError(f"found `errors` {e.shape} at `sizes` {x.shape}; expected one for each size above 0")
    weights, basis = x / x.sum(), (x / x.max()) ** -_EXPONENTS[:, None]  # (S,), (exponents, S)
    means, level = basis @ weights, (e @ weights)[..., None]
    centered = basis - means[:, None]
    a = (e * weights) @ centered.T / np.maximum(centered**2 @ weights, 1e-12)
    a = np.where(level < a * means, (e * weights) @ basis.T / (basis**2 @ weights), np.maximum(a, 0))
    c = np.maximum(level - a * means, 0)
    misfit = (e[..., None, :] - a[..., None] * basis - c[..., None]) ** 2 @ weights
    best = misfit.argmin(axis=-1)[..., None]
    a, c = (np.take_along_axis(values, best, axis=-1)[..., 0] for values in (a, c))
    b = _EXPONENTS[best[..., 0]]
    return PowerLaw(a * x.max() ** b, b, c)


def forecast_recalls(
    hits: np.ndarray, labels: np.ndarray, sizes: np.ndarray, groups: np.ndarray | None = None
) -> list[RecallForecast]:
    """Forecast the recall of each class for twice as many images of every class, with 90 % intervals.

    Parameters
    ----------
    hits : ndarray of float, shape (S, repeats, N)
        1 where a model trained on a part recognized the image out of fold, 0 where not; NaN: not judged.
    labels, groups : ndarray of int, shape (N,)
        Classes; images of one group are not independent. Default: each image is a group.
    sizes : ndarray of float, shape (S, C)
        Training images of each class in each part.

    Examples
    --------
    >>> labels, sizes = np.repeat([0, 1], [40, 3]), np.array([[8, 1], [16, 1], [32, 2]])
    >>> hits = np.stack([np.arange(43) % 10 < n for n in (5, 6, 7)])[:, None].astype(float)
    >>> crack, rare = forecast_recalls(hits, labels, sizes)
    >>> round(crack["now"][1], 1), round(crack["more"][1], 1), rare["reason"]
    (0.7, 0.8, '3 images are too few for a forecast; it takes 8')
    """
    if hits.ndim != 3 or hits.shape[2:] != labels.shape or sizes.shape[:1] != hits.shape[:1]:
        shapes = f"`hits` {hits.shape}, `labels` {labels.shape}, `sizes` {sizes.shape}"
        raise InputError(f"found {shapes}; expected (S, repeats, N), (N,) and (S, C)")
    clusters = np.arange(len(labels)) if groups is None else groups
    generator, found = np.random.default_rng(0), []
    for label, parts in enumerate(sizes.T):
        own = np.flatnonzero((labels == label) & ~np.isnan(hits).any(axis=(0, 1)))
        forecast = RecallForecast(
            images=int((labels == label).sum()), measured=[], now=None, more=None, reason=""
        )
        independent = len(np.unique(clusters[own]))
        if independent < FEWEST_IMAGES:
            what = "images" if independent == forecast["images"] else "independent images"
            forecast["reason"] = f"{independent} {what} are too few for a forecast; it takes {FEWEST_IMAGES}"
        else:
            recalls = hits[:, :, own].mean(axis=(1, 2))
            forecast["measured"] = [
                (float(n), float(recall)) for n, recall in zip(parts, recalls, strict=True)
            ]
            forecast["now"], forecast["more"] = _extrapolate(
                hits[:, :, own], clusters[own], parts, forecast["images"], generator
            )
        found.append(forecast)
    return found


def _extrapolate(
    hits: np.ndarray, groups: np.ndarray, sizes: np.ndarray, images: int, generator: np.random.Generator
) -> list[tuple[float, float, float, float]]:
    """Return (images, recall, low, high) of a class with the hits (S, repeats, n), now and with more images."""
    repeats, count = hits.shape[1:]
    replicates = int(np.clip(_WEIGHTS / count, 100, 1000))
    member = np.unique(groups, return_inverse=True)[1]
    weights = generator.exponential(size=(replicates, member.max() + 1))[:, member]
    prior = generator.gamma(0.5, size=(2, replicates, 1, 1))
    total = weights.sum(axis=1)[:, None, None] + prior.sum(axis=0)
    recalls = (np.einsum("bn,srn->bsr", weights, hits) + prior[0]) / total
    drawn = np.broadcast_to(generator.integers(repeats, size=(replicates, 1, repeats)), recalls.shape)
    recalls = np.take_along_axis(recalls, drawn, axis=2).mean(axis=2)
    places = np.array([images, FACTOR * images])
    smoothed = (hits.mean(axis=1).sum(axis=1) + 0.5) / (count + 1)
    line = (1 - fit_power_law(sizes, 1 - smoothed).at(places)).clip(0, 1)
    spread = hits[-1].mean(axis=1).std(ddof=1) if repeats > 1 else 0.0
    noise = spread * generator.standard_normal((replicates, 1))
    sampled = (1 - fit_power_law(sizes, 1 - recalls).at(places) + noise).clip(0, 1)
    bounds = np.quantile(sampled, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2], axis=0)
    # A bootstrap interval of a skewed statistic may miss its estimate.
    low, high = np.minimum(bounds[0], line), np.maximum(bounds[1], line)
    return [tuple(map(float, row)) for row in zip(places, line, low, high, strict=True)]  # type: ignore[misc]
