"""Class weights from the effective number of samples."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from counterpoise.balance.losses.base import counts_as_array
from counterpoise.exceptions import InputError


def effective_number_weights(
    counts: Sequence[int] | np.ndarray | Tensor, *, beta: float = 0.9999
) -> np.ndarray:
    """Return weights inversely proportional to the effective number of samples.

    w_c = 1 / E_c, scaled to mean 1, with E_c = (1 - beta^n_c) / (1 - beta) (Cui et al. 2019, Eq. 2 and section 4):
    new images of a class overlap with the old ones, so that E_c grows to at most 1 / (1 - beta).

    Parameters
    ----------
    counts : array-like of int, shape (C,)
        Samples of each class.
    beta : float in [0, 1), default=0.9999
        0 weighs all classes alike; towards 1 the weights become those of the inverse shares.

    Returns
    -------
    ndarray of float64, shape (C,)
        A class without samples gets weight 0 and does not count in the normalisation.

    Raises
    ------
    InputError
        If the counts are not counts or beta is out of range.

    Examples
    --------
    With beta = 1/2 the effective numbers are 1 and 3/2:

    >>> effective_number_weights([1, 2], beta=0.5)
    array([1.2, 0.8])
    """
    if not 0.0 <= beta < 1.0:
        raise InputError(f"beta is {beta}; expected a number from 0 to below 1")
    n = counts_as_array(counts)
    present = n > 0
    with np.errstate(divide="ignore"):
        # 1 - beta^n without the difference of nearly equal numbers.
        effective = -np.expm1(n[present] * np.log(beta)) / (1.0 - beta)
    weights = np.zeros_like(n)
    weights[present] = 1.0 / effective
    return weights / weights.sum() * present.sum()
