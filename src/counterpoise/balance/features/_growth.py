"""One class to grow, and helpers of its oversamplers: seeds, labels, BLAS threads."""

from __future__ import annotations

import functools
import numbers
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_random_state
from threadpoolctl import ThreadpoolController


@dataclass(frozen=True)
class ClassGrowth:
    """One class to grow; arrays are tensors where the input is one.

    The class has the index ``number`` among the labels in ascending order; its ``points`` are the ``rows`` of the
    input X, of whose rows ``codes`` are the classes' numbers. ``out`` of shape (n_new, n_features) takes the synthetic
    samples, in the order in which they are made. ``n_max`` and ``n_min`` are the sizes of the input's largest and
    smallest class, and ``threads`` classes grow at the same time.
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


@functools.cache
def _pools() -> ThreadpoolController:
    return ThreadpoolController()


def one_blas_thread() -> Any:
    """Limit the matrix products of a ``with`` block to one thread."""
    return _pools().limit(limits=1, user_api="blas")


def are_plain_labels(X: NDArray[Any], y: NDArray[Any]) -> bool:
    """Return whether these are class labels beyond doubt: one integer per row, of few different values."""
    if y.ndim != 1 or y.dtype.kind not in "iu" or X.ndim != 2 or X.shape[0] != y.size or y.size == 0:
        return False
    # a wide range could be that of a quantity, about which scikit-learn warns
    return 0 < int(y.max()) - int(y.min()) < y.size // 2


def count_labels(y: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.int64]]:
    """Return the labels' values, ascending, each label's index among them, and each value's count."""
    if not (y.dtype.kind in "iu" and y.size and int(y.max()) - int(y.min()) < y.size):
        return np.unique(y, return_inverse=True, return_counts=True)
    low = int(y.min())
    offsets = y.astype(np.int64) - low  # 8 bits are too few for the differences of 8-bit labels
    counts = np.bincount(offsets)
    present = np.flatnonzero(counts)
    index = np.zeros(counts.size, dtype=np.intp)
    index[present] = np.arange(present.size)
    return (present + low).astype(y.dtype), index[offsets], counts[present]


def as_floats(X: Any) -> Any:
    """Return X as float32 or float64."""
    if X.dtype in (np.float32, np.float64):
        return X
    return X.astype(np.float32 if X.dtype == np.float16 else np.float64)


def seed_of(random_state: Any) -> int:
    """Return one number per fit, from which every class's stream is derived."""
    if random_state is None:
        return int(np.random.SeedSequence().entropy)  # type: ignore[arg-type]
    if isinstance(random_state, np.random.Generator):
        return int(random_state.integers(2**63))
    if isinstance(random_state, numbers.Integral):
        return int(random_state)
    return int(check_random_state(random_state).randint(2**63, dtype=np.int64))
