"""SMOTE for one class, for pixels and for embeddings alike."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from imblearn.over_sampling import SMOTE
from numpy.typing import NDArray

from counterpoise.exceptions import ResamplingWarning


def smote_points(
    points: NDArray[np.floating[Any]],
    n_new: int,
    *,
    k_neighbors: int,
    label: Any,
    generator: np.random.Generator,
) -> NDArray[np.floating[Any]]:
    """Return synthetic samples of one class, each between a point and one of its nearest neighbors.

    The work is done by imbalanced-learn's :class:`~imblearn.over_sampling.SMOTE`.

    Parameters
    ----------
    points : ndarray of shape (n_points, n_features)
        The class's points, at least two.
    n_new : int
        Number of synthetic samples, which have the type of `points`.
    k_neighbors : int
        Number of nearest neighbors to choose among; lowered, with a warning that names `label`, where the class has
        no more.

    Examples
    --------
    >>> points = np.array([[0.0, 0.0], [1.0, 2.0]])
    >>> x, y = smote_points(points, 1, k_neighbors=1, label=0, generator=np.random.default_rng(0))[0]
    >>> bool(0 <= x <= 1), bool(np.isclose(y, 2 * x))
    (True, True)
    """
    n = len(points)
    k = min(k_neighbors, n - 1)
    if k < k_neighbors:
        warnings.warn(
            f"class {label!r} has {n} samples: k_neighbors was lowered from {k_neighbors} to {k} for it",
            ResamplingWarning,
            stacklevel=3,
        )
    smote = SMOTE(
        sampling_strategy={1: n + n_new},
        k_neighbors=k,
        random_state=np.random.RandomState(generator.bit_generator),
    )
    # SMOTE needs a second class: one row that it neither grows nor uses
    X, _ = smote.fit_resample(np.concatenate([points, points[:1]]), np.concatenate([np.ones(n, int), [0]]))
    return X[n + 1 :]
