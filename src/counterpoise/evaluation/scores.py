"""Confusion matrices, and their scores: of each class, averaged over classes, and pooled (thesis section 2.6).

Rows are the true classes and columns the predicted ones, as in the thesis (Definition 2.2) and in scikit-learn. The
lecture's figures have the true classes in columns (its c21 is class 1 taken for class 2): transpose those before
comparing. Scores lie in [0, 1]; an undefined one is None, never NaN, and is left out of averages.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from counterpoise.evaluation.checks import check_predictions
from counterpoise.exceptions import InputError


class Outcomes(NamedTuple):
    """True and false positives and negatives: int64 (C,) one against the rest, or plain totals."""

    tp: np.ndarray | int
    tn: np.ndarray | int
    fp: np.ndarray | int
    fn: np.ndarray | int


def confusion_matrix(y_true: ArrayLike, y_pred: ArrayLike, *, num_classes: int) -> np.ndarray:
    """Count the samples of each true class (row) that were predicted as each class (column), int64 of shape (C, C).

    Examples
    --------
    >>> confusion_matrix([0, 0, 1, 2], [0, 1, 1, 1], num_classes=3).tolist()
    [[1, 1, 0], [0, 1, 0], [0, 1, 0]]
    """
    from sklearn.metrics import confusion_matrix as count

    true, predicted = check_predictions(y_true, y_pred, num_classes=num_classes)
    return np.asarray(count(true, predicted, labels=np.arange(num_classes)), dtype=np.int64)


def class_outcomes(matrix: ArrayLike) -> Outcomes:
    """Return TP, TN, FP and FN of every class against the rest, each int64 of shape (C,).

    Examples
    --------
    >>> outcomes = class_outcomes([[5, 1], [2, 7]])
    >>> [counts.tolist() for counts in outcomes]
    [[5, 7], [7, 5], [2, 1], [1, 2]]
    """
    array = _check_matrix(matrix)
    tp = np.diagonal(array).copy()
    fp = array.sum(axis=0) - tp
    fn = array.sum(axis=1) - tp
    return Outcomes(tp=tp, tn=array.sum() - tp - fp - fn, fp=fp, fn=fn)


def total_outcomes(matrix: ArrayLike) -> Outcomes:
    """Return TP, TN, FP and FN summed over the classes, as plain integers that add up to N * C.

    Examples
    --------
    >>> total_outcomes([[5, 1], [2, 7]])
    Outcomes(tp=12, tn=12, fp=3, fn=3)
    """
    return Outcomes(*(int(np.sum(counts)) for counts in class_outcomes(matrix)))


def class_precisions(matrix: ArrayLike) -> list[float | None]:
    """Return the precision of every class, m_ii / l_i (thesis Eq. 2.1).

    A class with samples that was never predicted has precision 0; one with neither has None.

    Examples
    --------
    >>> class_precisions([[3, 1, 0], [2, 2, 0], [0, 1, 0]])
    [0.6, 0.5, 0.0]
    """
    array = _check_matrix(matrix)
    precisions = _ratios(np.diagonal(array), array.sum(axis=0))
    return [0.0 if p is None and n > 0 else p for p, n in zip(precisions, array.sum(axis=1), strict=True)]


def class_recalls(matrix: ArrayLike) -> list[float | None]:
    """Return the recall (sensitivity) of every class, m_ii / n_i (thesis Eq. 2.4); None without samples.

    Examples
    --------
    >>> class_recalls([[3, 1, 0], [2, 2, 0], [0, 0, 0]])
    [0.75, 0.5, None]
    """
    array = _check_matrix(matrix)
    return _ratios(np.diagonal(array), array.sum(axis=1))


def class_specificities(matrix: ArrayLike) -> list[float | None]:
    """Return the specificity of every class, TN / (TN + FP) (lecture); None for one that holds all samples."""
    outcomes = class_outcomes(matrix)
    return _ratios(outcomes.tn, outcomes.tn + outcomes.fp)


def class_f1_scores(matrix: ArrayLike) -> list[float | None]:
    """Return the F1 score of every class, the harmonic mean of precision and recall (thesis Eq. 2.7).

    None for a class without samples; 0 where precision and recall are both 0.
    """
    outcomes = class_outcomes(matrix)
    scores = _ratios(2 * outcomes.tp, 2 * outcomes.tp + outcomes.fp + outcomes.fn)
    support = np.atleast_1d(outcomes.tp + outcomes.fn)
    return [score if n > 0 else None for score, n in zip(scores, support, strict=True)]


def accuracy(matrix: ArrayLike, classes: Iterable[int] | None = None) -> float:
    """Return the share of samples, of all or of some classes, classified correctly, trace / sum (thesis Eq. 2.12).

    Examples
    --------
    >>> accuracy([[3, 1], [0, 4]]), accuracy([[3, 1], [0, 4]], [0])
    (0.875, 0.75)
    """
    array = _check_matrix(matrix)
    rows = np.arange(len(array)) if classes is None else np.asarray(list(classes))
    return float(np.diagonal(array)[rows].sum() / array[rows].sum())


def macro_average(values: Sequence[float | None], *, over: Iterable[int] | None = None) -> float:
    """Return the plain mean over all or some class indices (thesis Eqs. 2.2-2.3, 2.5-2.6, 2.8-2.9).

    None is left out; if no value is left, InputError is raised.

    Examples
    --------
    >>> macro_average([0.5, 1.0, None])
    0.75
    """
    return float(np.mean(_defined(values, over)))


def geometric_mean(values: Sequence[float | None], *, over: Iterable[int] | None = None) -> float:
    """Return the geometric mean over all or some class indices; of recalls, the G-mean (thesis Eqs. 2.10-2.11).

    One zero makes it 0: nothing is added to keep it off zero. None is left out; if no value is left or one is
    negative, InputError is raised.

    Examples
    --------
    >>> geometric_mean([0.5, 0.5, None]), geometric_mean([0.9, 0.0])
    (0.5, 0.0)
    """
    from scipy.stats import gmean

    chosen = np.asarray(_defined(values, over))
    if (chosen < 0).any():
        raise InputError(f"a geometric mean needs values from 0, found {chosen.min():.4g}")
    return float(gmean(chosen))


def micro_average(matrix: ArrayLike) -> dict[str, float]:
    """Return precision, recall, specificity and F1 of the totals over all classes (lecture, "Micro average").

    With one label for each sample, total FP equals total FN: all but the specificity equal the accuracy.

    Examples
    --------
    >>> micro_average([[3, 1, 0], [0, 4, 0], [0, 1, 1]])
    {'precision': 0.8, 'recall': 0.8, 'specificity': 0.9, 'f1': 0.8}
    """
    tp, tn, fp, fn = (int(count) for count in total_outcomes(matrix))
    return {
        "precision": tp / (tp + fp),
        "recall": tp / (tp + fn),
        "specificity": tn / (tn + fp),
        "f1": 2 * tp / (2 * tp + fp + fn),
    }


def _check_matrix(matrix: ArrayLike) -> np.ndarray:
    """Return a confusion matrix as int64 (C, C): square, of whole non-negative numbers, not all 0."""
    array = np.asarray(matrix)
    if array.ndim != 2 or array.shape[0] != array.shape[1]:
        raise InputError(f"the confusion matrix has shape {array.shape}, expected (C, C)")
    if array.dtype.kind not in "iu" or (array < 0).any():
        raise InputError("the confusion matrix must hold counts: whole numbers from 0; do not normalize it")
    if array.sum() == 0:
        raise InputError("the confusion matrix counts no sample, expected at least one")
    return array.astype(np.int64)


def _ratios(numerators: np.ndarray | int, denominators: np.ndarray | int) -> list[float | None]:
    # The same floats as scikit-learn's scores, which take labels instead of counts. imbalanced-learn's specificity
    # differs in the last digit.
    pairs = zip(np.atleast_1d(numerators).tolist(), np.atleast_1d(denominators).tolist(), strict=True)
    return [above / below if below else None for above, below in pairs]


def _defined(values: Sequence[float | None], over: Iterable[int] | None) -> list[float]:
    wanted = range(len(values)) if over is None else over
    chosen = [value for value in (values[index] for index in wanted) if value is not None]
    if not chosen:
        raise InputError("no class has a defined value, so there is nothing to average; is y_true empty?")
    return chosen
