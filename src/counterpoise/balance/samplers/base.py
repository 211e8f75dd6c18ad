"""Base class of all samplers, and the images of one epoch."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
from imblearn.base import BaseSampler
from imblearn.utils import check_target_type
from sklearn.utils import _safe_indexing
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _num_samples, check_array, validate_data

from counterpoise.balance._tensors import is_tensor
from counterpoise.exceptions import InputError

RandomState = int | np.random.Generator | np.random.RandomState | None
Strategy = str | float | Mapping[Any, int] | Sequence[Any] | Callable[[Any], Mapping[Any, int]]


class ImageSampler(BaseSampler):
    """Base of samplers that choose images by their labels alone.

    It has imbalanced-learn's API, takes N-D arrays and torch tensors as well (the first axis counts the images), and
    can return indices only. A sampler fills ``_class_targets``, or ``_draw`` where that is not enough.

    The result holds the kept originals first, in their order, then the copies, class by class. A class that grows keeps
    all originals; one that shrinks is sampled without replacement. Copies are drawn with replacement. One generator
    serves all classes, one after the other.

    Parameters
    ----------
    sampling_strategy : str, dict, list or callable, default="auto"
        Classes that may change. ``"auto"``: the sampler's own choice; ``"minority"`` (the smallest), ``"majority"``
        (the largest), ``"not minority"``, ``"not majority"``, ``"all"``, or a list of class labels. A dict (or a
        callable of `y` that returns one): target count of each class named in it. A float (two classes only): the ratio
        of the smaller to the larger class afterwards.
    random_state : int, numpy Generator, RandomState or None, default=None
        Source of randomness. An int gives the same result each time.

    Attributes
    ----------
    sampling_strategy_ : dict
        Number of images afterwards, for each class that the sampler may change.
    sample_indices_ : ndarray of int64, shape (n_new,)
        Indices of the sampled images.
    """

    _sampling_type = "bypass"

    #: Whether it makes synthetic images, which indices cannot name.
    makes_images: ClassVar[bool] = False

    # Meaning of sampling_strategy="auto".
    _auto: ClassVar[str] = "all"

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "sampling_strategy": [str, dict, list, callable, Real],
        "random_state": ["random_state", np.random.Generator],
    }

    def __init__(self, *, sampling_strategy: Strategy = "auto", random_state: RandomState = None) -> None:
        super().__init__(sampling_strategy=sampling_strategy)
        self.random_state = random_state

    @abstractmethod
    def _class_targets(self, counts: Mapping[Any, int], chosen: Sequence[Any]) -> dict[Any, int]:
        """Return the target count of each of the `chosen` classes, given the `counts` of all."""

    def _draw(self, y: np.ndarray, targets: Mapping[Any, int], generator: np.random.Generator) -> np.ndarray:
        """Return the indices of the resampled images."""
        keep = np.ones(len(y), dtype=bool)
        copies = []
        for label, target in targets.items():
            members = np.flatnonzero(y == label)
            surplus = len(members) - target
            if surplus > 0:
                keep[generator.choice(members, size=surplus, replace=False)] = False
            elif surplus < 0:
                copies.append(generator.choice(members, size=-surplus, replace=True))
        return np.concatenate([np.flatnonzero(keep), *copies])

    def fit(self, X: Any, y: Any) -> ImageSampler:
        """Check the input as `fit_resample` does and compute `sampling_strategy_`, without sampling."""
        self._validate_params()
        if _is_image_stack(X):
            labels = self._check_images(X, y)
        else:
            check_classification_targets(y)
            _, labels, _ = self._check_X_y(X, y)
        self.sampling_strategy_ = self._targets(labels)
        return self

    def fit_resample(self, X: Any, y: Any) -> tuple[Any, Any]:
        """Return ``X[sample_indices_]`` and ``y[sample_indices_]``, of the types of the input.

        Parameters
        ----------
        X : array-like, dataframe or sparse matrix (N, features), or array or tensor (N, ...)
            Images or feature vectors; they are not changed.
        y : array-like or tensor of shape (N,)
            Labels.

        Raises
        ------
        InputError
            If there is only one class, or the sampler cannot do what `sampling_strategy` asks for.
        """
        if not _is_image_stack(X):
            return super().fit_resample(X, y)
        self._validate_params()
        images, indices = self._resample_images(X, self._check_images(X, y))
        return images, y[indices] if hasattr(y, "dtype") else np.asarray(y)[indices].tolist()

    def set_epoch(self, epoch: int) -> None:
        """Start epoch `epoch` (from 0); no-op for samplers without a schedule."""

    def resample_indices(self, y: Any, random_state: RandomState = None) -> np.ndarray:
        """Return the indices of the resampled images, int64, with repetitions where a class grows; no image is needed.

        Parameters
        ----------
        y : array-like or tensor of shape (N,)
            Labels.
        random_state : int, numpy Generator or RandomState, optional
            Used in place of the sampler's own for this call.

        Examples
        --------
        >>> from counterpoise.balance.samplers import ROS
        >>> ROS(random_state=0).resample_indices([0, 0, 0, 1])
        array([0, 1, 2, 3, 3, 3])
        """
        self._validate_params()
        return self._resample(_labels(y), random_state)

    def _resample(self, y: np.ndarray, random_state: RandomState = None) -> np.ndarray:
        self.sampling_strategy_ = self._targets(y)
        source = self.random_state if random_state is None else random_state
        indices = self._draw(y, self.sampling_strategy_, as_generator(source))
        self.sample_indices_ = indices.astype(np.int64, copy=False)
        return self.sample_indices_

    def _resample_images(self, X: Any, y: np.ndarray) -> tuple[Any, np.ndarray]:
        """Return the resampled images and, for each of them, the index in `y` of an image of its class."""
        indices = self._resample(y)
        return X[indices], indices

    def _fit_resample(self, X: Any, y: np.ndarray) -> tuple[Any, np.ndarray]:
        indices = self._resample(y)
        return _safe_indexing(X, indices), _safe_indexing(y, indices)

    def _targets(self, y: np.ndarray) -> dict[Any, int]:
        """Return the target count of each class that may change, in ascending order of the class."""
        labels, sizes = np.unique(y, return_counts=True)
        counts = dict(zip(labels.tolist(), sizes.tolist(), strict=True))
        if len(counts) < 2:
            raise InputError(f"found {len(counts)} class; a sampler needs at least two classes to balance")
        strategy = self.sampling_strategy
        if callable(strategy):
            strategy = strategy(y)
        if isinstance(strategy, Mapping):
            return self._fixed_targets(strategy, counts)
        if isinstance(strategy, Real):
            return self._fixed_targets(self._binary_targets(float(strategy), counts), counts)
        return self._class_targets(counts, _chosen_classes(strategy, counts, self._auto))

    def _fixed_targets(self, wanted: Mapping[Any, int], counts: Mapping[Any, int]) -> dict[Any, int]:
        self._refuse_unused_options()
        _refuse_unknown(wanted, counts)
        for label, target in wanted.items():
            if not isinstance(target, Integral) or target < 0:
                raise InputError(
                    f"sampling_strategy asks for {target!r} images of class {label!r}; expected 0 or more"
                )
            self._check_target(label, counts[label], int(target))
        return {label: int(wanted[label]) for label in counts if label in wanted}

    def _check_target(self, label: Any, count: int, target: int) -> None:
        """Raise InputError if the sampler cannot bring a class of `count` images to `target`."""

    def _refuse_unused_options(self) -> None:
        """Raise InputError if an option is set that has no effect where the target counts are given."""

    def _binary_targets(self, ratio: float, counts: Mapping[Any, int]) -> dict[Any, int]:
        """Return the target counts for a ratio of the smaller to the larger class."""
        raise InputError(
            f"{type(self).__name__} takes no float as sampling_strategy (found {ratio}); give a dict"
        )

    def _check_X_y(self, X: Any, y: Any) -> tuple[Any, np.ndarray, bool]:
        y, one_vs_all = check_target_type(y, indicate_one_vs_all=True)
        if not hasattr(X, "iloc"):  # a data frame goes through as it is
            X = check_array(X, dtype=None, accept_sparse=["csr", "csc"], ensure_all_finite=False)
        X, y = validate_data(self, X=X, y=y, reset=True, skip_check_array=True)
        return X, y, one_vs_all

    def _check_images(self, X: Any, y: Any) -> np.ndarray:
        labels = _labels(y)
        if len(X) != len(labels):
            raise InputError(f"found {len(X)} images and {len(labels)} labels; give one label for each image")
        return labels

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.string = True
        tags.input_tags.three_d_array = True
        tags.sampler_tags.sample_indices = True
        return tags


def as_generator(random_state: RandomState) -> np.random.Generator:
    """Return `random_state` if it is a Generator, else one seeded by it (by one number drawn from a RandomState)."""
    if isinstance(random_state, np.random.RandomState):
        return np.random.default_rng(random_state.randint(0, 2**32, dtype=np.uint64))
    return np.random.default_rng(random_state)


def _chosen_classes(strategy: Any, counts: Mapping[Any, int], auto: str) -> list[Any]:
    if isinstance(strategy, (list, tuple, set, np.ndarray)):
        _refuse_unknown(strategy, counts)
        return [label for label in counts if label in strategy]
    smallest = min(counts, key=lambda label: counts[label])
    largest = max(counts, key=lambda label: counts[label])
    choices = {
        "all": set(counts),
        "minority": {smallest},
        "majority": {largest},
        "not minority": set(counts) - {smallest},
        "not majority": set(counts) - {largest},
    }
    name = auto if strategy == "auto" else strategy
    if name not in choices:
        expected = ", ".join(["auto", *choices])
        raise InputError(
            f"sampling_strategy is {strategy!r}; expected one of {expected}, a list, a dict or a callable"
        )
    return [label for label in counts if label in choices[name]]


def _refuse_unknown(labels: Iterable[Any], counts: Mapping[Any, int]) -> None:
    for label in labels:
        if label not in counts:
            raise InputError(
                f"sampling_strategy names class {label!r}, which is not in the labels {list(counts)}"
            )


def _labels(y: Any) -> np.ndarray:
    labels = y.detach().cpu().numpy() if is_tensor(y) else np.asarray(y)
    if labels.ndim != 1 or not len(labels):
        raise InputError(f"labels have shape {labels.shape}; expected one label for each image")
    check_classification_targets(labels)
    return labels


def _is_image_stack(X: Any) -> bool:
    """Return whether scikit-learn's checks for tables would refuse or convert `X`."""
    return is_tensor(X) or (isinstance(X, np.ndarray) and X.ndim > 2 and _num_samples(X) > 0)


def epoch_indices(
    sampler: ImageSampler | None, labels: Any, *, seed: int, epoch: int, shuffle: bool = True
) -> np.ndarray:
    """Return the indices of an epoch's images in training order, int64; they depend on `seed` and `epoch` only.

    Parameters
    ----------
    sampler : ImageSampler or None
        Chooses the images; its own `random_state` is not used. None: every image once.
    labels : array-like of shape (N,)
        Labels of the training images.
    shuffle : bool, default=True
        Whether the order is random.

    Examples
    --------
    >>> epoch_indices(None, [0, 0, 1, 1], seed=0, epoch=3, shuffle=False)
    array([0, 1, 2, 3])
    """
    generator = np.random.default_rng([seed, epoch])
    if sampler is None:
        indices = np.arange(len(labels), dtype=np.int64)
    else:
        sampler.set_epoch(epoch)
        indices = sampler.resample_indices(labels, random_state=generator)
    return generator.permutation(indices) if shuffle else indices
