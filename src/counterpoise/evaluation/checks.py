"""Checks of arrays; each raises :class:`InputError`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from counterpoise.exceptions import InputError

ROUNDING = 1e-4  # half-precision softmax outputs may overshoot 1 by this much


def check_classes(classes: Sequence[str]) -> tuple[str, ...]:
    """Return the class names as a tuple."""
    if isinstance(classes, str):
        raise InputError(f"classes is the string {classes!r}; pass a sequence of class names")
    names = tuple(str(name) for name in classes)
    if len(names) < 2:
        raise InputError(f"found {len(names)} class name(s), expected at least 2")
    if len(set(names)) < len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise InputError(f"class names must differ, but {', '.join(map(repr, twice))} appears more than once")
    return names


def check_labels(labels: ArrayLike, *, num_classes: int, name: str = "y_true") -> np.ndarray:
    """Return labels as int64 of shape (N,), each in 0 .. `num_classes` - 1."""
    array = np.asarray(labels)
    if array.ndim != 1:
        raise InputError(f"{name} has shape {array.shape}, expected (N,): one class index for each sample")
    if array.size == 0:
        raise InputError(f"{name} is empty, expected at least one sample")
    if array.dtype.kind not in "biu":
        raise InputError(f"{name} has dtype {array.dtype}, expected class indices 0..{num_classes - 1}")
    low, high = int(array.min()), int(array.max())
    if low < 0 or high >= num_classes:
        wrong = low if low < 0 else high
        raise InputError(f"{name} holds the label {wrong}, expected class indices 0..{num_classes - 1}")
    return array.astype(np.int64)


def check_scores(scores: ArrayLike, *, name: str = "scores") -> np.ndarray:
    """Return finite scores as float64 of shape (N,)."""
    array = _finite(scores, name=name)
    if array.ndim != 1:
        raise InputError(f"{name} has shape {array.shape}, expected (N,): one number for each sample")
    return array


def check_probabilities(y_prob: ArrayLike, *, num_classes: int | None = None) -> np.ndarray:
    """Return probabilities as float64 of shape (N, C), in [0, 1]; rows of one-vs-rest sigmoids do not sum to one."""
    array = _finite(y_prob, name="y_prob")
    if array.ndim != 2 or (num_classes is not None and array.shape[1] != num_classes):
        columns = "C" if num_classes is None else num_classes
        raise InputError(f"y_prob has shape {array.shape}, expected (N, {columns}): a column for each class")
    low, high = float(array.min()), float(array.max())
    if low < -ROUNDING or high > 1 + ROUNDING:
        raise InputError(
            f"y_prob ranges from {low:.4g} to {high:.4g}, expected [0, 1]; apply softmax to logits first"
        )
    return array


def check_samples(
    y_true: ArrayLike, y_prob: ArrayLike, *, num_classes: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the labels and probabilities of the same samples."""
    prob = check_probabilities(y_prob, num_classes=num_classes)
    true = check_labels(y_true, num_classes=prob.shape[1])
    _require_same_length(true, prob, "y_prob")
    return true, prob


def check_predictions(
    y_true: ArrayLike, y_pred: ArrayLike, *, num_classes: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the true and the predicted labels of the same samples."""
    true = check_labels(y_true, num_classes=num_classes)
    predicted = check_labels(y_pred, num_classes=num_classes, name="y_pred")
    _require_same_length(true, predicted, "y_pred")
    return true, predicted


def check_binary(y_true: ArrayLike, scores: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Return (is positive: bool (N,), scores: float64 (N,)) of one class against the rest."""
    positive = check_labels(y_true, num_classes=2).astype(bool)
    values = check_scores(scores)
    _require_same_length(positive, values, "scores")
    return positive, values


def check_minority(minority: Sequence[int], *, num_classes: int) -> tuple[int, ...]:
    """Return the minority class indices, ascending."""
    if len(minority) == 0:
        return ()
    indices = check_labels(minority, num_classes=num_classes, name="minority")
    if len(np.unique(indices)) < len(indices):
        raise InputError(f"minority {indices.tolist()} names a class twice")
    if len(indices) == num_classes:
        raise InputError(f"minority names all {num_classes} classes; leave at least one for the majority")
    return tuple(sorted(indices.tolist()))


def _require_same_length(true: np.ndarray, other: np.ndarray, name: str) -> None:
    if len(true) != len(other):
        raise InputError(
            f"y_true has {len(true)} samples but {name} has {len(other)}; expected the same samples"
        )


def _finite(values: ArrayLike, *, name: str) -> np.ndarray:
    array = np.asarray(values)
    if array.dtype.kind not in "fiub":
        raise InputError(f"{name} has dtype {array.dtype}, expected floats")
    if array.size == 0:
        raise InputError(f"{name} is empty, expected at least one sample")
    array = array.astype(np.float64)
    bad = int(np.count_nonzero(~np.isfinite(array)))
    if bad:
        raise InputError(
            f"{name} holds {bad} NaN or infinite value(s), expected finite numbers; did training diverge?"
        )
    return array
