"""Reading an adjustment back from a run's configuration."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from typing import Any

from counterpoise.balance.adjust.base import Adjustment
from counterpoise.exceptions import UnknownNameError


def adjustment_from_state(state: Mapping[str, Any]) -> Adjustment:
    """Return the adjustment whose ``get_state`` gave `state`.

    Raises
    ------
    UnknownNameError
        If there is no adjustment of that name.

    Examples
    --------
    >>> from counterpoise.balance.adjust import LogitAdjustment
    >>> state = LogitAdjustment(tau=0.5).fit(None, None, [9, 1]).get_state()
    >>> adjustment_from_state(state).tau
    0.5
    """
    folder = importlib.import_module("counterpoise.balance.adjust")
    public = {name: getattr(folder, name) for name in folder.__all__}
    known = {name: value for name, value in public.items() if _is_adjustment(value)}
    name = str(state.get("name"))
    if name not in known:
        raise UnknownNameError("adjustment", name, known)
    return known[name].from_state(state)


def _is_adjustment(value: Any) -> bool:
    return inspect.isclass(value) and issubclass(value, Adjustment) and not inspect.isabstract(value)
