"""Start of a deferred measure."""

from __future__ import annotations

from numbers import Integral

from counterpoise.exceptions import InputError


def first_epoch(defer_epochs: int | float, epochs: int | None, *, option: str = "defer_epochs") -> int:
    """Return the epoch, from 0, in which a deferred measure starts; InputError if it is out of range.

    Parameters
    ----------
    defer_epochs : int or float
        A whole number of epochs (0: from the start), or a share of all `epochs` in (0, 1); messages call it `option`.

    Examples
    --------
    >>> first_epoch(3, None), first_epoch(0.8, 200), first_epoch(0.8, 3)
    (3, 160, 2)
    """
    if isinstance(defer_epochs, Integral) and not isinstance(defer_epochs, bool) and defer_epochs >= 0:
        return int(defer_epochs)
    if not (isinstance(defer_epochs, float) and (0 < defer_epochs < 1 or defer_epochs == 0)):
        raise InputError(
            f"{option} is {defer_epochs!r}; expected a number of epochs, or a share of them in (0, 1)"
        )
    if epochs is None:
        raise InputError(f"{option}={defer_epochs} is a share of all epochs; give their number as epochs=")
    # Rounding can make 0.8 * 5 3.9999.
    return int(defer_epochs * epochs + 1e-9)
