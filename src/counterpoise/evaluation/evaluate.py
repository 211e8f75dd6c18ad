"""All scores of one classifier on one set of samples, as plain numbers ready for JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from counterpoise.evaluation.calibration import calibration_error
from counterpoise.evaluation.checks import (
    check_classes,
    check_labels,
    check_minority,
    check_probabilities,
    check_same_length,
)
from counterpoise.evaluation.confusion import class_outcomes, confusion_matrix
from counterpoise.evaluation.curves import class_aucs
from counterpoise.evaluation.flags import score_flags
from counterpoise.evaluation.scores import (
    Score,
    class_f1_scores,
    class_precisions,
    class_recalls,
    class_specificities,
    geometric_mean,
    macro_average,
    micro_average,
)

METRICS = ("precision", "recall", "specificity", "f1", "gmean", "accuracy", "auc")
"""The scores of a group of classes, in the order in which tables show them."""


def evaluate(
    y_true: ArrayLike, y_prob: ArrayLike, *, classes: Sequence[str], minority: Sequence[int] = ()
) -> dict[str, Any]:
    """Score predicted probabilities; the predicted class is the most probable one (the first of equals).

    Parameters
    ----------
    y_true : array-like of int, shape (N,)
        Class indices 0 .. C - 1.
    y_prob : array-like of float, shape (N, C)
        Probabilities in [0, 1].
    classes : sequence of str
        The C class names.
    minority : sequence of int, default ()
        Indices of the minority classes; the others are the majority.

    Returns
    -------
    dict
        ``n``; ``all``, ``majority`` and ``minority`` (None if there is none), each with the macro average
        over its classes of precision, recall, specificity, F1 and one-vs-rest AUC, with the G-mean of its
        recalls (thesis Eqs. 2.2-2.11), and with its accuracy, the share of its samples classified correctly;
        ``micro``; ``per_class``; ``confusion_matrix`` (rows are true classes); ``calibration_error``
        (15 bins); ``flags``, what to know before trusting the numbers. An undefined value is None.

    Raises
    ------
    InputError
        If shapes, labels, probabilities or class names do not fit.

    Notes
    -----
    A class without samples in `y_true` has no recall, F1 or AUC (None) and is left out of all averages;
    samples wrongly predicted as it still count against their own class. A group whose classes all lack
    samples has None throughout.

    Examples
    --------
    >>> prob = [[0.9, 0.1], [0.6, 0.4], [0.7, 0.3], [0.2, 0.8]]
    >>> scores = evaluate([0, 0, 1, 1], prob, classes=["cat", "dog"], minority=[1])
    >>> scores["all"]["recall"], scores["minority"]["recall"], scores["all"]["auc"]
    (0.75, 0.5, 0.75)
    """
    names = check_classes(classes)
    prob = check_probabilities(y_prob, num_classes=len(names))
    true = check_labels(y_true, num_classes=len(names))
    check_same_length(true, prob, names=("y_true", "y_prob"))
    return _scores(
        true,
        prob.argmax(axis=1),
        names=names,
        minority=minority,
        aucs=class_aucs(true, prob),
        calibration=calibration_error(true, prob),
    )


def evaluate_predictions(
    y_true: ArrayLike, y_pred: ArrayLike, *, classes: Sequence[str], minority: Sequence[int] = ()
) -> dict[str, Any]:
    """Score predicted classes where there are no probabilities.

    Parameters
    ----------
    y_true, y_pred : array-like of int, shape (N,)
        Class indices 0 .. C - 1.
    classes, minority
        See :func:`evaluate`.

    Returns
    -------
    dict
        As :func:`evaluate`, with every ``auc`` and the ``calibration_error`` None.

    Raises
    ------
    InputError
        If labels or class names do not fit.

    Examples
    --------
    >>> scores = evaluate_predictions([0, 0, 1, 1], [0, 0, 0, 0], classes=["cat", "dog"])
    >>> scores["all"]["accuracy"], scores["all"]["gmean"], scores["all"]["auc"]
    (0.5, 0.0, None)
    """
    names = check_classes(classes)
    true = check_labels(y_true, num_classes=len(names))
    predicted = check_labels(y_pred, num_classes=len(names), name="y_pred")
    check_same_length(true, predicted, names=("y_true", "y_pred"))
    nothing: list[Score] = [None] * len(names)
    return _scores(true, predicted, names=names, minority=minority, aucs=nothing, calibration=None)


def _scores(
    true: np.ndarray,
    predicted: np.ndarray,
    *,
    names: tuple[str, ...],
    minority: Sequence[int],
    aucs: list[Score],
    calibration: Score,
) -> dict[str, Any]:
    rare = check_minority(minority, num_classes=len(names))
    matrix = confusion_matrix(true, predicted, num_classes=len(names))
    columns: dict[str, list[Score]] = {
        "precision": class_precisions(matrix),
        "recall": class_recalls(matrix),
        "specificity": class_specificities(matrix),
        "f1": class_f1_scores(matrix),
        "auc": aucs,
    }
    everything = range(len(names))
    return {
        "n": len(true),
        "all": _group(matrix, columns, everything),
        "majority": _group(matrix, columns, [index for index in everything if index not in rare]),
        "minority": _group(matrix, columns, rare) if rare else None,
        "micro": micro_average(matrix),
        "per_class": _per_class(matrix, columns, names),
        "confusion_matrix": matrix.tolist(),
        "calibration_error": calibration,
        "flags": score_flags(matrix, names),
    }


def _group(matrix: np.ndarray, columns: dict[str, list[Score]], group: Sequence[int]) -> dict[str, Score]:
    """Score a group of classes, leaving out those without samples."""
    present = [index for index in group if matrix[index].sum() > 0]
    scores: dict[str, Score] = dict.fromkeys(METRICS)
    if not present:
        return scores
    for metric, values in columns.items():
        if any(values[index] is not None for index in present):
            scores[metric] = macro_average(values, over=present)
    scores["gmean"] = geometric_mean(columns["recall"], over=present)
    scores["accuracy"] = float(np.diagonal(matrix)[present].sum() / matrix[present].sum())
    return scores


def _per_class(
    matrix: np.ndarray, columns: dict[str, list[Score]], names: tuple[str, ...]
) -> list[dict[str, Any]]:
    outcomes = {name: np.atleast_1d(count) for name, count in class_outcomes(matrix)._asdict().items()}
    return [
        {
            "name": name,
            "support": int(matrix[index].sum()),
            "predicted": int(matrix[:, index].sum()),
            **{key: int(counts[index]) for key, counts in outcomes.items()},
            **{metric: values[index] for metric, values in columns.items()},
        }
        for index, name in enumerate(names)
    ]
