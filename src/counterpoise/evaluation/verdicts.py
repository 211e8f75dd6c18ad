"""The rule that turns a measured difference and its uncertainty into a verdict on a claim."""

from __future__ import annotations

from typing import Literal, NamedTuple

from counterpoise.evaluation.intervals import MeanInterval

BASELINE = "bl"
"""Name of the method that the others are compared with."""

SIGNIFICANCE = 0.05


class Verdict(NamedTuple):
    """Verdict on the claim that a difference is above a border.

    ``holds`` is whether the mean is on the side of the claim, None without a mean; ``certain`` is whether chance is
    excluded, None without an interval and without a p-value.
    """

    holds: bool | None
    certain: bool | None

    @property
    def outcome(self) -> Literal["confirmed", "refuted", "not decided", "not run"]:
        """The verdict in words; only certain differences confirm or refute."""
        if self.holds is None:
            return "not run"
        if not self.certain:
            return "not decided"
        return "confirmed" if self.holds else "refuted"


def judge(
    difference: MeanInterval, *, border: float = 0.0, inclusive: bool = False, p_value: float | None = None
) -> Verdict:
    """Judge the claim that a difference is above a border.

    It is certainly true where the whole interval is above the border, certainly false where the whole interval is
    below.

    Parameters
    ----------
    difference : MeanInterval
    border : float, default 0
    inclusive : bool, default False
        Whether a difference equal to the border is enough ("at least" instead of "above").
    p_value : float, optional
        P-value of a test of this difference. It replaces the interval: certain below 0.05.

    Examples
    --------
    >>> judge(MeanInterval(0.02, 0.01, 0.03, 5)).outcome, judge(MeanInterval(0.02, -0.01, 0.05, 5)).outcome
    ('confirmed', 'not decided')
    >>> judge(MeanInterval(-0.01, None, None, 1), border=-0.02, inclusive=True)
    Verdict(holds=True, certain=None)
    >>> judge(MeanInterval(-0.01, -0.02, 0.0, 3), p_value=0.03).outcome
    'refuted'
    """

    def above(value: float) -> bool:
        return value > border or (inclusive and value == border)

    holds = None if difference.mean is None else above(difference.mean)
    if p_value is not None:
        return Verdict(holds, p_value < SIGNIFICANCE)
    if difference.low is None or difference.high is None:
        return Verdict(holds, None)
    return Verdict(holds, above(difference.low) or difference.high < border)
