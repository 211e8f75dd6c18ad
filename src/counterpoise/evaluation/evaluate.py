"""All scores of one classifier on one set of samples, as plain numbers ready for JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypedDict

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
from counterpoise.evaluation.metrics import GROUPS, METRICS, Metric
from counterpoise.evaluation.scores import macro_average, micro_average
from counterpoise.exceptions import InputError

NAMES_SHOWN = 10

GroupScores = dict[str, float | None]
"""Metric -> value of a class group, None where it is undefined."""


class ScoresDict(TypedDict):
    """Scores as in ``metrics.json``.

    ``minority`` is None without minority classes; ``micro`` holds scores of the totals over all classes; entries of
    ``per_class`` hold ``name``, ``support``, ``predicted``, ``tp``, ``tn``, ``fp``, ``fn`` and the metrics of one
    class; ``calibration_error`` has 15 bins; ``flags`` are warnings in sentences.
    """

    n: int
    all: GroupScores
    majority: GroupScores
    minority: GroupScores | None
    micro: dict[str, float]
    per_class: list[dict[str, Any]]
    confusion_matrix: list[list[int]]
    calibration_error: float | None
    flags: list[str]


class ScoreRow(TypedDict):
    """One score of a class group or class: a row of ``results.csv``."""

    classes: str
    metric: str
    value: float


def evaluate(
    y_true: ArrayLike, y_prob: ArrayLike, *, classes: Sequence[str], minority: Sequence[int] = ()
) -> ScoresDict:
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
    return _scores(true, prob.argmax(axis=1), prob, names=names, minority=minority)


def evaluate_predictions(
    y_true: ArrayLike, y_pred: ArrayLike, *, classes: Sequence[str], minority: Sequence[int] = ()
) -> ScoresDict:
    """Score predicted classes where there are no probabilities.

    As :func:`evaluate`, with None for the calibration error and for metrics that need probabilities.

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
    return _scores(true, predicted, None, names=names, minority=minority)


def scores_to_rows(scores: ScoresDict, *, metrics: Sequence[str] | None = None) -> list[ScoreRow]:
    """Flatten the result of :func:`evaluate` into one row for each group or class and metric.

    Undefined values, and metrics that an older result lacks, have no row. A class that is itself called ``all``,
    ``majority`` or ``minority`` appears as ``class all`` and so on, so that it is never taken for a group.

    Raises
    ------
    InputError
        If a metric is unknown or `scores` is not such a result.

    Notes
    -----
    A single class is scored against the rest: its accuracy is (TP + TN) / N and its G-mean is sqrt(recall *
    specificity), as in imbalanced-learn's ``geometric_mean_score(average=None)``. That accuracy is flattered
    by all the samples of other classes; the share of the class's own samples that were classified correctly
    is its recall.

    Examples
    --------
    >>> scores = evaluate_predictions([0, 0, 1, 1], [0, 0, 0, 1], classes=["cat", "dog"], minority=[1])
    >>> for row in scores_to_rows(scores, metrics=["recall"]):
    ...     print(row)
    {'classes': 'all', 'metric': 'recall', 'value': 0.75}
    {'classes': 'majority', 'metric': 'recall', 'value': 1.0}
    {'classes': 'minority', 'metric': 'recall', 'value': 0.5}
    {'classes': 'cat', 'metric': 'recall', 'value': 1.0}
    {'classes': 'dog', 'metric': 'recall', 'value': 0.5}
    """
    chosen = [METRICS[name] for name in (METRICS.names if metrics is None else metrics)]
    if "per_class" not in scores:
        raise InputError("these scores have no 'per_class' entry; pass the result of evaluate(...)")
    # A metric that is newer than the file stays undefined, also where counts would give it.
    chosen = [metric for metric in chosen if metric.name in scores["all"]]
    found: list[tuple[str, str, float | None]] = []
    for group in GROUPS.names:
        block: GroupScores = scores[group] or {}  # type: ignore[literal-required]
        found += [(group, metric.name, block.get(metric.name)) for metric in chosen]
    for entry in scores["per_class"]:
        name = f"class {entry['name']}" if entry["name"] in GROUPS else entry["name"]
        found += [(name, metric.name, _one_class(metric, entry)) for metric in chosen]
    return [
        {"classes": classes, "metric": metric, "value": value}
        for classes, metric, value in found
        if value is not None
    ]


def score_flags(matrix: np.ndarray, classes: Sequence[str]) -> list[str]:
    """Return one sentence for each condition that makes a metric degenerate, with the classes it concerns.

    Examples
    --------
    >>> score_flags(np.array([[4, 0], [3, 0]]), ["cat", "dog"])
    ["never predicted, so precision is set to 0: 'dog'", "recall is 0, so every G-mean with it is 0: 'dog'"]
    """
    rules = sorted((m.degenerate for m in METRICS if m.degenerate), key=lambda rule: rule.rank)
    found = [(rule.text, np.flatnonzero(rule.where(matrix)).tolist()) for rule in rules]
    return [f"{text}: {_listed([classes[i] for i in indices])}" for text, indices in found if indices]


def _scores(
    true: np.ndarray,
    predicted: np.ndarray,
    prob: np.ndarray | None,
    *,
    names: tuple[str, ...],
    minority: Sequence[int],
) -> ScoresDict:
    rare = check_minority(minority, num_classes=len(names))
    matrix = confusion_matrix(true, predicted, num_classes=len(names))
    arguments: dict[str, tuple[np.ndarray, ...]] = {"confusion": (matrix,)}
    if prob is not None:
        arguments["probabilities"] = (true, prob)
    columns: dict[str, list[float | None]] = {
        metric.name: metric.of_classes(*arguments[metric.needs])
        if metric.needs in arguments
        else [None] * len(names)
        for metric in METRICS
        if metric.of_classes is not None
    }

    def group(name: str, classes: Sequence[int]) -> GroupScores:
        present = [index for index in classes if matrix[index].sum() > 0]
        return {
            metric.name: _group_score(metric, arguments.get(metric.needs), columns.get(metric.name), present)
            if name in metric.groups
            else None
            for metric in METRICS
        }

    everything = range(len(names))
    return {
        "n": len(true),
        "all": group("all", everything),
        "majority": group("majority", [index for index in everything if index not in rare]),
        "minority": group("minority", rare) if rare else None,
        "micro": micro_average(matrix),
        "per_class": _per_class(matrix, columns, names),
        "confusion_matrix": matrix.tolist(),
        "calibration_error": None if prob is None else calibration_error(true, prob),
        "flags": score_flags(matrix, names),
    }


def _group_score(
    metric: Metric,
    arguments: tuple[np.ndarray, ...] | None,
    column: list[float | None] | None,
    present: list[int],
) -> float | None:
    if arguments is None or not present:
        return None
    if metric.of_group is not None:
        return metric.of_group(*arguments, present)
    if column is None or all(column[index] is None for index in present):
        return None
    return macro_average(column, over=present)


def _per_class(
    matrix: np.ndarray, columns: dict[str, list[float | None]], names: tuple[str, ...]
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


def _one_class(metric: Metric, entry: dict[str, Any]) -> float | None:
    return entry.get(metric.name) if metric.of_one_class is None else metric.of_one_class(entry)


def _listed(names: Sequence[str]) -> str:
    more = len(names) - NAMES_SHOWN
    return ", ".join(map(repr, names[:NAMES_SHOWN])) + (f" and {more} more" if more > 0 else "")
