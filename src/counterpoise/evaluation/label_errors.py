"""Labels that are likely wrong, by confident learning (Northcutt et al. 2021)."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from counterpoise.evaluation.checks import check_labels

#: Confident learning alone accuses a tenth of correct images where classes overlap; their own class is likelier.
LEAST_PROBABILITY = 0.02


def suspect_labels(
    labels: np.ndarray, log_probabilities: np.ndarray, rare: Collection[int] = ()
) -> tuple[np.ndarray, np.ndarray]:
    """Return images whose label is likely wrong: those of `rare` classes first, then the likeliest.

    Another class must have at least the mean probability that it has for its own images, and the own class less than
    2 %. First, probabilities that are less certain than right are sharpened.

    Parameters
    ----------
    labels : ndarray of int, shape (N,)
        Given classes.
    log_probabilities : ndarray of float, shape (N, C)
        Of models that did not learn from the image and count each class the same; NaN: not judged.
    rare : collection of int
        Rare classes; an image that seems to be of one counts, too.

    Returns
    -------
    tuple of ndarray
        Indices of the images, int64 (K,), and their probabilities (K, C).

    Examples
    --------
    >>> labels = np.repeat([0, 1], [6, 4])
    >>> probabilities = np.where(np.eye(2)[labels] == 1, 0.9, 0.1)
    >>> probabilities[2] = 0.01, 0.99
    >>> suspect_labels(labels, np.log(probabilities))[0]
    array([2])
    """
    from cleanlab.filter import find_label_issues
    from scipy.optimize import minimize_scalar
    from scipy.special import log_softmax, softmax

    judged = np.flatnonzero(~np.isnan(log_probabilities).any(axis=1))
    given = check_labels(labels, num_classes=log_probabilities.shape[1], name="labels")[judged]
    if len(np.unique(given)) < 2:
        return np.empty(0, dtype=np.int64), np.empty((0, log_probabilities.shape[1]))
    logits, rows = log_probabilities[judged].astype(np.float64), np.arange(len(given))

    def log_loss(inverse: float) -> float:
        return -float((log_softmax(inverse * logits, axis=1)[rows, given] / np.bincount(given)[given]).sum())

    # A head with a strong penalty is less certain than it is right.
    probabilities = softmax(minimize_scalar(log_loss, bounds=(1, 10), method="bounded").x * logits, axis=1)
    own, best = probabilities[rows, given], probabilities.max(axis=1)
    accused = find_label_issues(given, probabilities, filter_by="confident_learning", n_jobs=1)
    found = np.flatnonzero(accused & (own < LEAST_PROBABILITY))
    common = ~np.isin(given[found], list(rare)) & ~np.isin(probabilities[found].argmax(axis=1), list(rare))
    found = found[np.lexsort((own[found] - best[found], common))]
    return judged[found], probabilities[found]
