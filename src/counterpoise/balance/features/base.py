"""What all feature oversamplers share: checks, how much each class grows, random streams, the form of the output."""

from __future__ import annotations

import functools
import math
import numbers
import warnings
from abc import abstractmethod
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
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
from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

from counterpoise.balance._tensors import is_tensor
from counterpoise.exceptions import InputError, ResamplingWarning

__all__ = ["ClassGrowth", "FeatureOversampler"]

_COPIED = 2048
"""Original rows that are copied to the output at a time."""


@dataclass(frozen=True)
class ClassGrowth:
    """One class to be grown: all that a method needs to know about it.

    Attributes
    ----------
    label : object
        The class's label.
    number : int
        Its place among the labels in ascending order.
    points : ndarray or tensor of shape (n_points, n_features)
        The class's own points, in the order of the input.
    rows : ndarray or tensor of shape (n_points,), int64
        Where these points stand in ``X``.
    n_new : int
        How many points to make.
    rng : numpy.random.Generator
        The class's own random stream; no other class draws from it.
    out : ndarray or tensor of shape (n_new, n_features)
        Where the new points are to be written, in the order in which they are made.
    X, codes : ndarray or tensor of shape (n_samples, n_features), (n_samples,)
        The whole input, with the number of each row's class, for methods that look at the other classes.
    n_max, n_min : int
        The sizes of the largest and the smallest class before growing.
    threads : int
        How many classes are grown at the same time.
    """

    label: Any
    number: int
    points: Any
    rows: Any
    n_new: int
    rng: np.random.Generator
    out: Any
    X: Any
    codes: Any
    n_max: int
    n_min: int
    threads: int


