"""ADOS: adaptive dynamic oversampling in a feature space (thesis chapter 4)."""

from __future__ import annotations

import math
import numbers
import warnings
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.utils._param_validation import Interval, StrOptions

from counterpoise.balance._tensors import is_tensor
from counterpoise.balance.class_weights import class_weights
from counterpoise.balance.features._ados_grow import WeightFunction, grow_class
from counterpoise.balance.features._ados_kernel import KINDS, RULES
from counterpoise.balance.features._growth import ClassGrowth
from counterpoise.balance.features.base import FeatureOversampler
from counterpoise.exceptions import InputError, ResamplingWarning

__all__ = ["ADOS", "max_neighbors"]

_WORK_BYTES = 200e6
"""Most memory for stored distances, over all classes that grow at the same time."""


def max_neighbors(n: int, *, n_max: int, n_min: int, nu_max: int = 20, nu_min: int = 10) -> int:
    """Return the most neighbors of a point of a class of n points (thesis Eq. 4.2 and 4.3).

    ``floor(nu_max * (n / n_max) ** b)`` with ``b = log(nu_max / nu_min) / log(n_max / n_min)``; ``nu_max`` where all
    classes are equally large.

    All sizes are those before oversampling.

    Examples
    --------
    The thesis's Example 4.1:

    >>> [max_neighbors(n, n_max=1000, n_min=200) for n in (200, 400, 600, 1000)]
    [10, 13, 16, 20]
    """
    if n_max == n_min:
        return nu_max
    b = math.log(nu_max / nu_min) / math.log(n_max / n_min)
    # rounding can make the smallest class's nu_min 9.999...
    return math.floor(nu_max * (n / n_max) ** b + 1e-9)


