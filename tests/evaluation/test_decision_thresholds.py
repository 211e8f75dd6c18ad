"""Decisions by thresholds and by costs, against exhaustive search and slow loops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import expit, log_softmax, logit

from counterpoise.balance.adjust import ClassThresholds, ExpectedCost, SigmoidScores, adjustment_from_state
from counterpoise.exceptions import InputError


@st.composite
def binary_problems(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Which samples are of class 1 (both classes occur), and its probability, with ties."""
    rest = draw(arrays(np.bool_, st.integers(0, 25)))
    positive = np.concatenate([[True, False], rest])
    steps = draw(arrays(np.int64, len(positive), elements=st.integers(1, 9)))
    return positive, steps / 10


def candidates(scores: np.ndarray) -> list[float]:
    return [float(np.nextafter(scores.max(), np.inf)), *sorted(set(scores.tolist()), reverse=True)]


def two_logits(probability: np.ndarray) -> np.ndarray:
    return np.log(np.stack([1 - probability, probability], axis=1))


def with_thresholds(thresholds: list[float]) -> ClassThresholds:
    state = {
        "name": "ClassThresholds",
        "options": {},
        "learned": {
            "offset_": (-np.log(thresholds)).tolist(),
            "costs_": None,
            "num_classes_": len(thresholds),
        },
    }
    return adjustment_from_state(state)


def decisions(adjustment, prob: np.ndarray) -> np.ndarray:
    return adjustment.transform(np.log(prob)).argmax(axis=1)


@given(binary_problems())
@settings(deadline=None)
def test_youden_equals_exhaustive_search(problem: tuple[np.ndarray, np.ndarray]) -> None:
    positive, scores = problem
    logits = logit(np.stack([np.full(len(scores), 0.5), scores], axis=1))
    fitted = SigmoidScores(thresholds="youden").fit(logits, positive.astype(int), [9, 9])
    found = float(np.exp(-fitted.offset_[1]))
    slow = [((scores >= t)[positive].mean() - (scores >= t)[~positive].mean(), t) for t in candidates(scores)]
    best = max(j for j, _ in slow)
    expected = next(t for j, t in slow if j >= best - 1e-9)
    if expected > scores.max():  # no cut is better than none: only scores beyond all of these are positive
        expected = scores.max()
    assert found == pytest.approx(expected)


@given(
    binary_problems(), st.tuples(st.integers(0, 2), st.integers(0, 9), st.integers(0, 9), st.integers(0, 2))
)
@settings(deadline=None)
def test_lowest_cost_equals_exhaustive_search(problem: tuple[np.ndarray, np.ndarray], costs: tuple) -> None:
    positive, scores = problem
    matrix, labels = np.reshape(costs, (2, 2)), positive.astype(int)
    logits = two_logits(scores)
    adjusted = ClassThresholds(costs=matrix).fit(logits, labels, [9, 9]).transform(logits)
    found = matrix[labels, adjusted.argmax(axis=1)].mean()
    slow = [matrix[labels, (scores >= t).astype(int)].mean() for t in candidates(scores)]
    assert found == pytest.approx(min(slow))


def test_no_cut_is_better_than_none() -> None:
    logits = logit(np.array([[0.5, 0.2], [0.5, 0.8]]))
    fitted = SigmoidScores(thresholds="youden").fit(logits, [1, 0], [9, 9])
    assert np.exp(-fitted.offset_[1]) == pytest.approx(0.8)
    assert (expit(logits[:, 1]) > np.exp(-fitted.offset_[1]) + 1e-12).sum() == 0


@pytest.mark.parametrize("matrix", [[[0, 1], [9, 0]], [[0, 5], [4, 2]], [[2, 5], [2.5, 1]]])
def test_the_decision_turns_where_expected_costs_meet(matrix: list) -> None:
    """Elkan 2001, Eq. 2: p* = (c01 - c00) / (c01 - c00 + c10 - c11)."""
    costs = np.array(matrix)
    false_alarm, miss = costs[0, 1] - costs[0, 0], costs[1, 0] - costs[1, 1]
    t = false_alarm / (false_alarm + miss)
    negative, positive = np.array([1 - t, t]) @ costs
    assert negative == pytest.approx(positive)
    adjustment = ExpectedCost(costs=costs).fit(None, None, [9, 9])
    near = np.array([t + 0.01, t - 0.01])
    assert decisions(adjustment, np.stack([1 - near, near], axis=1)).tolist() == [1, 0]


def test_lowest_expected_cost_equals_slow_loop() -> None:
    rng = np.random.default_rng(0)
    prob, costs = rng.dirichlet(np.ones(4), 50), rng.uniform(0, 5, (4, 4))
    slow = [
        min(range(4), key=lambda j, p=p: sum(p[i] * costs[i, j] for i in range(4)))
        for p in prob  # type: ignore[misc]
    ]
    by_cost = [decisions(ExpectedCost(costs=c).fit(None, None, [1] * 4), prob) for c in (costs, costs.T)]
    assert by_cost[0].tolist() == slow
    assert by_cost[1].tolist() != slow
    plain = ExpectedCost(costs=1 - np.eye(4)).fit(None, None, [1] * 4)
    assert (decisions(plain, prob) == prob.argmax(axis=1)).all()


def test_thresholds_per_class() -> None:
    rng = np.random.default_rng(1)
    prob = rng.dirichlet(np.ones(3), 200)
    assert (decisions(with_thresholds([0.4, 0.4, 0.4]), prob) == prob.argmax(axis=1)).all()
    lower = decisions(with_thresholds([0.4, 0.4, 0.1]), prob)
    assert (lower == 2).sum() > (prob.argmax(axis=1) == 2).sum()
    slow = [max(range(3), key=lambda c, p=p: p[c] / (0.4, 0.4, 0.1)[c]) for p in prob]  # type: ignore[misc]
    assert lower.tolist() == slow
    two = np.stack([1 - prob[:, 0], prob[:, 0]], axis=1)
    assert (decisions(with_thresholds([0.7, 0.3]), two) == (prob[:, 0] > 0.3)).all()


def test_thresholds_are_scaled_to_sum_to_one() -> None:
    assert with_thresholds([0.4, 0.4, 0.2]).thresholds_ == pytest.approx([0.4, 0.4, 0.2])
    logits = log_softmax(np.random.default_rng(2).normal(size=(40, 3)), axis=1)
    fitted = ClassThresholds().fit(logits, np.arange(40) % 3, [9, 9, 9])
    assert fitted.thresholds_.sum() == pytest.approx(1)


def test_bad_costs() -> None:
    for costs, message in [
        (np.zeros((3, 3)), "is 3 x 3; expected 2 x 2"),
        ([[0, np.inf], [1, 0]], "has inf in row 1"),
        ([[1, 1], [1, 1]], "every decision costs the same"),
    ]:
        with pytest.raises(InputError, match=message):
            ExpectedCost(costs=costs).fit(None, None, [9, 9])
