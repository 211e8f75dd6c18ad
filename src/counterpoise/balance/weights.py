"""Class weights from class counts, in plain NumPy, for losses and for the feature oversamplers alike."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from counterpoise.exceptions import InputError

__all__ = ["class_weights"]


def class_weights(counts: ArrayLike, *, power: float = 1.0, normalize: str = "l1") -> NDArray[np.float64]:
    """Weights of the classes, inversely proportional to their prior probabilities.

    With p_c = n_c / n the weight of class c is ``w_c = p_c ** -power / sum_k(p_k ** -power)``; with the default
    power this is the thesis's algorithm Class_Weight_Calculation (section 2.5 and Algorithm 2), used by its Eq. 4.1.

    Parameters
    ----------
    counts : array-like of shape (n_classes,)
        How many images each class has; all above 0.
    power : float, default=1.0
        How much of the imbalance the weights take up, in [0, 1]: 0 makes all weights equal, 1 is the thesis.
    normalize : {"l1", "mean"}, default="l1"
        ``"l1"``: the weights sum to 1 (the thesis). ``"mean"``: their mean is 1, so that the loss keeps its scale.

    Returns
    -------
    ndarray of shape (n_classes,), float64
        The weights, all above 0.

    Raises
    ------
    InputError
        If a class has no image, or an argument lies outside its range.

    References
    ----------
    ADOS thesis, section 4.2.4, Example 4.2.

    Examples
    --------
    Before oversampling the two classes have 2000 and 100 samples, afterwards 2000 and 500:

    >>> from fractions import Fraction
    >>> [str(Fraction(w).limit_denominator(100)) for w in class_weights([2000, 100])]
    ['1/21', '20/21']
    >>> [str(Fraction(w).limit_denominator(100)) for w in class_weights([2000, 500])]
    ['1/5', '4/5']
    """
    n = np.asarray(counts, dtype=np.float64)
    if n.ndim != 1 or n.size == 0:
        raise InputError(
            f"class counts must be a non-empty list of numbers, found an array of shape {n.shape}"
        )
    if not np.all(np.isfinite(n)) or np.any(n <= 0):
        empty = np.flatnonzero(~(n > 0) | ~np.isfinite(n)).tolist()
        raise InputError(
            f"every class needs at least one image, but classes {empty} have none; leave them out"
        )
    if not 0.0 <= power <= 1.0:
        raise InputError(f"power must lie in [0, 1], found {power}")
    if normalize not in ("l1", "mean"):
        raise InputError(f"normalize must be 'l1' or 'mean', found {normalize!r}")
    weights = (n / n.sum()) ** -power
    weights /= weights.sum()
    return weights * n.size if normalize == "mean" else weights
