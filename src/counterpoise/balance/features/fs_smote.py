"""FS-SMOTE: imbalanced-learn's SMOTE on embeddings."""

from __future__ import annotations

import numbers
from typing import Any, ClassVar

from sklearn.utils._param_validation import Interval

from counterpoise.balance._tensors import is_tensor
from counterpoise.balance.features._growth import ClassGrowth
from counterpoise.balance.features.base import FeatureOversampler
from counterpoise.balance.smote import smote_points

__all__ = ["FSSMOTE"]


class FSSMOTE(FeatureOversampler):
    """SMOTE in feature space: samples between a point and one of its nearest neighbors in the class.

    Parameters
    ----------
    sampling_strategy, desired_ratio, random_state, n_jobs
        See :class:`FeatureOversampler`.
    k_neighbors : int, default=5
        Number of nearest neighbors to choose among, at least 1.

    Attributes
    ----------
    sampling_strategy_, sample_weight_, n_features_in_, feature_names_in_
        See :class:`FeatureOversampler`; all weights are 1.

    Notes
    -----
    ``x + u * (x_neighbor - x)`` with u ~ U[0, 1), by imbalanced-learn's :class:`~imblearn.over_sampling.SMOTE`; N. V.
    Chawla et al., "SMOTE: synthetic minority over-sampling technique", JAIR 16, 2002. In addition, every class has its
    own random stream (with an integer seed SMOTE draws the same numbers for every class), a class of at most
    ``k_neighbors`` points gets fewer neighbors, and a class of one point is copied, both with a warning. Tensors stay
    tensors on their device, but the work is done on the CPU.

    Helps: a cheap repair of a trained network.

    Hurts: synthetic samples only fill the space between known ones.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> X, y = rng.random((30, 4)), np.repeat([0, 1], [20, 10])
    >>> X_new, y_new = FSSMOTE(random_state=0).fit_resample(X, y)
    >>> np.bincount(y_new)
    array([20, 20])
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
