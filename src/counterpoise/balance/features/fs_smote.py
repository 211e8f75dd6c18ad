"""FS-SMOTE: imbalanced-learn's SMOTE on embeddings."""

from __future__ import annotations

import numbers
from typing import Any, ClassVar

from sklearn.utils._param_validation import Interval

from counterpoise.balance._tensors import is_tensor
from counterpoise.balance.features.base import ClassGrowth, FeatureOversampler
from counterpoise.balance.smote import smote_points

__all__ = ["FSSMOTE"]


class FSSMOTE(FeatureOversampler):
    """SMOTE in feature space: new points between a point and one of its nearest neighbours in the class.

    The work is imbalanced-learn's :class:`~imblearn.over_sampling.SMOTE`. Beyond it: every class has its own random
    stream (with an integer seed SMOTE draws the same numbers for every class), a class of no more than ``k_neighbors``
    points gets fewer neighbours with a warning, and a class of one point is copied with a warning. Tensors come out
    as tensors on their device, but the work is done by the processor.

    Parameters
    ----------
    sampling_strategy : float, str, dict or callable, default="auto"
        As in imbalanced-learn. A name chooses the classes to grow, a dict (or a callable that returns one) also says
        how many points each should have in the end; a float is the ratio of minority to majority for two classes.
    desired_ratio : float, default=1.0
        The imbalance ratio to reach, at least 1: the chosen classes grow to ``ceil(n_max / desired_ratio)`` points.
        Only with a named ``sampling_strategy``.
    k_neighbors : int, default=5
        How many nearest neighbours of a point to choose among, at least 1.
    random_state : int, RandomState, Generator or None, default=None
        The seed.
    n_jobs : int or None, default=-1
        Threads over the classes: -1 for one per processor, None for 1, as in joblib. The result does not depend on it.

    Attributes
    ----------
    sampling_strategy_ : dict
        How many new points each grown class got.
    sample_weight_ : ndarray of shape (n_samples_new,), float64
        A weight for each row of the output: all 1.
    n_features_in_ : int
        How many columns X had.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        The columns' names, where X had names.

    References
    ----------
    N. V. Chawla et al., "SMOTE: synthetic minority over-sampling technique", JAIR 16, 2002; ADOS thesis, section 3.2.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> X, y = rng.random((30, 4)), np.repeat([0, 1], [20, 10])
    >>> X_new, y_new = FSSMOTE(random_state=0).fit_resample(X, y)
    >>> np.bincount(y_new)
    array([20, 20])
    >>> bool(np.array_equal(X_new[:30], X))
    True
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **FeatureOversampler._parameter_constraints,
        "k_neighbors": [Interval(numbers.Integral, 1, None, closed="left")],
    }

    def __init__(
        self,
        *,
        sampling_strategy: Any = "auto",
        desired_ratio: float = 1.0,
        k_neighbors: int = 5,
        random_state: Any = None,
        n_jobs: int | None = -1,
    ) -> None:
        super().__init__(
            sampling_strategy=sampling_strategy,
            desired_ratio=desired_ratio,
            random_state=random_state,
            n_jobs=n_jobs,
        )
        self.k_neighbors = k_neighbors

    def _grow_class(self, growth: ClassGrowth) -> None:
        points = growth.points.cpu().numpy() if is_tensor(growth.points) else growth.points
        new = smote_points(
            points, growth.n_new, k_neighbors=self.k_neighbors, label=growth.label, generator=growth.rng
        )
        growth.out[:] = growth.out.new_tensor(new) if is_tensor(growth.out) else new
