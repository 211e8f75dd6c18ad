"""From the nested scores of :func:`evaluate` to rows of a long table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from counterpoise.evaluation.evaluate import METRICS
from counterpoise.exceptions import InputError, UnknownNameError

GROUPS = ("all", "majority", "minority")
"""The groups of classes that have a block of their own."""


def scores_to_rows(scores: dict[str, Any], *, metrics: Sequence[str] = METRICS) -> list[dict[str, Any]]:
    """Flatten the result of :func:`evaluate` into one row for each group or class and metric.

    Parameters
    ----------
    scores : dict
        What :func:`evaluate` or :func:`evaluate_predictions` returned.
    metrics : sequence of str, default all
        Which of ``precision``, ``recall``, ``specificity``, ``f1``, ``gmean``, ``accuracy``, ``auc``.

    Returns
    -------
    list of dict
        Keys ``classes`` (``all``, ``majority``, ``minority``, or the class name), ``metric`` and ``value``.
        Undefined values have no row. A class that is itself called ``all``, ``majority`` or ``minority``
        appears as ``class all`` and so on, so that it is never taken for a group.

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
    >>> from counterpoise.evaluation import evaluate_predictions
    >>> scores = evaluate_predictions([0, 0, 1, 1], [0, 0, 0, 1], classes=["cat", "dog"], minority=[1])
    >>> for row in scores_to_rows(scores, metrics=["recall"]):
    ...     print(row)
    {'classes': 'all', 'metric': 'recall', 'value': 0.75}
    {'classes': 'majority', 'metric': 'recall', 'value': 1.0}
    {'classes': 'minority', 'metric': 'recall', 'value': 0.5}
    {'classes': 'cat', 'metric': 'recall', 'value': 1.0}
    {'classes': 'dog', 'metric': 'recall', 'value': 0.5}
    """
    for metric in metrics:
        if metric not in METRICS:
            raise UnknownNameError("metric", metric, METRICS)
    if "per_class" not in scores:
        raise InputError("these scores have no 'per_class' entry; pass what evaluate(...) returned")
    blocks = [(group, scores[group]) for group in GROUPS if scores[group] is not None]
    blocks += [(_row_name(entry["name"]), _one_class(entry)) for entry in scores["per_class"]]
    return [
        {"classes": name, "metric": metric, "value": block[metric]}
        for name, block in blocks
        for metric in metrics
        if block[metric] is not None
    ]


def _one_class(entry: dict[str, Any]) -> dict[str, float | None]:
    recall, specificity = entry["recall"], entry["specificity"]
    correct, wrong = entry["tp"] + entry["tn"], entry["fp"] + entry["fn"]
    defined = recall is not None and specificity is not None
    return {metric: entry.get(metric) for metric in METRICS} | {
        "gmean": (recall * specificity) ** 0.5 if defined else None,
        "accuracy": correct / (correct + wrong),
    }


def _row_name(name: str) -> str:
    return f"class {name}" if name in GROUPS else name
