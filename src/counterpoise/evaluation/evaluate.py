"""All scores of one classifier on one set of samples, as plain numbers ready for JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypedDict

import numpy as np
from numpy.typing import ArrayLike

from counterpoise.evaluation.checks import check_classes, check_minority, check_predictions, check_samples
from counterpoise.evaluation.curves import calibration_error
from counterpoise.evaluation.metrics import GROUPS, METRICS, Metric
from counterpoise.evaluation.scores import class_outcomes, confusion_matrix, macro_average, micro_average
from counterpoise.exceptions import InputError

GroupScores = dict[str, float | None]
"""Metric -> value of a class group, None where it is undefined."""

_NAMES_SHOWN = 10


class _Grouped(TypedDict, total=False):
    independent: list[float]


class ScoresDict(_Grouped):
    """Scores as in ``metrics.json``.

    ``minority`` is None without minority classes; entries of ``per_class`` hold ``name``, ``support``, ``predicted``,
    ``tp``, ``tn``, ``fp``, ``fn`` and the metrics of one class; ``flags`` are warnings in sentences; ``independent`` is
    the number of independent images that those of each class are worth, where images come in groups.
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
    y_true: ArrayLike,
    y_prob: ArrayLike,
    *,
    classes: Sequence[str],
    minority: Sequence[int] = (),
    groups: ArrayLike | None = None,
) -> ScoresDict:
    """Score predicted probabilities; the predicted class is the most probable one (the first of equals).

    A class without samples in `y_true` has no recall, F1 or AUC (None) and is left out of all averages; samples wrongly
    predicted as it still count against their own class. A group whose classes all lack samples has None throughout.

    `classes` are the C class names, `minority` the indices of the minority classes; the others are the majority. Images
    with the same value in `groups` (N,) are not independent.

    Examples
    --------
    >>> prob = [[0.9, 0.1], [0.6, 0.4], [0.7, 0.3], [0.2, 0.8]]
    >>> scores = evaluate([0, 0, 1, 1], prob, classes=["cat", "dog"], minority=[1])
    >>> scores["all"]["recall"], scores["minority"]["recall"], scores["all"]["auc"]
    (0.75, 0.5, 0.75)
    """
    names = check_classes(classes)
    true, prob = check_samples(y_true, y_prob, num_classes=len(names))
    scores = _scores(true, prob.argmax(axis=1), prob, names, minority)
    if groups is not None:
        hits = prob.argmax(axis=1) == true
        scores["independent"] = _independent(true, hits, np.asarray(groups), len(names))
    return scores


def _independent(true: np.ndarray, hits: np.ndarray, groups: np.ndarray, num_classes: int) -> list[float]:
    """Return the images of each class divided by their design effect ``1 + (m - 1) icc`` (Kish 1965).

    m is the mean size of an image's group within its class. The correlation icc of hits within groups, in [0, 1], is
    the same for all classes, and 1 where all or no images are right.
    """
    sizes = np.bincount(true, minlength=num_classes)
    residual = hits - (np.bincount(true, hits, minlength=num_classes) / np.maximum(sizes, 1))[true]
    cells = np.unique(
        np.stack([true, np.unique(groups, return_inverse=True)[1]]), axis=1, return_inverse=True
    )
    (of_class, _), of_image = cells[0], cells[1].reshape(-1)
    members, sums = np.bincount(of_image), np.bincount(of_image, residual)
    pairs, spread = float((members * (members - 1)).sum()), float((residual**2).sum())
    icc = 1.0
    if pairs and spread:
        together = float((sums**2).sum()) - spread
        icc = min(1.0, max(0.0, together / pairs / (spread / len(true))))
    square = np.bincount(of_class, members.astype(float) ** 2, minlength=num_classes)
    effect = 1 + icc * (square / np.maximum(sizes, 1) - 1)
    return [round(float(n), 3) for n in sizes / np.maximum(effect, 1)]


def evaluate_predictions(
    y_true: ArrayLike, y_pred: ArrayLike, *, classes: Sequence[str], minority: Sequence[int] = ()
) -> ScoresDict:
    """Score predicted classes as :func:`evaluate` does; the calibration error and metrics of probabilities are None.

    Examples
    --------
    >>> scores = evaluate_predictions([0, 0, 1, 1], [0, 0, 0, 0], classes=["cat", "dog"])
    >>> scores["all"]["accuracy"], scores["all"]["gmean"], scores["all"]["auc"]
    (0.5, 0.0, None)
    >>> scores["flags"]
    ["never predicted, so precision is set to 0: 'dog'", "recall is 0, so every G-mean with it is 0: 'dog'"]
    """
    names = check_classes(classes)
    true, predicted = check_predictions(y_true, y_pred, num_classes=len(names))
    return _scores(true, predicted, None, names, minority)


def scores_to_rows(scores: ScoresDict, *, metrics: Sequence[str] | None = None) -> list[ScoreRow]:
    """Flatten the result of :func:`evaluate` into one row for each group or class and metric.

    Undefined values, and metrics that an older result lacks, have no row. A class that is itself called ``all``,
    ``majority`` or ``minority`` appears as ``class all`` and so on, so that it is never taken for a group.

    A single class is scored against the rest: its accuracy is (TP + TN) / N, flattered by all the samples of other
    classes, and its G-mean is sqrt(recall * specificity). An unknown metric raises UnknownNameError.

    Examples
    --------
    >>> scores = evaluate_predictions([0, 0, 1, 1], [0, 0, 0, 1], classes=["cat", "dog"], minority=[1])
    >>> rows = scores_to_rows(scores, metrics=["recall"])
    >>> rows[0], [row["classes"] for row in rows[1:]]
    ({'classes': 'all', 'metric': 'recall', 'value': 0.75}, ['majority', 'minority', 'cat', 'dog'])
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
        for metric in chosen:
            value = metric.of_one_class(entry) if metric.of_one_class else entry.get(metric.name)
            found.append((name, metric.name, value))
    return [
        {"classes": classes, "metric": metric, "value": value}
        for classes, metric, value in found
        if value is not None
    ]


def _flags(matrix: np.ndarray, classes: Sequence[str]) -> list[str]:
    """Return one sentence for each condition that makes a metric degenerate, with the classes it concerns."""
    rules = sorted((m.degenerate for m in METRICS if m.degenerate), key=lambda rule: rule.rank)
    found = [(rule.text, np.flatnonzero(rule.where(matrix)).tolist()) for rule in rules]
    return [f"{text}: {_listed([classes[i] for i in indices])}" for text, indices in found if indices]


def _scores(
    true: np.ndarray,
    predicted: np.ndarray,
    prob: np.ndarray | None,
    names: Sequence[str],
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

    def group_score(metric: Metric, present: list[int]) -> float | None:
        if metric.needs not in arguments or not present:
            return None
        if metric.of_group is not None:
            return metric.of_group(*arguments[metric.needs], present)
        column = columns[metric.name]
        return None if all(column[i] is None for i in present) else macro_average(column, over=present)

    def group(name: str, classes: Sequence[int]) -> GroupScores:
        present = [index for index in classes if matrix[index].sum() > 0]
        return {m.name: group_score(m, present) if name in m.groups else None for m in METRICS}

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
        "flags": _flags(matrix, names),
    }


def _per_class(
    matrix: np.ndarray, columns: dict[str, list[float | None]], names: Sequence[str]
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


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _NAMES_SHOWN
    return ", ".join(map(repr, names[:_NAMES_SHOWN])) + (f" and {more} more" if more > 0 else "")
