"""The catalog of metrics: how each score is computed, written and shown.

A metric that is added here, or by another package through the entry point ``counterpoise.metrics``, appears in
``metrics.json``, in ``results.csv``, in all tables, and among the metrics that choose a winner.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np

from counterpoise.catalogs import Catalog
from counterpoise.evaluation.curves import class_aucs
from counterpoise.evaluation.scores import (
    accuracy,
    class_f1_scores,
    class_precisions,
    class_recalls,
    class_specificities,
    geometric_mean,
)
from counterpoise.exceptions import InputError, UnknownNameError


class ClassGroup(NamedTuple):
    """Group of classes that is scored as a whole; ``short_title`` follows a metric's name in narrow tables."""

    name: str
    title: str
    short_title: str
    page_order: int


class Degenerate(NamedTuple):
    """Condition under which a metric says little: ``where`` maps a confusion matrix to a boolean per class."""

    rank: int
    text: str
    where: Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Metric:
    """Score of a classifier over a group of classes.

    Parameters
    ----------
    title, short_title : str
        Name at the head of a column; within a sentence and in narrow tables.
    of_classes : callable, optional
        Returns one value per class, None where it is undefined; stored with each class. Called with the confusion
        matrix, or, where the metric needs probabilities, with true classes (N,) and probabilities (N, C).
    of_group : callable, optional
        Returns the value of a group: the same arguments, then the group's classes that have samples. Default: the
        mean of `of_classes`.
    of_one_class : callable, optional
        Returns the value of one class against the rest from its stored counts and scores. Default: the stored value.
    optimum : float
        Value of a perfect classifier.
    page_order : int
        Position on pages. `METRICS` has the order of files.
    compact : mapping of str to int
        Class group -> position of its column in compact tables, which show a few columns only.
    can_choose : bool
        Whether a winner can be chosen by it.
    """

    name: str
    title: str
    short_title: str
    _: KW_ONLY
    of_classes: Callable[..., list[float | None]] | None = None
    of_group: Callable[..., float | None] | None = None
    of_one_class: Callable[[Mapping[str, Any]], float | None] | None = None
    needs: Literal["confusion", "probabilities"] = "confusion"
    higher_is_better: bool = True
    optimum: float = 1.0
    groups: tuple[str, ...] = ("all", "majority", "minority")
    number_format: str = ".3f"
    page_order: int = 100
    compact: Mapping[str, int] = field(default_factory=lambda: {"all": 100})
    degenerate: Degenerate | None = None
    source: str = ""
    can_choose: bool = True

    def __post_init__(self) -> None:
        if self.of_classes is None and self.of_group is None:
            raise InputError(f"metric {self.name!r} has neither of_classes nor of_group; give one")

    def format(self, value: float) -> str:
        """Return a value as pages show it."""
        return f"{value:{self.number_format}}"

    def gain(self, value: float, over: float = 0.0) -> float:
        """Return the difference of two values, positive where the first is better."""
        return value - over if self.higher_is_better else over - value


def _one_class_gmean(entry: Mapping[str, Any]) -> float | None:
    # As imbalanced-learn's ``geometric_mean_score(average=None)``.
    recall, specificity = entry["recall"], entry["specificity"]
    return None if recall is None or specificity is None else (recall * specificity) ** 0.5


def _one_class_accuracy(entry: Mapping[str, Any]) -> float:
    correct = entry["tp"] + entry["tn"]
    return correct / (correct + entry["fp"] + entry["fn"])


def _present(matrix: np.ndarray) -> np.ndarray:
    return matrix.sum(axis=1) > 0


GROUPS = Catalog(
    "class group",
    [
        ClassGroup("all", "all classes", "", 0),
        ClassGroup("majority", "common classes", "common", 2),
        ClassGroup("minority", "rare classes", "rare", 1),
    ],
)
"""Class groups in the order of files."""

