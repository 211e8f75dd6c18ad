"""ROC curves and threshold counts of one run, thinned to what a screen shows."""

from __future__ import annotations

from typing import Any

from counterpoise.evaluation import RocCurve, RocCurves, roc_curves, thin_curve, threshold_table
from counterpoise.runs import Predictions

THRESHOLDS = 101
"""Thresholds 0, 0.01, ..., 1: the steps of the slider."""


def drawn_curves(predictions: Predictions) -> RocCurves:
    """Return the curve of every class against the rest, and their mean, with few points."""
    curves = roc_curves(predictions.true, predictions.probabilities)
    drawn = [None if curve is None else _thin(curve) for curve in curves.per_class]
    return RocCurves(drawn, None if curves.macro is None else _thin(curves.macro))


def _thin(curve: RocCurve) -> RocCurve:
    thin = thin_curve(curve, tolerance=2e-3)
    return thin._replace(fpr=[round(x, 4) for x in thin.fpr], tpr=[round(y, 4) for y in thin.tpr])


def threshold_counts(predictions: Predictions) -> dict[str, Any]:
    """Return true and false positives by class and threshold, images by class (``yes``) and all images (``n``).

    They are whole numbers, so that the page computes nothing from rounded values.
    """
    steps = [step / (THRESHOLDS - 1) for step in range(THRESHOLDS)]
    true, classes = predictions.true, range(predictions.probabilities.shape[1])
    tables = [threshold_table(true == c, predictions.probabilities[:, c], steps) for c in classes]
    return {
        "tp": [[int(count) for count in table["tp"]] for table in tables],
        "fp": [[int(count) for count in table["fp"]] for table in tables],
        "yes": [int((true == c).sum()) for c in classes],
        "n": len(true),
    }
