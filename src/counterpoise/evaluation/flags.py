"""What a reader must know before trusting the numbers, in plain words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

NAMES_SHOWN = 10


def score_flags(matrix: np.ndarray, classes: Sequence[str]) -> list[str]:
    """Return one sentence for each kind of oddity in a confusion matrix, each naming the classes it concerns.

    Parameters
    ----------
    matrix : ndarray of int64, shape (C, C)
        Rows are true classes.
    classes : sequence of str
        The C class names.

    Returns
    -------
    list of str
        Empty when there is nothing to tell.

    Examples
    --------
    >>> score_flags(np.array([[4, 0], [3, 0]]), ["cat", "dog"])
    ["never predicted, so precision is set to 0: 'dog'", "recall is 0, so every G-mean with it is 0: 'dog'"]
    """
    support, predicted, correct = matrix.sum(axis=1), matrix.sum(axis=0), np.diagonal(matrix)
    present = support > 0
    kinds = [
        ("no samples, so recall and F1 are undefined and averages leave the class out", ~present),
        ("never predicted, so precision is set to 0", present & (predicted == 0)),
        ("recall is 0, so every G-mean with it is 0", present & (correct == 0)),
        ("all samples are of this class, so specificity is undefined", support == support.sum()),
    ]
    return [f"{what}: {_listed(mask, classes)}" for what, mask in kinds if mask.any()]


def _listed(mask: np.ndarray, classes: Sequence[str]) -> str:
    names = [repr(classes[int(index)]) for index in np.flatnonzero(mask)]
    rest = len(names) - NAMES_SHOWN
    return ", ".join(names[:NAMES_SHOWN]) + (f" and {rest} more" if rest > 0 else "")
