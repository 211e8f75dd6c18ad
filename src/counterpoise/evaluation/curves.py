"""Quality of probabilities: ROC curves, outcomes at thresholds, and calibration."""

from __future__ import annotations

from typing import NamedTuple, TypedDict

import numpy as np
from numpy.typing import ArrayLike

from counterpoise.evaluation.checks import check_binary, check_samples, check_scores
from counterpoise.exceptions import InputError


class RocCurve(NamedTuple):
    """Receiver operating characteristic: false and true positive rates, both rising from 0 to 1.

    ``thresholds`` fall; a sample is positive when its score is at least the threshold. The macro average has none.
    ``auc`` is the area under the full curve, also where the curve was thinned.
    """

    fpr: list[float]
    tpr: list[float]
    thresholds: list[float]
    auc: float


class RocCurves(NamedTuple):
    """ROC curves of each class against the rest (None for a class without samples, or with all), and their mean."""

    per_class: list[RocCurve | None]
    macro: RocCurve | None


def class_aucs(y_true: ArrayLike, y_prob: ArrayLike) -> list[float | None]:
    """Return the area under the ROC curve of every class against the rest; equal scores count half.

    None for a class that has no samples, or all of them.

    Examples
    --------
    >>> class_aucs([0, 0, 1], [[0.9, 0.1, 0.0], [0.6, 0.4, 0.0], [0.6, 0.4, 0.0]])
    [0.75, 0.75, None]
    """
    from sklearn.metrics import roc_auc_score

    true, prob = check_samples(y_true, y_prob)
    return [
        float(roc_auc_score(true == index, prob[:, index])) if _has_both(true == index) else None
        for index in range(prob.shape[1])
    ]


def roc_curve(y_true: ArrayLike, scores: ArrayLike) -> RocCurve:
    """Return the ROC curve of one class against the rest (lecture, "ROC curve").

    Raises InputError if the class has no samples, or all of them.

    Examples
    --------
    >>> curve = roc_curve([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    >>> curve.fpr, curve.tpr, curve.auc
    ([0.0, 0.0, 0.5, 0.5, 1.0], [0.0, 0.5, 0.5, 1.0, 1.0], 0.75)
    """
    from sklearn.metrics import auc
    from sklearn.metrics import roc_curve as trace

    positive, values = check_binary(y_true, scores)
    if not _has_both(positive):
        raise InputError(
            f"found {int(positive.sum())} samples of the class among {len(positive)}; "
            "an ROC curve needs samples of the class and others"
        )
    fpr, tpr, thresholds = trace(positive, values)
    # scikit-learn's first threshold is infinite, which JSON lacks; just above the best score does the same
    thresholds[0] = np.nextafter(values.max(), np.inf)
    return RocCurve(fpr.tolist(), tpr.tolist(), thresholds.tolist(), float(auc(fpr, tpr)))


def roc_curves(y_true: ArrayLike, y_prob: ArrayLike) -> RocCurves:
    """Return the ROC curves of all classes against the rest, and their macro average.

    Examples
    --------
    >>> curves = roc_curves([0, 1, 1], [[0.9, 0.1], [0.4, 0.6], [0.3, 0.7]])
    >>> curves.macro.auc, curves.per_class[1].auc
    (1.0, 1.0)
    """
    true, prob = check_samples(y_true, y_prob)
    indicator = true[:, None] == np.arange(prob.shape[1])
    per_class = [
        roc_curve(indicator[:, index], prob[:, index]) if _has_both(indicator[:, index]) else None
        for index in range(prob.shape[1])
    ]
    drawn = [curve for curve in per_class if curve is not None]
    return RocCurves(per_class, _mean_curve(drawn) if drawn else None)


def thin_curve(curve: RocCurve, *, tolerance: float = 1e-3) -> RocCurve:
    """Drop points that a plot would not show: the area under the drawn curve changes by at most `tolerance`.

    The path from (0, 0) to (1, 1) has length 2 in fpr + tpr. It is cut into m equal parts, and the first and last
    point in each are kept; this moves the area by at most 1 / (2 m). m starts at 50 and doubles until the area fits.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> full = roc_curve(np.arange(5000) % 2, rng.random(5000))
    >>> len(full.fpr) > 2000, len(thin_curve(full).fpr) <= 200
    (True, True)
    """
    if not tolerance > 0:
        raise InputError(f"found tolerance={tolerance}, expected a number above 0")
    fpr, tpr = np.asarray(curve.fpr), np.asarray(curve.tpr)
    area = _area(fpr, tpr)
    pieces = 50
    while True:
        piece = np.floor((fpr + tpr) * pieces / 2)
        changes = np.flatnonzero(np.diff(piece)) + 1
        kept = np.unique(np.concatenate([[0], changes - 1, changes, [len(fpr) - 1]]))
        if len(kept) == len(fpr) or abs(_area(fpr[kept], tpr[kept]) - area) <= tolerance:
            break
        pieces *= 2
    thresholds = np.asarray(curve.thresholds)[kept].tolist() if curve.thresholds else []
    return RocCurve(fpr[kept].tolist(), tpr[kept].tolist(), thresholds, curve.auc)


