"""Reliability of probabilities and expected calibration error (Guo et al. 2017)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from counterpoise.evaluation.checks import check_labels, check_probabilities, check_same_length
from counterpoise.exceptions import InputError


def reliability_table(y_true: ArrayLike, y_prob: ArrayLike, *, bins: int = 15) -> list[dict[str, Any]]:
    """Compare confidence and accuracy in bins of the predicted class's probability.

    Bins have equal width over (0, 1]; bin m is ((m - 1) / bins, m / bins].

    Returns
    -------
    list of dict
        For each bin ``low``, ``high``, ``count``, and ``confidence`` (mean probability of the predicted
        class) and ``accuracy``, both None in an empty bin.

    Examples
    --------
    >>> reliability_table([0, 1], [[0.9, 0.1], [0.7, 0.3]], bins=2)[1]
    {'low': 0.5, 'high': 1.0, 'count': 2, 'confidence': 0.8, 'accuracy': 0.5}
    """
    if bins < 1:
        raise InputError(f"found bins={bins}, expected at least 1")
    prob = check_probabilities(y_prob)
    true = check_labels(y_true, num_classes=prob.shape[1])
    check_same_length(true, prob, names=("y_true", "y_prob"))
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
    """Return the expected calibration error: the mean of |accuracy - confidence| over the bins' samples.

    In [0, 1]; 0 is best. Guo et al. 2017, "On Calibration of Modern Neural Networks", Eq. 3. Bins are those of
    :func:`reliability_table`.

    Examples
    --------
    >>> round(calibration_error([0, 1], [[0.9, 0.1], [0.7, 0.3]], bins=2), 6)
    0.3
    """
    table = reliability_table(y_true, y_prob, bins=bins)
    gaps = [row["count"] * abs(row["accuracy"] - row["confidence"]) for row in table if row["count"]]
    return float(sum(gaps) / sum(row["count"] for row in table))
