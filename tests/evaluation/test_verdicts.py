"""One rule for verdicts: on a grid of cases it gives the outcome of each rule that it replaced."""

from __future__ import annotations

import itertools

import pytest

from counterpoise.evaluation import MeanInterval, Verdict, judge

VALUES = (-0.03, -0.02, -0.01, 0.0, 0.01, 0.02, 0.03)
INTERVALS = [
    MeanInterval(None, None, None, 0),
    *(MeanInterval(mean, None, None, 1) for mean in VALUES),
    *(
        MeanInterval(mean, low, high, 5)
        for low, mean, high in itertools.product(VALUES, repeat=3)
        if low <= mean <= high
    ),
]


def decided(found):
    """Claims of published tables: is the difference positive?"""
    if found.mean is None:
        return "not run"
    if found.low is None or found.high is None or found.low <= 0 <= found.high:
        return "not decided"
    return "confirmed" if found.low > 0 else "refuted"


@pytest.mark.parametrize("interval", INTERVALS)
def test_claims_of_published_tables(interval):
    assert judge(interval).outcome == decided(interval)


@pytest.mark.parametrize("interval", INTERVALS)
@pytest.mark.parametrize("at_least", [-0.02, 0.0, 0.02])
def test_claims_of_transfer(interval, at_least):
    certain = None
    if interval.low is not None and interval.high is not None:
        certain = not interval.low < at_least <= interval.high
    holds = None if interval.mean is None else interval.mean >= at_least
    assert judge(interval, border=at_least, inclusive=True) == Verdict(holds, certain)


@pytest.mark.parametrize("interval", [found for found in INTERVALS if found.mean is not None])
def test_gains_that_may_be_none(interval):
    may_be_none = interval.low is not None and interval.low <= 0 <= interval.high
    assert (judge(interval).certain is False) == may_be_none


@pytest.mark.parametrize("gain", VALUES)
def test_better_than_the_baseline_by_the_mean_alone(gain):
    assert judge(MeanInterval(gain, None, None, 3)) == Verdict(gain > 0, None)


@pytest.mark.parametrize("p_value", [0.0, 0.01, 0.0499, 0.05, 0.0501, 1.0])
@pytest.mark.parametrize("difference", [-0.02, 0.02])
def test_a_p_value_decides_whether_a_lead_is_chance(p_value, difference):
    found = judge(MeanInterval(difference, -1.0, 1.0, 3), p_value=p_value)
    assert found == Verdict(difference > 0, p_value < 0.05)
    if p_value < 0.05:
        assert found.outcome == ("confirmed" if difference > 0 else "refuted")
    else:
        assert found.outcome == "not decided"
