"""Class weights from class counts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from counterpoise.balance.losses.base import counts_as_array
from counterpoise.balance.weights import class_weights as inverse_share_weights


def class_weights(
    counts: Sequence[int] | np.ndarray | Tensor, *, power: float = 1.0, normalize: str = "l1"
) -> np.ndarray:
    """Return weights inversely proportional to the class shares.

    w_c = (1 / p_c)^power / Z with p_c = n_c / n (thesis, Algorithm 2, where the power is 1).

    Parameters
    ----------
    counts : array-like of int, shape (C,)
        Samples of each class.
    power : float in [0, 1], default=1.0
        0 weighs all classes alike, 1 gives all classes the same total weight.
    normalize : {"l1", "mean"}, default="l1"
        ``"l1"`` (the thesis): the weights sum to 1. ``"mean"``: their mean is 1, so that the loss keeps
        the scale of the unweighted one.

    Returns
    -------
    ndarray of float64, shape (C,)
        A class without samples gets weight 0 and does not count in the normalisation: nothing is known of it,
        and the formula would give it an infinite weight.

    Raises
    ------
    InputError
        If the counts are not counts or an option is out of range.

    Examples
    --------
    Thesis, Example 4.2, with 2000 and 100 samples:

    >>> class_weights([2000, 100]) * 21
    array([ 1., 20.])
    """
    n = counts_as_array(counts)
    present = n > 0
    weights = np.zeros_like(n)
    weights[present] = inverse_share_weights(n[present], power=power, normalize=normalize)
    return weights
