"""The catalog of metrics: how each score is computed, written and shown.

A metric that is added here, or by another package through the entry point ``counterpoise.metrics``, appears in
``metrics.json``, in ``results.csv``, in the tables of the command line and of the report, and among the metrics that
choose a winner. An undefined score is None, never NaN, and is left out of averages (thesis section 2.6).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
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


@dataclass(frozen=True, kw_only=True)
class ClassGroup:
    """Group of classes that is scored as a whole.

    Parameters
    ----------
    name : str
        Name in files.
    title, short_title : str
        Name on pages, and after a metric's name in narrow tables.
    page_order : int
        Position on pages; the position in files is that in `GROUPS`.
    """

    name: str
    title: str
    short_title: str
    page_order: int


class Degenerate(NamedTuple):
    """Condition under which a metric says little: ``where`` maps a confusion matrix to a boolean per class."""

    rank: int
    text: str
    where: Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True, kw_only=True)
class Metric:
    """Score of a classifier over a group of classes.

    Parameters
    ----------
    name : str
        Name in files and on the command line.
    title : str
        Name at the head of a column.
    short_title : str
        Name within a sentence and in narrow tables.
    of_classes : callable, optional
        Returns one value per class, None where it is undefined. Called with the confusion matrix of shape (C, C), or,
        where the metric needs probabilities, with true classes (N,) and probabilities (N, C). These values are
        stored with each class.
    of_group : callable, optional
        Returns the value of a group: the same arguments, then the group's classes that have samples. Default: the
        mean of `of_classes`.
    of_one_class : callable, optional
        Returns the value of one class against the rest from its stored entry (counts and scores). Default: the
        stored value. Needed only without `of_classes`.
    needs : {"confusion", "probabilities"}
        Without probabilities, a metric that needs them is None.
    higher_is_better : bool
    optimum : float
        Value of a perfect classifier.
    groups : tuple of str
        Class groups that it applies to.
    number_format : str
        Format specification of the value on pages.
    page_order : int
        Position on pages; the position in files is that in `METRICS`.
    compact : mapping of str to int
        Class group -> position of its column in compact tables, which show a few columns only.
    degenerate : Degenerate, optional
        When to distrust it; becomes a flag of :func:`evaluate`.
    source : str
        Paper or lecture, with the equation.
    can_choose : bool
        Whether a winner can be chosen by it.
    """

    name: str
    title: str
    short_title: str
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

    def gain(self, value: float, over: float) -> float:
        """Return the difference of two values, positive where the first is better."""
        return value - over if self.higher_is_better else over - value


def _one_class_gmean(entry: Mapping[str, Any]) -> float | None:
    """As imbalanced-learn's ``geometric_mean_score(average=None)``."""
    recall, specificity = entry["recall"], entry["specificity"]
    return None if recall is None or specificity is None else (recall * specificity) ** 0.5


def _one_class_accuracy(entry: Mapping[str, Any]) -> float:
    """Share of all samples on the right side; flattered by those of other classes."""
    correct = entry["tp"] + entry["tn"]
    return correct / (correct + entry["fp"] + entry["fn"])


def _without_samples(matrix: np.ndarray) -> np.ndarray:
    return matrix.sum(axis=1) == 0


GROUPS = Catalog(
    "class group",
    [
        ClassGroup(name="all", title="all classes", short_title="", page_order=0),
        ClassGroup(name="majority", title="common classes", short_title="common", page_order=2),
        ClassGroup(name="minority", title="rare classes", short_title="rare", page_order=1),
    ],
)
"""Class groups in the order of files."""

METRICS = Catalog(
    "metric",
    [
        Metric(
            name="precision",
            title="Precision",
            short_title="precision",
            of_classes=class_precisions,
            page_order=3,
            compact={},
            degenerate=Degenerate(
                1,
                "never predicted, so precision is set to 0",
                lambda matrix: ~_without_samples(matrix) & (matrix.sum(axis=0) == 0),
            ),
            source="thesis Eqs. 2.1-2.3",
        ),
        Metric(
            name="recall",
            title="Recall",
            short_title="recall",
            of_classes=class_recalls,
            page_order=1,
            compact={"minority": 3, "majority": 4},
            degenerate=Degenerate(
                0,
                "no samples, so recall and F1 are undefined and averages leave the class out",
                _without_samples,
            ),
            source="thesis Eqs. 2.4-2.6",
        ),
        Metric(
            name="specificity",
            title="Specificity",
            short_title="specificity",
            of_classes=class_specificities,
            page_order=4,
            compact={},
            degenerate=Degenerate(
                3,
                "all samples are of this class, so specificity is undefined",
                lambda matrix: matrix.sum(axis=1) == matrix.sum(),
            ),
            source='lecture, "Specificity"',
        ),
        Metric(
            name="f1",
            title="F1",
            short_title="F1",
            of_classes=class_f1_scores,
            page_order=2,
            compact={"all": 2},
            source="thesis Eqs. 2.7-2.9",
        ),
        Metric(
            name="gmean",
            title="G-mean",
            short_title="G-mean",
            of_group=lambda matrix, classes: geometric_mean(class_recalls(matrix), over=classes),
            of_one_class=_one_class_gmean,
            page_order=0,
            compact={"all": 1},
            degenerate=Degenerate(
                2,
                "recall is 0, so every G-mean with it is 0",
                lambda matrix: ~_without_samples(matrix) & (np.diagonal(matrix) == 0),
            ),
            source="thesis Eqs. 2.10-2.11",
        ),
        Metric(
            name="accuracy",
            title="Accuracy",
            short_title="accuracy",
            of_group=accuracy,
            of_one_class=_one_class_accuracy,
            page_order=5,
            compact={"all": 5},
            source="thesis Eq. 2.12",
        ),
        Metric(
            name="auc",
            title="AUC",
            short_title="AUC",
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
    """Return a metric by which a winner can be chosen.

    Raises
    ------
    UnknownNameError
        If there is none of that name.
    """
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