class FeatureOversampler(BaseOverSampler):
    """Base of the oversamplers that make new points in a feature space.

    It follows imbalanced-learn: ``fit_resample(X, y)`` returns the input's rows, unchanged and first, then the new
    points class by class in ascending order of the label. A method fills one hook, :meth:`_grow_class`.

    Parameters
    ----------
    sampling_strategy : float, str, dict or callable, default="auto"
        As in imbalanced-learn. A name chooses the classes to grow, a dict (or a callable that returns one) also says
        how many points each should have in the end; a float is the ratio of minority to majority for two classes.
    desired_ratio : float, default=1.0
        The imbalance ratio to reach, at least 1: the chosen classes grow to ``ceil(n_max / desired_ratio)`` points.
        Only with a named ``sampling_strategy``.
    random_state : int, RandomState, Generator or None, default=None
        The seed. Every class draws from its own stream, so that no two classes share draws and no class's draws
        depend on which others are grown.
    n_jobs : int or None, default=-1
        Threads over the classes: -1 for one per processor, None for 1, as in joblib. The result does not depend on it.

    Attributes
    ----------
    sampling_strategy_ : dict
        How many new points each grown class got.
    sample_weight_ : ndarray of shape (n_samples_new,), float64
        A weight for each row of the output.
    n_features_in_ : int
        How many columns X had.
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
        """Write ``growth.n_new`` new points into ``growth.out``; called for classes of at least two points."""

    def _weigh(
        self, before: NDArray[np.int64], after: NDArray[np.int64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Weights per class of the original and of the new points, from the class counts before and after."""
        return np.ones(before.size), np.ones(after.size)

    def fit_resample(self, X: Any, y: Any, **params: Any) -> Any:
        """Grow the small classes.

        Parameters
        ----------
        X : {array-like, dataframe, sparse matrix, tensor} of shape (n_samples, n_features)
            The points. float32 and float64 are kept, other numbers become float64 (half precision: float32).
        y : {array-like, tensor} of shape (n_samples,)
            Their labels.
        **params : dict
            Not used; for imbalanced-learn.

        Returns
        -------
        X_resampled : same container as X, of shape (n_samples_new, n_features)
            The rows of X first and unchanged, then the new points, class by class in ascending order of the label.
        y_resampled : same container as y, of shape (n_samples_new,)
            Their labels.

        Raises
        ------
        InputError
            If the options contradict each other, or a tensor cannot be used.
        """
        if is_tensor(X):
            return self._fit_resample_tensor(X, y)
        if not params and type(X) is np.ndarray and type(y) is np.ndarray and _are_plain_labels(X, y):
            return self._fit_resample_plain(X, y)
        return super().fit_resample(X, y, **params)

    def _fit_resample_plain(self, X: NDArray[Any], y: NDArray[np.integer[Any]]) -> tuple[Any, NDArray[Any]]:
        """Do what imbalanced-learn does for arrays, without its five sorts of the labels to find out what they are."""
        self._validate_params()
        # whether all of X is finite is seen while it is copied, part by part: one pass over it less
        X, y = validate_data(self, X=X, y=y, reset=True, ensure_all_finite=False)
        classes, codes, counts = _count(y)
        if self.sampling_strategy in ("auto", "not majority"):
            majority = int(counts.argmax())
            missing = zip(classes.tolist(), (counts[majority] - counts).tolist(), strict=True)
            self.sampling_strategy_ = {c: n for i, (c, n) in enumerate(missing) if i != majority}
        else:
            self.sampling_strategy_ = check_sampling_strategy(self.sampling_strategy, y, self._sampling_type)
        return self._resample_counted(_as_floats(X), y, classes, codes, counts)

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
            # of labels on a device only the different values and their counts come to the processor
            classes, before = values.cpu().numpy(), counts.cpu().numpy()
        else:
            classes, codes, before = _count(y)
        self.n_features_in_ = X.shape[1]
        self.sampling_strategy_ = check_sampling_strategy(
            self.sampling_strategy, np.repeat(classes, before), self._sampling_type
        )
        X_out, n_new = self._grow(X.detach(), torch.as_tensor(codes, device=X.device), classes, before)
        if not is_tensor(y):
            return X_out, np.concatenate([y, np.repeat(classes, n_new)])
        repeats = torch.from_numpy(n_new).to(y.device)
        return X_out, torch.cat([y, values.repeat_interleave(repeats, output_size=int(n_new.sum()))])

    def _check_X_y(self, X: Any, y: Any, accept_sparse: Any = None) -> Any:
        X, y, binarize_y = super()._check_X_y(X, y, accept_sparse=accept_sparse)
        return _as_floats(X), y, binarize_y

    def _fit_resample(self, X: Any, y: NDArray[Any]) -> tuple[Any, NDArray[Any]]:
        if sparse.issparse(X):
            # means of several points have few zeros, so the work is done on, and needs the room of, a dense matrix
            X_out, y_out = self._fit_resample(X.toarray(), y)
            return type(X)(X_out), y_out
        return self._resample_counted(X, y, *_count(y))

    def _resample_counted(
        self,
        X: NDArray[Any],
        y: NDArray[Any],
        classes: NDArray[Any],
        codes: NDArray[Any],
        before: NDArray[np.int64],
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        X_out, n_new = self._grow(X, codes, classes, before)
        return X_out, np.concatenate([y, np.repeat(classes, n_new)])

    def _grow(
        self, X: Any, codes: Any, classes: NDArray[Any], before: NDArray[np.int64]
    ) -> tuple[Any, NDArray[np.int64]]:
        """Make the output's rows; ``codes`` are the numbers of the rows' classes, on the device of X."""
        n_new = self._new_per_class(classes, before)
        self.sampling_strategy_ = {c: n for c, n in zip(classes.tolist(), n_new.tolist(), strict=True) if n}

        first_new = X.shape[0] + np.concatenate([[0], np.cumsum(n_new)])
        shape = (int(first_new[-1]), X.shape[1])
        X_out = X.new_empty(shape) if is_tensor(X) else np.empty(shape, dtype=X.dtype)
        seed = _seed_of(self.random_state)
        threads = (
            min(effective_n_jobs(self.n_jobs), int(np.count_nonzero(n_new)))
            if isinstance(X, np.ndarray)
            else 1
        )
        growths = []
        for number in np.flatnonzero(n_new):
            rows = _places(codes == int(number))
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
        parts = [slice(first, min(first + _COPIED, X.shape[0])) for first in range(0, X.shape[0], _COPIED)]
        copies = [functools.partial(self._copy, X[part], X_out[part]) for part in parts]
        self._grow_all(
            growths, threads, [*copies, functools.partial(self._set_weights, codes, before, n_new)]
        )
        return X_out, n_new

    def _copy(self, originals: Any, out: Any) -> None:
        out[:] = originals
        self._check_finite(out)  # what was just written is still in the cache

    def _check_finite(self, X: Any) -> None:
        if not isinstance(
            X, np.ndarray
        ):  # a tensor is checked as a whole, for every look at it waits for its device
            return
        with np.errstate(over="ignore", invalid="ignore"):
            finite = np.isfinite(X.sum())
        if not finite:  # or the sum is too large to be represented
            assert_all_finite(X, estimator_name=type(self).__name__, input_name="X")

    def _grow_all(self, growths: list[ClassGrowth], threads: int, copies: list[Callable[[], None]]) -> None:
        """Grow the classes; meanwhile the original rows are copied to the output, part by part, and weighed."""
        real = []
        for growth in growths:
            if growth.points.shape[0] == 1:
                warnings.warn(
                    f"class {growth.label!r} has a single point, so its {growth.n_new} new points are copies of it",
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
        # the longest first, so that no thread is left with a long class at the end
        real.sort(key=lambda growth: -growth.n_new * growth.points.shape[0])
        # with a thread per processor, matrix products that start threads of their own would only wait for each other
        with one_blas_thread(), ThreadPoolExecutor(threads) as pool:
            grown = pool.map(self._grow_class, real)
            # last: the parts are short, and fill the time that one thread waits for the other
            copied = [pool.submit(copy) for copy in copies]
            list(grown)
            for part in copied:
                part.result()

    def _new_per_class(self, classes: NDArray[Any], before: NDArray[np.int64]) -> NDArray[np.int64]:
        """How many new points each class gets; ``sampling_strategy_`` holds what imbalanced-learn made of it."""
        wanted = np.array([self.sampling_strategy_.get(c, 0) for c in classes.tolist()], dtype=np.int64)
        if self.desired_ratio == 1.0:
            return wanted
        if not isinstance(self.sampling_strategy, str):
            raise InputError(
                f"desired_ratio={self.desired_ratio} was given together with a sampling_strategy that fixes the counts "
                "itself; use one of the two"
            )
        chosen = [c in self.sampling_strategy_ for c in classes.tolist()]
        # the small subtraction keeps a quotient such as 5000.000000000001 from being rounded up
        target = math.ceil(before.max() / self.desired_ratio - 1e-9)
        return np.where(chosen, np.maximum(target - before, 0), 0)

    def _set_weights(self, codes: Any, before: NDArray[np.int64], n_new: NDArray[np.int64]) -> None:
        originals, new = self._weigh(before, before + n_new)
        if not is_tensor(codes):
            self.sample_weight_ = np.concatenate([originals[codes], np.repeat(new, n_new)])
            return
        import torch

        known, made = (torch.from_numpy(part).to(codes.device) for part in (originals, np.repeat(new, n_new)))
        self.sample_weight_ = torch.cat([known[codes], made])


@functools.cache
def _pools() -> ThreadpoolController:
    return ThreadpoolController()


def _are_plain_labels(X: NDArray[Any], y: NDArray[Any]) -> bool:
    """Whether these are class labels beyond doubt: one integer per row, of few different values."""
    if y.ndim != 1 or y.dtype.kind not in "iu" or X.ndim != 2 or X.shape[0] != y.size or y.size == 0:
        return False
    # a wide range could be that of a quantity, about which scikit-learn warns
    return 0 < int(y.max()) - int(y.min()) < y.size // 2


def _count(y: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.int64]]:
    """Return the labels' values, ascending, for each label the number of its value, and each value's count."""
    if not (y.dtype.kind in "iu" and y.size and int(y.max()) - int(y.min()) < y.size):
        return np.unique(y, return_inverse=True, return_counts=True)
    low = int(y.min())
    offsets = y.astype(np.int64) - low  # 8-bit labels may lie farther apart than 8 bits can say
    counts = np.bincount(offsets)
    present = np.flatnonzero(counts)
    numbers = np.zeros(counts.size, dtype=np.intp)
    numbers[present] = np.arange(present.size)
    return (present + low).astype(y.dtype), numbers[offsets], counts[present]


def _places(flags: Any) -> Any:
    return flags.nonzero()[:, 0] if is_tensor(flags) else np.flatnonzero(flags)


def _as_floats(X: Any) -> Any:
    if X.dtype in (np.float32, np.float64):
        return X
    return X.astype(np.float32 if X.dtype == np.float16 else np.float64)


def one_blas_thread() -> Any:
    """Keep the products of a ``with`` block to one thread."""
    return _pools().limit(limits=1, user_api="blas")


def _seed_of(random_state: Any) -> int:
    """One number per fit, from which every class's stream is derived."""
    if random_state is None:
        return int(np.random.SeedSequence().entropy)  # type: ignore[arg-type]
    if isinstance(random_state, np.random.Generator):
        return int(random_state.integers(2**63))
    if isinstance(random_state, np.random.RandomState):
        return int(random_state.randint(2**63, dtype=np.int64))
    if random_state is np.random:
        return int(np.random.mtrand._rand.randint(2**63, dtype=np.int64))
    return int(random_state)
