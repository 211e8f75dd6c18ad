"""Everything counterpoise raises on purpose, in one place.

The command line turns every :class:`InputError` into one line on stderr and exit code 2, and every other
:class:`CounterpoiseError` into one line and exit code 1.
"""

from __future__ import annotations

import difflib
import errno
from collections.abc import Iterable


class CounterpoiseError(Exception):
    """The root of all errors that counterpoise raises on purpose."""


class InputError(CounterpoiseError, ValueError):
    """What the user gave cannot be used: the message says what was found, what was expected, and the likely fix."""


class DataError(InputError):
    """Images or labels cannot be used: missing, empty, unreadable, or of one class only."""


class UnknownNameError(InputError):
    """A name is not one of those on offer.

    Parameters
    ----------
    kind : str
        What the name stands for, e.g. ``"method"``.
    name : str
        What was asked for.
    known : iterable of str
        The names on offer.

    Examples
    --------
    >>> print(UnknownNameError("method", "adso", ["ados", "bl"]))
    unknown method 'adso'; did you mean 'ados'? (known: ados, bl)
    """

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        known = sorted(known)
        nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
        hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
        shown = ", ".join(known[:40]) + (", ..." if len(known) > 40 else "")
        super().__init__(f"unknown {kind} {name!r}{hint} (known: {shown})")
        self._arguments = (kind, name, tuple(known))

    def __reduce__(self) -> tuple[type, tuple[str, str, tuple[str, ...]]]:
        return type(self), self._arguments


class RunFolderError(InputError):
    """A folder holds another run, cannot be written, or is not a run folder."""


class TrainingError(CounterpoiseError):
    """Training could not go on, for example because the loss became NaN."""


class NotApplicable(CounterpoiseError):
    """Something does not apply to these data; the message is the reason, in one line."""


class ResamplingWarning(UserWarning):
    """A resampler did what it could, but not what one might expect."""


OUT_OF_MEMORY = "out of memory; try a smaller `batch_size`, `image_size` or `jobs`"
_NO_MEMORY = ("not enough memory", "can't allocate memory", "CUDA error: out of memory")


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error means that memory of the computer or of a GPU is exhausted.

    Examples
    --------
    >>> is_out_of_memory(MemoryError()), is_out_of_memory(ValueError("too large"))
    (True, False)
    """
    # torch raises a class of its own for a GPU, and a plain RuntimeError for the computer, whose text depends on the
    # system; importing it takes seconds.
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or (isinstance(error, OSError) and error.errno == errno.ENOMEM)
        or (isinstance(error, RuntimeError) and any(text in str(error) for text in _NO_MEMORY))
    )
