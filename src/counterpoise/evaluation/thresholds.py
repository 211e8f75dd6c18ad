"""Where to cut: thresholds from the ROC curve or from what mistakes cost, and predictions by them.

Everywhere, a sample is positive when its score is at least the threshold. Choose thresholds on validation
data. Cost matrices have true classes in rows and predicted ones in columns, as the confusion matrix.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from counterpoise.evaluation.checks import check_probabilities, check_scores
from counterpoise.evaluation.curves import roc_curve, threshold_table
from counterpoise.exceptions import InputError


class YoudenThreshold(NamedTuple):
    """The threshold with the highest Youden's J.

    Attributes
    ----------
    threshold : float
        Samples with at least this score are positive.
    j : float
        tpr - fpr = recall + specificity - 1 at the threshold, in [0, 1].
    """

    threshold: float
    j: float


class CostThreshold(NamedTuple):
    """The threshold with the lowest cost on given samples.

    Attributes
    ----------
    threshold : float
        Samples with at least this score are positive.
    cost : float
        The mean cost of a sample at the threshold, in the units of the cost matrix.
    """

    threshold: float
    cost: float


def youden_threshold(y_true: ArrayLike, scores: ArrayLike) -> YoudenThreshold:
    """Return the threshold with the highest J = recall + specificity - 1 (Youden 1950).

    Parameters
    ----------
    y_true : array-like of bool or int, shape (N,)
        True (1) for samples of the class.
    scores : array-like of float, shape (N,)
        Higher means more likely of the class.

    Returns
    -------
    YoudenThreshold
        The highest of equally good thresholds; one of the scores, or just above all of them where no cut is
        better than none.

    Raises
    ------
    InputError
        If the arrays do not fit or if only one kind of sample is there.

    Examples
    --------
    >>> youden_threshold([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    YoudenThreshold(threshold=0.8, j=0.5)
    """
    curve = roc_curve(y_true, scores)
    j = np.asarray(curve.tpr) - np.asarray(curve.fpr)
    best = int(np.argmax(np.round(j, 12)))  # so that rounding does not decide between equals
    return YoudenThreshold(curve.thresholds[best], float(j[best]))


def cost_threshold(cost_matrix: ArrayLike) -> float:
    """Return the probability from which calling a sample positive is expected to cost less.

    p* = (c01 - c00) / (c01 - c00 + c10 - c11) (Elkan 2001, Eq. 2), where c01 is a false alarm and c10 a miss.
    It is right for calibrated probabilities; :func:`lowest_cost_threshold` needs none.

    Parameters
    ----------
    cost_matrix : array-like of float, shape (2, 2)
        Cost of predicting the column for a sample of the row. A mistake must cost more than being right.

    Returns
    -------
    float
        In (0, 1).

    Raises
    ------
    InputError
        If the matrix has another shape or a mistake costs no more than being right.

    Examples
    --------
    >>> cost_threshold([[0, 1], [9, 0]])  # a miss costs nine false alarms
    0.1
    """
    costs = _check_costs(cost_matrix, num_classes=2)
    false_alarm, miss = costs[0, 1] - costs[0, 0], costs[1, 0] - costs[1, 1]
    if false_alarm <= 0 or miss <= 0:
        raise InputError(
            f"the cost matrix {costs.tolist()} makes a mistake as cheap as being right, expected it dearer"
        )
    return float(false_alarm / (false_alarm + miss))


def lowest_cost_threshold(y_true: ArrayLike, scores: ArrayLike, cost_matrix: ArrayLike) -> CostThreshold:
    """Return the threshold with the lowest mean cost on these samples.

    Parameters
    ----------
    y_true : array-like of bool or int, shape (N,)
        True (1) for samples of the class.
    scores : array-like of float, shape (N,)
        Higher means more likely of the class; they need not be calibrated.
    cost_matrix : array-like of float, shape (2, 2)
        Cost of predicting the column for a sample of the row.

    Returns
    -------
    CostThreshold
        The highest of equally good thresholds; one of the scores, or just above all of them.

    Raises
    ------
    InputError
        If the arrays do not fit.

    Examples
    --------
    >>> lowest_cost_threshold([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8], [[0, 1], [9, 0]])
    CostThreshold(threshold=0.35, cost=0.25)
    """
    costs = _check_costs(cost_matrix, num_classes=2)
    values = np.unique(check_scores(scores))[::-1]
    cuts = np.concatenate([[np.nextafter(values[0], np.inf)], values])
    table = {name: np.asarray(column) for name, column in threshold_table(y_true, scores, cuts).items()}
    total = (
        costs[0, 0] * table["tn"]
        + costs[0, 1] * table["fp"]
        + costs[1, 0] * table["fn"]
        + costs[1, 1] * table["tp"]
    )
    mean = total / (table["tp"] + table["fp"] + table["fn"] + table["tn"])
    best = int(np.argmin(mean))
    return CostThreshold(float(cuts[best]), float(mean[best]))


def predict_with_thresholds(y_prob: ArrayLike, thresholds: ArrayLike) -> np.ndarray:
    """Predict the class whose probability is highest in proportion to its threshold, argmax_c p_c / t_c.

    With two classes and thresholds (1 - t, t) class 1 is predicted when its probability exceeds t; with equal
    thresholds this is the plain argmax. A lower threshold for a rare class has it predicted
    more often.

    Parameters
    ----------
    y_prob : array-like of float, shape (N, C)
        Probabilities in [0, 1].
    thresholds : array-like of float, shape (C,)
        Above 0.

    Returns
    -------
    ndarray of int64, shape (N,)
        Class indices; the first of equals.

    Raises
    ------
    InputError
        If the shapes do not fit or a threshold is not above 0.

    Examples
    --------
    >>> predict_with_thresholds([[0.6, 0.4], [0.9, 0.1]], [0.7, 0.3]).tolist()
    [1, 0]
    """
    prob = check_probabilities(y_prob)
    cuts = check_scores(thresholds, name="thresholds")
    if len(cuts) != prob.shape[1]:
        raise InputError(f"found {len(cuts)} thresholds for {prob.shape[1]} classes, expected one for each")
    if (cuts <= 0).any():
        raise InputError(f"found the threshold {cuts.min():.4g}, expected numbers above 0")
    return (prob / cuts).argmax(axis=1)


def predict_lowest_cost(y_prob: ArrayLike, cost_matrix: ArrayLike) -> np.ndarray:
    """Predict the class with the lowest expected cost, argmin_j sum_i p_i c_ij (Elkan 2001, Eq. 1).

    Parameters
    ----------
    y_prob : array-like of float, shape (N, C)
        Calibrated probabilities in [0, 1].
    cost_matrix : array-like of float, shape (C, C)
        Cost of predicting the column for a sample of the row.

    Returns
    -------
    ndarray of int64, shape (N,)
        Class indices; the first of equals.

    Raises
    ------
    InputError
        If the shapes do not fit.

    Examples
    --------
    >>> predict_lowest_cost([[0.8, 0.2], [0.95, 0.05]], [[0, 1], [9, 0]]).tolist()
    [1, 0]
    """
    prob = check_probabilities(y_prob)
    return (prob @ _check_costs(cost_matrix, num_classes=prob.shape[1])).argmin(axis=1)


def _check_costs(cost_matrix: ArrayLike, *, num_classes: int) -> np.ndarray:
    costs = np.asarray(cost_matrix, dtype=np.float64)
    if costs.shape != (num_classes, num_classes):
        raise InputError(f"the cost matrix has shape {costs.shape}, expected ({num_classes}, {num_classes})")
    if not np.isfinite(costs).all():
        raise InputError("the cost matrix holds NaN or infinity, expected finite costs")
    return costs
