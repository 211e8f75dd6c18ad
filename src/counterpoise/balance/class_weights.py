"""Class weights from class counts, in plain NumPy: for losses and for feature oversamplers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from counterpoise.balance._tensors import is_tensor
from counterpoise.exceptions import InputError


def class_weights(
    counts: ArrayLike, *, power: float = 1.0, normalize: str = "l1", empty: str = "zero"
) -> np.ndarray:
    """Return weights inversely proportional to the class shares, float64 (C,).

    w_c = (1 / p_c)^power / Z with p_c = n_c / n (thesis, section 2.5 and Algorithm 2, where the power is 1).

    Parameters
    ----------
    counts : array-like or tensor of int, shape (C,)
        Samples of each class.
    power : float in [0, 1], default=1.0
        0 weights all classes equally, 1 gives all classes the same total weight.
    normalize : {"l1", "mean"}, default="l1"
        ``"l1"`` (the thesis): the weights sum to 1. ``"mean"``: their mean is 1, which keeps the scale of a loss.
    empty : {"zero", "raise"}, default="zero"
        Weight of a class without samples, for which the formula gives infinity: 0, and the class does not count in the
        normalization; or an error.

    Raises
    ------
    InputError
        If the counts are not counts, an option is out of range, or a class has no samples with ``empty="raise"``.

    Examples
    --------
    Thesis, Example 4.2, with 2000 and 100 samples:

    >>> class_weights([2000, 100]) * 21
    array([ 1., 20.])
    """
    if not 0.0 <= power <= 1.0:
        raise InputError(f"power is {power}; expected a number in [0, 1]")
    if normalize not in ("l1", "mean"):
        raise InputError(f"normalize is {normalize!r}; expected 'l1' or 'mean'")
    n = counts_as_array(counts)
    present = n > 0
    if empty == "raise" and not present.all():
        raise InputError(f"classes {np.flatnonzero(~present).tolist()} have no samples; leave them out")
    weights = np.zeros_like(n)
    weights[present] = (n[present] / n.sum()) ** -power
    weights /= weights[present].sum()
    return weights * present.sum() if normalize == "mean" else weights


def effective_number_weights(counts: ArrayLike, *, beta: float = 0.9999) -> np.ndarray:
    """Return weights inversely proportional to the effective number of samples, float64 (C,).

    w_c = 1 / E_c, scaled to mean 1, with E_c = (1 - beta^n_c) / (1 - beta) (Cui et al. 2019, Eq. 2 and section 4):
    images of a class overlap, so that E_c grows to at most 1 / (1 - beta). A class without samples has the weight 0 and
    does not count in the normalization.

    Parameters
    ----------
    counts : array-like or tensor of int, shape (C,)
        Samples of each class.
    beta : float in [0, 1), default=0.9999
        0 weights all classes equally; towards 1 the weights become those of the inverse shares.

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


def counts_as_array(class_counts: ArrayLike) -> np.ndarray:
    """Return class counts as float64 (C,); InputError unless they are finite, 0 or more, and not all of them 0."""
    raw: Any = class_counts
    try:
        counts = np.asarray(raw.detach().cpu().numpy() if is_tensor(raw) else raw, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"class counts are {raw!r}; expected a whole number for each class") from error
    if counts.ndim != 1 or not counts.any() or not np.all(np.isfinite(counts) & (counts >= 0)):
        raise InputError(
            f"class counts are {counts.tolist()}; expected a count for each class, not all of them 0"
        )
    return counts
