"""The confusion matrix and the outcomes counted in it.

Rows are the true classes and columns the predicted ones, as in the thesis (Definition 2.2) and in
scikit-learn. The lecture's figures have the true classes in columns (its c21 is class 1 taken for class 2):
transpose those before comparing.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from counterpoise.evaluation.checks import check_labels, check_same_length
from counterpoise.exceptions import InputError


class Outcomes(NamedTuple):
    """True and false positives and negatives: int64 (C,) one against the rest, or plain totals."""

    tp: np.ndarray | int
    tn: np.ndarray | int
    fp: np.ndarray | int
    fn: np.ndarray | int


def confusion_matrix(y_true: ArrayLike, y_pred: ArrayLike, *, num_classes: int) -> np.ndarray:
    """Count the samples of each true class (row) that were predicted as each class (column).

    The result is int64 of shape (C, C). Classes that do not occur get a row and a column of zeros.

    Examples
    --------
    >>> confusion_matrix([0, 0, 1, 2], [0, 1, 1, 1], num_classes=3).tolist()
    [[1, 1, 0], [0, 1, 0], [0, 1, 0]]
    """
    from sklearn.metrics import confusion_matrix as count

    true = check_labels(y_true, num_classes=num_classes)
    predicted = check_labels(y_pred, num_classes=num_classes, name="y_pred")
    check_same_length(true, predicted, names=("y_true", "y_pred"))
    return np.asarray(count(true, predicted, labels=np.arange(num_classes)), dtype=np.int64)


def check_matrix(matrix: ArrayLike) -> np.ndarray:
    """Return a confusion matrix as int64 (C, C): square, of whole non-negative numbers, not all 0."""
    array = np.asarray(matrix)
    if array.ndim != 2 or array.shape[0] != array.shape[1]:
        raise InputError(f"the confusion matrix has shape {array.shape}, expected (C, C)")
    if array.dtype.kind not in "iu" or (array < 0).any():
        raise InputError("the confusion matrix must hold counts: whole numbers from 0; do not normalize it")
    if array.sum() == 0:
        raise InputError("the confusion matrix counts no sample, expected at least one")
    return array.astype(np.int64)


def class_outcomes(matrix: ArrayLike) -> Outcomes:
    """Return TP, TN, FP and FN of every class against the rest, each int64 of shape (C,).

    Examples
    --------
    >>> outcomes = class_outcomes([[5, 1], [2, 7]])
    >>> [counts.tolist() for counts in outcomes]
    [[5, 7], [7, 5], [2, 1], [1, 2]]
    """
    array = check_matrix(matrix)
    tp = np.diagonal(array).copy()
    fp = array.sum(axis=0) - tp
    fn = array.sum(axis=1) - tp
    return Outcomes(tp=tp, tn=array.sum() - tp - fp - fn, fp=fp, fn=fn)


def total_outcomes(matrix: ArrayLike) -> Outcomes:
    """Return TP, TN, FP and FN summed over the classes, as plain integers.

    Every sample counts once for each class, so the four add up to N * C.

    Examples
    --------
    >>> total_outcomes([[5, 1], [2, 7]])
    Outcomes(tp=12, tn=12, fp=3, fn=3)
    """
    return Outcomes(*(int(np.sum(counts)) for counts in class_outcomes(matrix)))
