"""Numbers and verdicts in words, the same on every page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

NONE = "–"
"""Stands for a number that is not there."""
NARROW = "\u00a0"


def decimals(value: float | None) -> str:
    """Return a score with three decimals."""
    return NONE if value is None else f"{value:.3f}"


def signed(value: float | None) -> str:
    """Return a difference with its sign; what rounds to zero has no minus."""
    return NONE if value is None else f"{round(value, 3) + 0.0:+.3f}"


def mean_text(mean: float | None, low: float | None, high: float | None, *, sign: bool = False) -> str:
    """Return a mean with half its interval: ``0.514 ± 0.018``."""
    text = signed(mean) if sign else decimals(mean)
    return text if mean is None or low is None or high is None else f"{text} ± {(high - low) / 2:.3f}"


def interval_text(low: float | None, high: float | None, *, between: str) -> str:
    """Return the interval of a score, cut to the possible range, or an empty string if there is none."""
    return "" if low is None or high is None else f"{max(0.0, low):.3f}{between}{min(1.0, high):.3f}"


def rests_on(images: int, repeats: int) -> str:
    """Return what a score rests on: ``25 images in 3 repeats``; empty where it is not known."""
    return f"{count(images, 'image')} in {count(repeats, 'repeat')}" if images else ""


def p_text(value: float | None) -> str:
    """Return a p-value; a small one is not written as zero."""
    return NONE if value is None else "< 0.001" if value < 0.001 else f"{value:.3f}"


def p_equals(value: float | None) -> str:
    """Return ``p = 0.030`` or ``p < 0.001``, without a break inside."""
    text = p_text(value)
    return f"p {text if text.startswith('<') else f'= {text}'}".replace(" ", NARROW)


def percent(share: float) -> str:
    """Return a share of 0 to 1 in whole percent; only 0 itself is 0 %, only 1 itself is 100 %."""
    rounded = f"{100 * share:.0f}"
    untrue = 0 < share < 1 and rounded in ("0", "100")
    return ("under 1" if share < 0.5 else "over 99") * untrue + rounded * (not untrue) + f"{NARROW}%"


def count(number: int, noun: str) -> str:
    """Return a number of things: ``1,200 images``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def points(gain: float | None) -> str:
    """Return a difference of scores in points of a hundred: ``2.1 points below``."""
    return "level with" if not gain else f"{100 * abs(gain):.1f} points {'above' if gain > 0 else 'below'}"


def claim_text(holds: bool | None, certain: bool | None) -> str:
    """Return what became of a claim, see `counterpoise.evaluation.judge`."""
    if holds is None:
        return "not measured"
    word = "holds" if holds else "contradicted"
    if certain is None:
        return f"{word} in this one repeat"
    return word if certain else f"{word} on average; the interval allows both"


def shorten(text: str, *, length: int) -> str:
    """Return `text`, or its two ends around an ellipsis when it is longer than `length` characters."""
    head = length // 2
    return text if len(text) <= length else f"{text[:head]}…{text[len(text) - (length - 1 - head) :]}"


def duration(seconds: float) -> str:
    """Return a duration: ``2 min 5 s``."""
    return f"{seconds:.1f} s" if seconds < 60 else f"{int(seconds // 60)} min {int(seconds % 60)} s"


def plain(value: Any) -> str:
    """Return a setting: lists by commas, mappings as name=value."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={plain(item)}" for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(plain, value))
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def pairs(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return settings as names and texts, without those that are not there."""
    return [(str(key), plain(value)) for key, value in values.items() if value not in (None, "", [], {}, ())]


def describe_imbalance(profile: Mapping[str, Any]) -> str:
    """Return a profile in a few words: ``step imbalance, ratio 20``."""
    ratio = profile.get("ratio")
    return f"{profile['profile']} imbalance" + (f", ratio {ratio:g}" if ratio else "")
