"""Durations as a person writes them: ``90s``, ``10m``, ``1h30m``, or a number of seconds."""

import math
import re
from typing import Annotated

from pydantic import BeforeValidator

_NUMBER = r"(\d+(?:\.\d+)?)"
_UNITS = re.compile(rf"(?:{_NUMBER}h)?(?:{_NUMBER}m(?:in)?)?(?:{_NUMBER}s)?")


def parse_duration(value: object) -> float:
    """Return a duration in seconds.

    Examples
    --------
    >>> parse_duration("1h30m"), parse_duration("10m"), parse_duration("90 s"), parse_duration(2.5)
    (5400.0, 600.0, 90.0, 2.5)
    """
    text = "".join(str(value).lower().split())
    text += "s" if re.fullmatch(_NUMBER, text) else ""
    found = _UNITS.fullmatch(text)
    if found and text:
        hours, minutes, seconds = (float(part or 0) for part in found.groups())
        total = 3600 * hours + 60 * minutes + seconds
        if 0 < total < math.inf:
            return total
    raise ValueError(f"found {value!r}, expected a time above 0, such as 90s, 10m or 1h30m")


Duration = Annotated[float, BeforeValidator(parse_duration)]
"""Seconds as a float; a field of this type accepts text such as ``10m``."""
