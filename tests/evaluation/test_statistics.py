"""Intervals and paired tests against SciPy, hand examples and slow loops."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from counterpoise.evaluation import MeanInterval, holm, mean_interval, paired_p_value, paired_tests
from counterpoise.exceptions import InputError


@pytest.fixture(autouse=True)
def _no_warnings() -> object:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@given(st.lists(st.floats(0, 1).map(lambda x: round(x, 6)), min_size=2, max_size=12, unique=True))
@settings(deadline=None)
def test_interval_equals_scipy(values: list[float]) -> None:
    found = mean_interval(values)
    low, high = stats.t.interval(0.95, len(values) - 1, loc=np.mean(values), scale=stats.sem(values))
    assert found[:4] == (pytest.approx(np.mean(values)), pytest.approx(low), pytest.approx(high), len(values))


def test_interval_by_hand() -> None:
    """Mean 0.8, s = 0.1, t(0.975; 2) = 4.302653."""
    found = mean_interval([0.7, 0.8, 0.9])
    half = 4.302653 * 0.1 / 3**0.5
    assert found[:3] == (
        pytest.approx(0.8),
        pytest.approx(0.8 - half, abs=1e-6),
        pytest.approx(0.8 + half, abs=1e-6),
    )


def test_confidence_widens_the_interval() -> None:
    narrow, wide = (mean_interval([0.7, 0.8, 0.9], confidence=c) for c in (0.5, 0.99))
    assert wide.low < narrow.low < narrow.high < wide.high  # type: ignore[operator]
    with pytest.raises(InputError, match="confidence=95"):
        mean_interval([0.1, 0.2], confidence=95)


def test_few_or_equal_or_undefined_values() -> None:
    assert mean_interval([]) == MeanInterval(None, None, None, 0)
    assert mean_interval([None, float("nan")]) == MeanInterval(None, None, None, 0)
    assert mean_interval([0.25]) == MeanInterval(0.25, None, None, 1)
    assert mean_interval([0.5, 0.5, None]) == MeanInterval(0.5, 0.5, 0.5, 2)
    with pytest.raises(InputError, match="infinite"):
        mean_interval([float("inf")])


def slow_holm(p_values: list[float]) -> list[float]:
    """Adjusted p of j: the largest of (m - rank) * p over all p not above p_j, at most 1."""
    ranked = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted = [0.0] * len(p_values)
    for position, j in enumerate(ranked):
        steps = [(len(p_values) - k) * p_values[ranked[k]] for k in range(position + 1)]
        adjusted[j] = min(1.0, max(steps))
    return adjusted


def test_holm_by_hand() -> None:
    """Sorted 0.01, 0.02, 0.03, 0.04 times 4, 3, 2, 1 gives 0.04, 0.06, 0.06, 0.04; made rising."""
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.5, 0.6]) == [1.0, 1.0]
    assert holm([]) == []


@given(st.lists(st.one_of(st.none(), st.floats(0, 1)), max_size=10))
@settings(deadline=None)
def test_holm_equals_slow_loop(p_values: list[float | None]) -> None:
    adjusted = holm(p_values)
    known = [p for p in p_values if p is not None]
    assert [a for a in adjusted if a is not None] == pytest.approx(slow_holm(known))
    assert [a is None for a in adjusted] == [p is None for p in p_values]
    assert all(a >= p for a, p in zip(adjusted, p_values, strict=True) if p is not None and a is not None)


def test_paired_tests_equal_scipy_on_shared_draws() -> None:
    rng = np.random.default_rng(0)
    values = {
        "bl": {d: float(rng.normal(0.5, 0.1)) for d in range(6)},
        "ados": {d: float(rng.normal(0.7, 0.1)) for d in range(2, 8)},
        "ros": {d: float(rng.normal(0.6, 0.1)) for d in (5, 4, 3)},
    }
    found = paired_tests(values)
    assert [(t.a, t.b, t.n) for t in found] == [("bl", "ados", 4), ("bl", "ros", 3), ("ados", "ros", 3)]
    for test in found:
        shared = sorted(set(values[test.a]) & set(values[test.b]))
        first, second = ([values[m][d] for d in shared] for m in (test.a, test.b))
        assert test.p_value == pytest.approx(stats.ttest_rel(first, second).pvalue)
        assert test.difference == pytest.approx(np.mean(first) - np.mean(second))
    assert [t.p_adjusted for t in found] == pytest.approx(slow_holm([t.p_value for t in found]))  # type: ignore[misc]


def test_order_of_draws_does_not_matter() -> None:
    forward = {"a": {0: 0.1, 1: 0.5, 2: 0.4}, "b": {0: 0.2, 1: 0.9, 2: 0.3}}
    backward = {"a": forward["a"], "b": dict(reversed(forward["b"].items()))}
    assert paired_tests(forward) == paired_tests(backward)


def test_too_few_draws() -> None:
    found = paired_tests({"a": {0: 0.5, 1: None}, "b": {0: 0.6, 1: 0.7}, "c": {2: 0.1}})
    assert found[0] == ("a", "b", 1, pytest.approx(-0.1), None, None)
    assert found[1] == ("a", "c", 0, None, None, None)
    assert paired_tests({"a": {0: 0.5}}) == []


def test_identical_values_are_no_difference() -> None:
    same = {0: 0.0, 1: 0.5, 2: 0.3}
    (test,) = paired_tests({"a": same, "b": dict(same)})
    assert test == ("a", "b", 3, 0.0, 1.0, 1.0)
    assert paired_p_value([1e-17, -1e-17]) == 1.0


def test_constant_difference_claims_no_certainty() -> None:
    (test,) = paired_tests({"a": {0: 0.3, 1: 0.4}, "b": {0: 0.2, 1: 0.3}})
    assert test.difference == pytest.approx(0.1)
    assert (test.p_value, test.p_adjusted) == (None, None)


def test_undecided_pairs_do_not_count_in_the_correction() -> None:
    values = {"a": {0: 0.1, 1: 0.5, 2: 0.4}, "b": {0: 0.2, 1: 0.9, 2: 0.45}, "c": {9: 0.1}}
    found = paired_tests(values)
    assert found[0].p_adjusted == found[0].p_value


def test_infinite_value() -> None:
    with pytest.raises(InputError, match="method 'b' has an infinite value"):
        paired_tests({"a": {0: 0.1}, "b": {0: float("inf")}})