def threshold_table(y_true: ArrayLike, scores: ArrayLike, thresholds: ArrayLike) -> dict[str, list[float]]:
    """Count the outcomes of one class at each threshold; a score of at least the threshold predicts the class.

    The lists hold ``threshold`` in the order given, and the counts ``tp``, ``fp``, ``fn`` and ``tn``.

    Examples
    --------
    >>> threshold_table([0, 0, 1, 1], [0.1, 0.5, 0.5, 0.8], [0.5, 0.6])
    {'threshold': [0.5, 0.6], 'tp': [2, 1], 'fp': [1, 0], 'fn': [0, 1], 'tn': [1, 2]}
    """
    positive, values = check_binary(y_true, scores)
    cuts = check_scores(thresholds, name="thresholds")
    positives, negatives = np.sort(values[positive]), np.sort(values[~positive])
    fn = np.searchsorted(positives, cuts, side="left")
    tn = np.searchsorted(negatives, cuts, side="left")
    return {
        "threshold": cuts.tolist(),
        "tp": (len(positives) - fn).tolist(),
        "fp": (len(negatives) - tn).tolist(),
        "fn": fn.tolist(),
        "tn": tn.tolist(),
    }


class ReliabilityBin(TypedDict):
    """One row of `reliability_table`."""

    low: float
    high: float
    count: int
    confidence: float | None
    accuracy: float | None


def reliability_table(y_true: ArrayLike, y_prob: ArrayLike, *, bins: int = 15) -> list[ReliabilityBin]:
    """Compare confidence and accuracy in bins of the predicted class's probability.

    Bin m is (``low``, ``high``] = ((m - 1) / bins, m / bins] and holds ``count`` samples. ``confidence`` (mean
    probability of the predicted class) and ``accuracy`` are None in an empty bin.

    Examples
    --------
    >>> reliability_table([0, 1], [[0.9, 0.1], [0.7, 0.3]], bins=2)[1]
    {'low': 0.5, 'high': 1.0, 'count': 2, 'confidence': 0.8, 'accuracy': 0.5}
    """
    if bins < 1:
        raise InputError(f"found bins={bins}, expected at least 1")
    true, prob = check_samples(y_true, y_prob)
    confidence = prob.max(axis=1)
    correct = prob.argmax(axis=1) == true
    edges = np.linspace(0.0, 1.0, bins + 1)
    index = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, bins - 1)
    count = np.bincount(index, minlength=bins)
    confidences = np.bincount(index, weights=confidence, minlength=bins)
    corrects = np.bincount(index, weights=correct, minlength=bins)
    return [
        {
            "low": float(edges[b]),
            "high": float(edges[b + 1]),
            "count": int(count[b]),
            "confidence": float(confidences[b] / count[b]) if count[b] else None,
            "accuracy": float(corrects[b] / count[b]) if count[b] else None,
        }
        for b in range(bins)
    ]


def calibration_error(y_true: ArrayLike, y_prob: ArrayLike, *, bins: int = 15) -> float:
    """Return the expected calibration error: |accuracy - confidence| of a sample's bin on average, in [0, 1].

    Guo et al. 2017, "On Calibration of Modern Neural Networks", Eq. 3; bins of :func:`reliability_table`.

    Examples
    --------
    >>> round(calibration_error([0, 1], [[0.9, 0.1], [0.7, 0.3]], bins=2), 6)
    0.3
    """
    table = reliability_table(y_true, y_prob, bins=bins)
    gaps = [row["count"] * abs((row["accuracy"] or 0.0) - (row["confidence"] or 0.0)) for row in table]
    return float(sum(gaps) / sum(row["count"] for row in table))


def _mean_curve(curves: list[RocCurve]) -> RocCurve:
    """Average true positive rates at equal false positive rates."""
    # At one fpr a curve jumps from a lower to a higher tpr. With a point before and one after each jump, the area
    # under the mean is exactly the mean area.
    grid = np.unique(np.concatenate([curve.fpr for curve in curves]))
    before, after = np.zeros_like(grid), np.zeros_like(grid)
    for curve in curves:
        fpr, tpr = np.asarray(curve.fpr), np.asarray(curve.tpr)
        after += np.interp(grid, fpr, tpr)  # at a repeated fpr, interp takes the last tpr ...
        before += np.interp(-grid[::-1], -fpr[::-1], tpr[::-1])[::-1]  # ... and from the right, the first
    mean = np.stack([before, after], axis=1).ravel() / len(curves)
    area = float(np.mean([curve.auc for curve in curves]))
    return RocCurve(np.repeat(grid, 2).tolist(), mean.tolist(), [], area)


def _area(fpr: np.ndarray, tpr: np.ndarray) -> float:
    return float(np.sum(np.diff(fpr) * (tpr[1:] + tpr[:-1])) / 2)


def _has_both(positive: np.ndarray) -> bool:
    return bool(positive.any() and not positive.all())