METRICS = Catalog(
    "metric",
    [
        Metric(
            "precision",
            "Precision",
            "precision",
            of_classes=class_precisions,
            page_order=3,
            compact={},
            degenerate=Degenerate(
                1, "never predicted, so precision is set to 0", lambda m: _present(m) & (m.sum(axis=0) == 0)
            ),
            source="thesis Eqs. 2.1-2.3",
        ),
        Metric(
            "recall",
            "Recall",
            "recall",
            of_classes=class_recalls,
            page_order=1,
            compact={"minority": 3, "majority": 4},
            degenerate=Degenerate(
                0,
                "no samples, so recall and F1 are undefined and averages leave the class out",
                lambda m: ~_present(m),
            ),
            source="thesis Eqs. 2.4-2.6",
        ),
        Metric(
            "specificity",
            "Specificity",
            "specificity",
            of_classes=class_specificities,
            page_order=4,
            compact={},
            degenerate=Degenerate(
                3,
                "all samples are of this class, so specificity is undefined",
                lambda m: m.sum(axis=1) == m.sum(),
            ),
            source='lecture, "Specificity"',
        ),
        Metric(
            "f1",
            "F1",
            "F1",
            of_classes=class_f1_scores,
            page_order=2,
            compact={"all": 2},
            source="thesis Eqs. 2.7-2.9",
        ),
        Metric(
            "gmean",
            "G-mean",
            "G-mean",
            of_group=lambda matrix, classes: geometric_mean(class_recalls(matrix), over=classes),
            of_one_class=_one_class_gmean,
            page_order=0,
            compact={"all": 1},
            degenerate=Degenerate(
                2, "recall is 0, so every G-mean with it is 0", lambda m: _present(m) & (np.diagonal(m) == 0)
            ),
            source="thesis Eqs. 2.10-2.11",
        ),
        Metric(
            "accuracy",
            "Accuracy",
            "accuracy",
            of_group=accuracy,
            of_one_class=_one_class_accuracy,
            page_order=5,
            compact={"all": 5},
            source="thesis Eq. 2.12",
        ),
        Metric(
            "auc",
            "AUC",
            "AUC",
            of_classes=class_aucs,
            needs="probabilities",
            page_order=6,
            compact={},
            source='lecture, "ROC curve"',
        ),
    ],
    entry_point="counterpoise.metrics",
)
"""Metrics in the order of files."""


def choosing_metric(name: str) -> Metric:
    """Return a metric by which a winner can be chosen; another name raises UnknownNameError."""
    names = [metric.name for metric in METRICS if metric.can_choose]
    if name not in names:
        raise UnknownNameError("metric", name, names)
    return METRICS[name]


def page_metrics() -> list[Metric]:
    """Return the metrics in the order of pages."""
    return sorted(METRICS, key=lambda metric: metric.page_order)


def page_groups() -> list[ClassGroup]:
    """Return the class groups in the order of pages."""
    return sorted(GROUPS, key=lambda group: group.page_order)


def compact_columns() -> list[tuple[Metric, ClassGroup]]:
    """Return what compact tables show: metrics, each over one class group."""
    columns = [(metric, GROUPS[group]) for metric in METRICS for group in metric.compact]
    return sorted(columns, key=lambda column: column[0].compact[column[1].name])


def column_title(metric: str, group: str) -> str:
    """Return the title of a compact table's column.

    Examples
    --------
    >>> column_title("gmean", "all"), column_title("recall", "minority")
    ('G-mean', 'recall rare')
    """
    return f"{METRICS[metric].short_title} {GROUPS[group].short_title}".rstrip()


def score_title(metric: str, classes: str) -> str:
    """Return the name of a score over a class group or one class, as within a sentence.

    Examples
    --------
    >>> score_title("gmean", "minority"), score_title("recall", "5")
    ('G-mean, rare classes', 'recall, class 5')
    """
    group = GROUPS[classes].title if classes in GROUPS else f"class {classes}"
    return f"{METRICS[metric].short_title}, {group}"
