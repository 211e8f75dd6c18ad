"""Which images a change of the classifier turns right and which it turns wrong, and whether that was luck."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from counterpoise.exceptions import InputError


class Changes(NamedTuple):
    """Two classifiers on the same images.

    Attributes
    ----------
    both_right, both_wrong : int
        Images on which they agree in being right, or wrong.
    wrong_to_right, right_to_wrong : int
        Images on which only the second, or only the first, is right.
    p_value : float
        Of McNemar's exact test, in [0, 1].
    """

    both_right: int
    wrong_to_right: int
    right_to_wrong: int
    both_wrong: int
    p_value: float


def count_changes(true: np.ndarray, before: np.ndarray, after: np.ndarray) -> Changes:
    """Count the images that two classifiers get right, and test the difference (McNemar 1947, exact).

    Were both equally good, each of the images on which only one is right would be as likely to be the first's as
    the second's: the p-value is that of the two-sided binomial test.

    Parameters
    ----------
    true, before, after : ndarray of int, shape (N,)
        The true class of each image, and what the first and the second classifier say.

    Raises
    ------
    InputError
        If the lengths differ.

    Examples
    --------
    >>> count_changes(np.zeros(6, int), np.array([0, 0, 1, 1, 1, 1]), np.array([0, 1, 0, 0, 0, 1]))
    Changes(both_right=1, wrong_to_right=3, right_to_wrong=1, both_wrong=1, p_value=0.625)
    """
    if not len(true) == len(before) == len(after):
        raise InputError(
            f"found {len(true)} classes and {len(before)} and {len(after)} predictions; expected one of each per image"
        )
    from scipy.stats import binomtest

    was, is_now = before == true, after == true
    gained, lost = int((~was & is_now).sum()), int((was & ~is_now).sum())
    p_value = float(binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0
    return Changes(int((was & is_now).sum()), gained, lost, int((~was & ~is_now).sum()), p_value)
