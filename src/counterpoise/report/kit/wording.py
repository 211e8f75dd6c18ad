"""Wording of numbers."""

from __future__ import annotations

from typing import Any


def describe_imbalance(profile: dict[str, Any]) -> str:
    """Return a profile in a few words.

    Examples
    --------
    >>> describe_imbalance({"profile": "step", "ratio": 20.0})
    'step imbalance, ratio 20'
    """
    ratio = profile.get("ratio")
    return f"{profile['profile']} imbalance" + (f", ratio {ratio:g}" if ratio else "")
