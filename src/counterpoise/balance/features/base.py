"""Base class of all feature oversamplers: checks, class sizes, random streams, the form of the output."""

from __future__ import annotations

import functools
import math
import numbers
import warnings
from abc import abstractmethod
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

import numpy as np
from imblearn.over_sampling.base import BaseOverSampler
from imblearn.utils import check_sampling_strategy
from joblib import effective_n_jobs
from numpy.typing import NDArray
from scipy import sparse
from sklearn.utils import assert_all_finite
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import validate_data

from counterpoise.balance._tensors import is_tensor
from counterpoise.balance.features._growth import (
    ClassGrowth,
    are_plain_labels,
    as_floats,
    count_labels,
    one_blas_thread,
    seed_of,
)
from counterpoise.exceptions import InputError, ResamplingWarning

__all__ = ["FeatureOversampler"]

_COPIED = 2048
"""Original rows copied to the output at a time."""


class FeatureOversampler(BaseOverSampler):
    """Base of oversamplers that make synthetic samples in a feature space.

    It follows imbalanced-learn: ``fit_resample(X, y)`` returns the input's rows, unchanged and first, then the
    synthetic samples class by class in ascending order of the label. A method fills one hook, :meth:`_grow_class`.

    Parameters
    ----------
    sampling_strategy : float, str, dict or callable, default="auto"
        As in imbalanced-learn. A name chooses the classes to grow, a dict (or a callable that returns one) also gives
        their final sizes; a float is the ratio of minority to majority for two classes.
    desired_ratio : float, default=1.0
        Imbalance ratio to reach, at least 1: the chosen classes grow to ``ceil(n_max / desired_ratio)`` points. Only
        with a named ``sampling_strategy``.
    random_state : int, RandomState, Generator or None, default=None
        Seed. Every class draws from its own stream, so that its randomness does not depend on which others grow.
    n_jobs : int or None, default=-1
        Threads over the classes: -1 for one per processor, None for 1, as in joblib. The result does not depend on it.

    Attributes
    ----------
    sampling_strategy_ : dict
        Number of synthetic samples of each grown class.
    sample_weight_ : ndarray or tensor of shape (n_samples_new,), float64
        Weight of each row of the output.
    n_features_in_, feature_names_in_
        As in scikit-learn.
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **BaseOverSampler._parameter_constraints,
        "desired_ratio": [Interval(numbers.Real, 1, None, closed="left")],
        "random_state": ["random_state", np.random.Generator],
        "n_jobs": [numbers.Integral, None],
    }

    sample_weight_: Any

    def __init__(
        self,
        *,
        sampling_strategy: Any = "auto",
        desired_ratio: float = 1.0,
        random_state: Any = None,
        n_jobs: int | None = -1,
    ) -> None:
        super().__init__(sampling_strategy=sampling_strategy)
        self.desired_ratio = desired_ratio
        self.random_state = random_state
        self.n_jobs = n_jobs

    @abstractmethod
    def _grow_class(self, growth: ClassGrowth) -> None:
        """Write ``growth.n_new`` synthetic samples into ``growth.out``; called for classes of at least two points."""

    def _weigh(
        self, before: NDArray[np.int64], after: NDArray[np.int64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the weights per class of original and of synthetic points, from the class counts before and after."""
        return np.ones(before.size), np.ones(after.size)

    def fit_resample(self, X: Any, y: Any, **params: Any) -> Any:
        """Return points and labels with the small classes grown, each in the container of the input.

        Parameters
        ----------
        X : {array-like, dataframe, sparse matrix, tensor} of shape (n_samples, n_features)
            Points. float32 and float64 are kept, other numbers become float64 (half precision: float32).
        y : {array-like, tensor} of shape (n_samples,)
            Their labels.

        Raises
        ------
        InputError
            If the options contradict each other, or a tensor cannot be used.
        """
        if is_tensor(X):
            return self._fit_resample_tensor(X, y)
        if not params and type(X) is np.ndarray and type(y) is np.ndarray and are_plain_labels(X, y):
            return self._fit_resample_plain(X, y)
        return super().fit_resample(X, y, **params)

    def _fit_resample_plain(self, X: NDArray[Any], y: NDArray[np.integer[Any]]) -> tuple[Any, NDArray[Any]]:
        """Do what imbalanced-learn does for arrays, without its five sorts of the labels."""
        self._validate_params()
        # X is checked for NaN while it is copied, which saves one pass over it
        X, y = validate_data(self, X=X, y=y, reset=True, ensure_all_finite=False)
        classes, codes, counts = count_labels(y)
        if self.sampling_strategy in ("auto", "not majority"):
            majority = int(counts.argmax())
            missing = zip(classes.tolist(), (counts[majority] - counts).tolist(), strict=True)
            self.sampling_strategy_ = {c: n for i, (c, n) in enumerate(missing) if i != majority}
        else:
            self.sampling_strategy_ = check_sampling_strategy(self.sampling_strategy, y, self._sampling_type)
        return self._grow(as_floats(X), y, classes, codes, counts)

    def _fit_resample_tensor(self, X: Any, y: Any) -> tuple[Any, Any]:
        import torch

        self._validate_params()
        if X.ndim != 2 or not X.is_floating_point():
            raise InputError(
                f"X must be a tensor of floats of shape (n_samples, n_features), found {X.dtype} of shape "
                f"{tuple(X.shape)}"
            )
        if X.dtype not in (torch.float32, torch.float64):
            X = X.float()
        if not bool(torch.isfinite(X).all()):
            raise InputError("X contains NaN or infinity; remove these rows first")
        y = y.detach() if is_tensor(y) else np.asarray(y)
        if tuple(y.shape) != (X.shape[0],):
            raise InputError(
                f"y must have one label for each of the {X.shape[0]} rows of X, found shape {tuple(y.shape)}"
            )
        if is_tensor(y):
            values, codes, counts = torch.unique(y, return_inverse=True, return_counts=True)
            # only the different values and their counts are copied from the device
            classes, counts = values.cpu().numpy(), counts.cpu().numpy()
        else:
            classes, codes, counts = count_labels(y)
        self.n_features_in_ = X.shape[1]
        self.sampling_strategy_ = check_sampling_strategy(
            self.sampling_strategy, np.repeat(classes, counts), self._sampling_type
        )
        return self._grow(X.detach(), y, classes, torch.as_tensor(codes, device=X.device), counts)

    def _check_X_y(self, X: Any, y: Any, accept_sparse: Any = None) -> Any:
        X, y, binarize_y = super()._check_X_y(X, y, accept_sparse=accept_sparse)
        return as_floats(X), y, binarize_y

    def _fit_resample(self, X: Any, y: NDArray[Any]) -> tuple[Any, NDArray[Any]]:
        if sparse.issparse(X):
            # means of several points have few zeros: the work needs the memory of a dense matrix
            X_out, y_out = self._fit_resample(X.toarray(), y)
            return type(X)(X_out), y_out
        return self._grow(X, y, *count_labels(y))

    def _grow(
        self, X: Any, y: Any, classes: NDArray[Any], codes: Any, before: NDArray[np.int64]
    ) -> tuple[Any, Any]:
        """Return points and labels with the synthetic samples; ``codes`` are on X's device."""
        n_new = self._new_per_class(classes, before)
        self.sampling_strategy_ = {c: n for c, n in zip(classes.tolist(), n_new.tolist(), strict=True) if n}
        first_new = X.shape[0] + np.concatenate([[0], np.cumsum(n_new)])
        shape = (int(first_new[-1]), X.shape[1])
        X_out = X.new_empty(shape) if is_tensor(X) else np.empty(shape, dtype=X.dtype)
        seed = seed_of(self.random_state)
        threads = 1 if is_tensor(X) else min(effective_n_jobs(self.n_jobs), int(np.count_nonzero(n_new)))
        growths = []
        for number in np.flatnonzero(n_new):
            flags = codes == int(number)
            rows = flags.nonzero()[:, 0] if is_tensor(flags) else np.flatnonzero(flags)
            points = X[rows]
            self._check_finite(points)
            growths.append(
                ClassGrowth(
                    label=classes[number],
                    number=int(number),
                    points=points,
                    rows=rows,
                    n_new=int(n_new[number]),
                    rng=np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(int(number),))),
                    out=X_out[first_new[number] : first_new[number + 1]],
                    X=X,
                    codes=codes,
                    n_max=int(before.max()),
                    n_min=int(before.min()),
                    threads=threads,
                )
            )
        originals = X_out[: X.shape[0]]
        parts = [slice(first, first + _COPIED) for first in range(0, X.shape[0], _COPIED)]
        copies = [functools.partial(self._copy, X[part], originals[part]) for part in parts]
        copies.append(functools.partial(self._set_weights, codes, before, n_new))
        self._grow_all(growths, threads, copies)
        return X_out, _followed_by(y, np.repeat(classes, n_new))

    def _copy(self, originals: Any, out: Any) -> None:
        out[:] = originals
        self._check_finite(out)  # what was just written is still in the cache

    def _check_finite(self, X: Any) -> None:
        if not isinstance(X, np.ndarray):  # tensors are checked once, as each check synchronizes the device
            return
        with np.errstate(over="ignore", invalid="ignore"):
            total = X.sum()
        if not np.isfinite(total):  # or the sum overflowed
            assert_all_finite(X, estimator_name=type(self).__name__, input_name="X")

    def _grow_all(
        self, growths: list[ClassGrowth], threads: int, copies: Sequence[Callable[[], None]]
    ) -> None:
        """Grow the classes; meanwhile run ``copies``, which copy the original rows and set the weights."""
        real = []
        for growth in growths:
            if growth.points.shape[0] == 1:
                warnings.warn(
                    f"class {growth.label!r} has a single point, so its {growth.n_new} samples are copies of it",
                    ResamplingWarning,
                    stacklevel=7,
                )
                growth.out[:] = growth.points
            else:
                real.append(growth)
        if threads <= 1:
            for copy in copies:
                copy()
            for growth in real:
                self._grow_class(growth)
            return
        # the longest first, so that no thread starts a long class at the end
        real.sort(key=lambda growth: -growth.n_new * growth.points.shape[0])
        # with a thread per processor, matrix products on several threads would wait for each other
        with one_blas_thread(), ThreadPoolExecutor(threads) as pool:
            grown = pool.map(self._grow_class, real)
            # last: the parts are short, and fill the time in which one thread waits for the other
            copied = [pool.submit(copy) for copy in copies]
            list(grown)
            for part in copied:
                part.result()

    def _new_per_class(self, classes: NDArray[Any], before: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return each class's number of synthetic samples; ``sampling_strategy_`` holds imbalanced-learn's."""
        wanted = np.array([self.sampling_strategy_.get(c, 0) for c in classes.tolist()], dtype=np.int64)
        if self.desired_ratio == 1.0:
            return wanted
        if not isinstance(self.sampling_strategy, str):
            raise InputError(
                f"desired_ratio={self.desired_ratio} was given together with a sampling_strategy that fixes the counts "
                "itself; use one of the two"
            )
        chosen = [c in self.sampling_strategy_ for c in classes.tolist()]
        # rounding can make a quotient 5000.000000000001, which must not be rounded up
        target = math.ceil(before.max() / self.desired_ratio - 1e-9)
        return np.where(chosen, np.maximum(target - before, 0), 0)

    def _set_weights(self, codes: Any, before: NDArray[np.int64], n_new: NDArray[np.int64]) -> None:
        originals: Any
        originals, new = self._weigh(before, before + n_new)
        if is_tensor(codes):
            import torch

            originals = torch.from_numpy(originals).to(codes.device)
        self.sample_weight_ = _followed_by(originals[codes], np.repeat(new, n_new))


def _followed_by(known: Any, made: NDArray[Any]) -> Any:
    """Return an array or a tensor with further entries."""
    if not is_tensor(known):
        return np.concatenate([known, made])
    import torch

    return torch.cat([known, torch.from_numpy(made).to(known.device)])
