"""SMOTE on pixels."""

from __future__ import annotations

import numbers
import warnings
from typing import Any, ClassVar

import numpy as np
from imblearn.utils import check_target_type
from scipy import sparse
from sklearn.utils import _safe_indexing
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import validate_data

from counterpoise.balance.samplers.base import RandomState, Strategy, as_generator
from counterpoise.balance.samplers.random_over import ROS
from counterpoise.balance.smote import smote_points
from counterpoise.exceptions import InputError, ResamplingWarning


class PixelSMOTE(ROS):
    """SMOTE on flattened images, for the small classes (the AOS poster's comparison; Chawla et al. 2002).

    Parameters
    ----------
    k_neighbors : int, default=5
        Number of nearest neighbors to choose among, at least 1.

    Notes
    -----
    Classes grow as far as under :class:`ROS`. A synthetic image lies on the line between an image and one of its
    nearest neighbors in the class: ``x + u * (x_neighbor - x)`` with u ~ U[0, 1), by imbalanced-learn's
    :class:`~imblearn.over_sampling.SMOTE`. Classes do not share random numbers. A class of at most `k_neighbors` images
    gets fewer neighbors, and a single image is copied, both with a warning. Indices cannot name synthetic images, so
    `resample_indices` raises; call `fit_resample`. It
    rounds pixels of integer images and keeps them within the range of the class's pixels.

    Helps: where images of a class lie on top of each other, as centered digits do.

    Hurts: photographs, whose mean is none (the poster blames the Euclidean distance); all images must fit in memory.

    Examples
    --------
    >>> images = np.random.default_rng(0).integers(0, 256, (26, 3, 8, 8)).astype(np.uint8)
    >>> labels = np.repeat([0, 1], [20, 6])
    >>> more_images, more_labels = PixelSMOTE(random_state=0).fit_resample(images, labels)
    >>> more_images.dtype, more_images.shape, np.bincount(more_labels)
    (dtype('uint8'), (40, 3, 8, 8), array([20, 20]))
    >>> bool(np.array_equal(more_images[:26], images))
    True
    """

    makes_images: ClassVar[bool] = True

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **ROS._parameter_constraints,
        "k_neighbors": [Interval(numbers.Integral, 1, None, closed="left")],
    }

    def __init__(
        self,
        *,
        desired_ratio: float = 1.0,
        k_neighbors: int = 5,
        sampling_strategy: Strategy = "auto",
        random_state: RandomState = None,
    ) -> None:
        super().__init__(
            desired_ratio=desired_ratio, sampling_strategy=sampling_strategy, random_state=random_state
        )
        self.k_neighbors = k_neighbors

    def resample_indices(self, y: Any, random_state: RandomState = None) -> np.ndarray:
        """Raise InputError: indices cannot name synthetic images."""
        raise InputError(
            "PixelSMOTE makes synthetic images, which indices cannot name; call fit_resample(images, labels)"
        )

    def _resample_images(self, X: Any, y: np.ndarray) -> tuple[Any, np.ndarray]:
        images = X if isinstance(X, np.ndarray) else X.detach().cpu().numpy()
        if images.dtype.kind not in "biuf":
            raise InputError(f"found images of {images.dtype}; expected numbers")
        if images.dtype.kind == "f" and not np.isfinite(images).all():
            raise InputError("the images contain NaN or infinity; remove these images first")
        grown, indices = self._grow(images, y)
        return grown if isinstance(X, np.ndarray) else X.new_tensor(grown), indices

    def _fit_resample(self, X: Any, y: np.ndarray) -> tuple[Any, np.ndarray]:
        # Points between others have few zeros: sparse input needs the room of a dense matrix.
        grown, indices = self._grow(X.toarray() if sparse.issparse(X) else X, y)
        return type(X)(grown) if sparse.issparse(X) else grown, _safe_indexing(y, indices)

    def _check_X_y(self, X: Any, y: Any) -> tuple[Any, np.ndarray, bool]:
        y, one_vs_all = check_target_type(y, indicate_one_vs_all=True)
        X, y = validate_data(self, X=X, y=y, reset=True, accept_sparse=["csr", "csc"])
        return X, y, one_vs_all

    def _grow(self, X: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the resampled images and, for each of them, the index of an image of its class."""
        self.sampling_strategy_ = self._targets(y)
        generator = as_generator(self.random_state)
        members = {label: np.flatnonzero(y == label) for label in self.sampling_strategy_}
        missing = {label: n - len(members[label]) for label, n in self.sampling_strategy_.items()}
        grown = np.empty((len(X) + sum(missing.values()), *X.shape[1:]), dtype=X.dtype)
        grown[: len(X)] = X
        indices, end = [np.arange(len(X))], len(X)
        for label, n_new in missing.items():
            if n_new:
                images = X[members[label]]
                grown[end : end + n_new] = self._new_images(images, n_new, label, generator)
                indices.append(np.repeat(members[label][:1], n_new))
                end += n_new
        return grown, np.concatenate(indices)

    def _new_images(
        self, images: np.ndarray, n_new: int, label: Any, generator: np.random.Generator
    ) -> np.ndarray:
        if len(images) == 1:
            warnings.warn(
                f"class {label!r} has a single image, so its {n_new} synthetic images are copies of it",
                ResamplingWarning,
                stacklevel=2,
            )
            return images
        points = images.reshape(len(images), -1).astype(np.result_type(images.dtype, np.float32))
        new = smote_points(points, n_new, k_neighbors=self.k_neighbors, label=label, generator=generator)
        if images.dtype.kind != "f":
            np.rint(new, out=new)
        return new.clip(points.min(), points.max(), out=new).reshape(n_new, *images.shape[1:])

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = False
        tags.input_tags.string = False
        tags.sampler_tags.sample_indices = False
        return tags
