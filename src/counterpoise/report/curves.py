"""ROC curves and threshold counts of one run, thinned to what a screen shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from counterpoise.evaluation import RocCurve
    from counterpoise.runs.records import Predictions

THRESHOLDS = 101
"""Thresholds 0, 0.01, ..., 1: the steps of the slider."""


@dataclass(frozen=True)
class ClassCurve:
    """A ROC curve to draw: false and true positive rates, and the area under it (None if undefined)."""

    fpr: list[float]
    tpr: list[float]
    auc: float | None


@dataclass(frozen=True)
class ThresholdCounts:
    """True and false positives by class and threshold, images by class (``yes``) and all images (``n``)."""

    tp: list[list[int]]
    fp: list[list[int]]
    yes: list[int]
    n: int


def class_curves(
    predictions: Predictions, areas: Sequence[float | None]
) -> tuple[list[ClassCurve | None], ClassCurve | None]:
    """Return the curve of every class against the rest, and their mean.

    Parameters
    ----------
    predictions : Predictions
        Of the test images.
    areas : sequence of (float or None)
        The area under each class's curve as ``metrics.json`` has it, which is the one to show.

    Returns
    -------
    curves : list of (ClassCurve or None)
        One per class; None where the test images are all or none of it.
    macro : ClassCurve or None
        The mean of the classes' recalls at equal false positive rate.
    """
    from counterpoise.evaluation import roc_curves

    curves = roc_curves(predictions.true, predictions.probabilities)
    drawn = [
        None if curve is None else replace(_thin(curve), auc=area)
        for curve, area in zip(curves.per_class, areas, strict=True)
    ]
    return drawn, None if curves.macro is None else _thin(curves.macro)


def threshold_counts(predictions: Predictions) -> ThresholdCounts:
    """Count true and false positives of every class at the thresholds 0, 0.01, ..., 1.

    Parameters
    ----------
    predictions : Predictions
        An image is called a class when its probability is at least the threshold.

    Returns
    -------
    ThresholdCounts
        Whole numbers only, so that the page computes nothing from rounded values.
    """
    from counterpoise.evaluation import threshold_table

    steps = [step / (THRESHOLDS - 1) for step in range(THRESHOLDS)]
    num_classes = predictions.probabilities.shape[1]
    tables = [
        threshold_table(predictions.true == index, predictions.probabilities[:, index], steps)
        for index in range(num_classes)
    ]
    return ThresholdCounts(
        tp=[[int(count) for count in table["tp"]] for table in tables],
        fp=[[int(count) for count in table["fp"]] for table in tables],
        yes=[int((predictions.true == index).sum()) for index in range(num_classes)],
        n=len(predictions.true),
    )


def _thin(curve: RocCurve) -> ClassCurve:
    """Return the curve with the few points that a plot shows, rounded."""
    from counterpoise.evaluation import thin_curve

    thin = thin_curve(curve, tolerance=2e-3)
    return ClassCurve([round(x, 4) for x in thin.fpr], [round(y, 4) for y in thin.tpr], curve.auc)