class ADOS(FeatureOversampler):
    """Adaptive dynamic oversampling: samples between a point and a weighted mean of its nearest neighbors.

    Parameters
    ----------
    sampling_strategy, desired_ratio, n_jobs
        See :class:`FeatureOversampler`.
    nu_max : int, default=20
        Most neighbors in the largest class.
    nu_min : int, default=10
        Most neighbors in the smallest class, at least ``k_min`` and at most ``nu_max``.
    k_min : int, default=2
        Fewest neighbors of any point, at least 1.
    k_rule : {"linear", "printed"}, default="linear"
        Number of neighbors from the distance to the nearest point. ``"linear"`` is line 16 of Algorithm 4 throughout:
        points in dense regions get many neighbors. ``"printed"`` also keeps its lines 11 to 14 literally, which give
        the fewest at or below the least distance and the most at or above the greatest.
    seed_order : {"cycle", "random", "extend"}, default="cycle"
        ``"cycle"`` takes the class's points in turn, in rounds; ``"random"`` draws one for every synthetic sample;
        ``"extend"`` takes them in turn and continues with the synthetic samples.
    weights : {"exp", "uniform", "rbf", "wedge"} or callable, default="exp"
        The neighbors' weights before they are scaled to sum 1, with q their distance over that of the farthest one
        used: ``exp(-q)`` (Eq. 4.5), 1, ``exp(-q ** 2)``, or ``1 - q / 2``. A callable gets the distances, float64 of
        shape (k,), ascending, and returns as many weights, none below 0 and not all 0.
    border : bool, default=False
        Use as seeds only the points near the class boundary: those of whose 10 nearest points in X at least half, but
        not all, are of other classes (danger points of Borderline-SMOTE). A class without any grows from all its
        points, with a warning.
    reweight : {"thesis", "none"} or None, default="thesis"
        ``sample_weight_``: original points get their class's weight before oversampling, synthetic samples the one
        after it (thesis 4.2.4); or 1 for all.
    random_state : int, RandomState, Generator or None, default=None
        Seed. Every class draws from its own stream: first its seeds where ``seed_order="random"``, then one number in
        [0, 1) for every synthetic sample.

    Attributes
    ----------
    sampling_strategy_, sample_weight_, n_features_in_, feature_names_in_
        See :class:`FeatureOversampler`.

    Raises
    ------
    InputError
        If ``k_min <= nu_min <= nu_max`` does not hold, ``desired_ratio`` comes with a strategy that fixes the counts
        itself, or a callable's weights cannot be used.

    Notes
    -----
    The number of neighbors follows the local density: ``k = ceil(k_max - (k_max - k_min)(d_x - d_min)/(d_max -
    d_min))`` with ``k_max = floor(nu_max (n_c / n_max)^b)``, see `max_neighbors`, and d_x the distance to the nearest
    point. A synthetic sample lies between its seed and the mean of its k nearest neighbors weighted by ``exp(-d_j /
    d_k)``; it joins the class at once and is a neighbor of the next. Original points keep the class weight from before,
    synthetic ones get the weight from after (4.2.4), which favors rare classes. The result is exactly that of the
    thesis's Algorithms 3 to 5 (the options settle what the text leaves open), without their matrix of all distances at
    every step. See also 8.2 (other weights, border); H. Han et al., "Borderline-SMOTE", ICIC 2005.

    Helps: recall on rare classes, the highest in 13 of the 16 lines of the thesis's Tables 7.1 to 7.4 (a tie with DOS
    in one of them) and in Table 7.5; it depends on the first stage's loss.

    Hurts: precision on them; less so with ``reweight=none``.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> X, y = rng.random((30, 4)), np.repeat([0, 1], [20, 10])
    >>> ados = ADOS(random_state=0)
    >>> X_new, y_new = ados.fit_resample(X, y)
    >>> np.bincount(y_new)
    array([20, 20])
    >>> ados.sample_weight_[[0, 20, 30]].round(3)
    array([0.333, 0.667, 0.5  ])
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **FeatureOversampler._parameter_constraints,
        **{
            name: [Interval(numbers.Integral, 1, None, closed="left")]
            for name in ("nu_max", "nu_min", "k_min")
        },
        "k_rule": [StrOptions(set(RULES))],
        "seed_order": [StrOptions({"cycle", "random", "extend"})],
        "weights": [StrOptions(set(KINDS)), callable],
        "border": ["boolean"],
        "reweight": [StrOptions({"thesis", "none"}), None],
    }

    def __init__(
        self,
        *,
        sampling_strategy: Any = "auto",
        desired_ratio: float = 1.0,
        nu_max: int = 20,
        nu_min: int = 10,
        k_min: int = 2,
        k_rule: str = "linear",
        seed_order: str = "cycle",
        weights: str | WeightFunction = "exp",
        border: bool = False,
        reweight: str | None = "thesis",
        random_state: Any = None,
        n_jobs: int | None = -1,
    ) -> None:
        super().__init__(
            sampling_strategy=sampling_strategy,
            desired_ratio=desired_ratio,
            random_state=random_state,
            n_jobs=n_jobs,
        )
        self.nu_max = nu_max
        self.nu_min = nu_min
        self.k_min = k_min
        self.k_rule = k_rule
        self.seed_order = seed_order
        self.weights = weights
        self.border = border
        self.reweight = reweight

    def _validate_params(self) -> None:
        super()._validate_params()
        if not self.k_min <= self.nu_min <= self.nu_max:
            raise InputError(
                "the numbers of neighbors must rise from k_min over nu_min to nu_max, found "
                f"k_min={self.k_min}, nu_min={self.nu_min}, nu_max={self.nu_max}"
            )

    def _weigh(
        self, before: NDArray[np.int64], after: NDArray[np.int64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        # `ados:reweight=none` is read as None
        if self.reweight in ("none", None):
            return super()._weigh(before, after)
        return class_weights(before, empty="raise"), class_weights(after, empty="raise")

    def _grow_class(self, growth: ClassGrowth) -> None:
        n = growth.points.shape[0]
        seeds = self._seeds(growth)
        order = np.arange(growth.n_new)  # numbers among the seeds followed by the synthetic samples
        if self.seed_order == "random":
            order = growth.rng.integers(len(seeds), size=growth.n_new)
        elif self.seed_order == "cycle":
            order %= len(seeds)
        deltas = growth.rng.random(growth.n_new)
        options: dict[str, Any] = {
            "k_max": max_neighbors(
                n, n_max=growth.n_max, n_min=growth.n_min, nu_max=self.nu_max, nu_min=self.nu_min
            ),
            "k_min": self.k_min,
            "k_rule": self.k_rule,
            "weights": self.weights,
        }
        if is_tensor(growth.points):
            from counterpoise.balance.features import _ados_torch

            _ados_torch.grow_class(growth.points, growth.out, seeds, order, deltas, **options)
        else:
            work = _WORK_BYTES / growth.threads
            sources = np.concatenate([seeds, n + np.arange(growth.n_new)])[order]
            grow_class(growth.points, growth.out, seeds, sources, deltas, work_bytes=work, **options)

    def _seeds(self, growth: ClassGrowth) -> Any:
        """Return which of the class's points are seeds."""
        if self.border:
            danger = _danger_points(growth)
            if len(danger):
                return danger
            warnings.warn(
                f"class {growth.label!r} has no point near its boundary: all its points are seeds",
                ResamplingWarning,
                stacklevel=2,
            )
        every = range(growth.points.shape[0])
        return growth.rows.new_tensor(every) if is_tensor(growth.rows) else np.array(every)


def _danger_points(growth: ClassGrowth, m: int = 10) -> Any:
    """Return the class's points of whose m nearest in X at least half, but not all, are of other classes."""
    m = min(m, growth.X.shape[0] - 1)
    foreign = growth.codes != growth.number
    if is_tensor(growth.X):
        from counterpoise.balance.features import _ados_torch

        return _ados_torch.danger_points(growth.rows, growth.X, foreign, m)
    from sklearn.neighbors import NearestNeighbors

    search = NearestNeighbors(n_neighbors=m + 1).fit(growth.X)
    neighbors = search.kneighbors(growth.points, return_distance=False)
    # duplicates may precede the point itself
    others = np.array([found[found != own][:m] for own, found in zip(growth.rows, neighbors, strict=True)])
    n_foreign = foreign[others].sum(axis=1)
    return np.flatnonzero((2 * n_foreign >= m) & (n_foreign < m))
