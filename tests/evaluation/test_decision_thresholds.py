"""Thresholds against exhaustive search."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from counterpoise.evaluation import (
    cost_threshold,
    lowest_cost_threshold,
    predict_lowest_cost,
    predict_with_thresholds,
    youden_threshold,
)
from counterpoise.exceptions import InputError


@st.composite
def binary_problems(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    rest = draw(arrays(np.bool_, st.integers(0, 25)))
    positive = np.concatenate([[True, False], rest])
    steps = draw(arrays(np.int64, len(positive), elements=st.integers(0, 10)))
    return positive, steps / 10


def candidates(scores: np.ndarray) -> list[float]:
    return [float(np.nextafter(scores.max(), np.inf)), *sorted(set(scores.tolist()), reverse=True)]


@given(binary_problems())
@settings(deadline=None)
def test_youden_equals_exhaustive_search(problem: tuple[np.ndarray, np.ndarray]) -> None:
    positive, scores = problem
    found = youden_threshold(positive, scores)
    slow = [((scores >= t)[positive].mean() - (scores >= t)[~positive].mean(), t) for t in candidates(scores)]
    best = max(j for j, _ in slow)
    assert found.j == pytest.approx(best)
    assert found.threshold == next(t for j, t in slow if j >= best - 1e-9)


@given(
    binary_problems(), st.tuples(st.integers(0, 2), st.integers(0, 9), st.integers(0, 9), st.integers(0, 2))
)
@settings(deadline=None)
def test_lowest_cost_equals_exhaustive_search(problem: tuple[np.ndarray, np.ndarray], costs: tuple) -> None:
    positive, scores = problem
    matrix = np.reshape(costs, (2, 2))
    found = lowest_cost_threshold(positive, scores, matrix)
    slow = [(matrix[positive.astype(int), (scores >= t).astype(int)].mean(), t) for t in candidates(scores)]
    best = min(cost for cost, _ in slow)
    assert found.cost == pytest.approx(best)
    assert found.threshold == next(t for cost, t in slow if cost <= best + 1e-9)


def test_no_cut_is_better_than_none() -> None:
    found = youden_threshold([1, 0], [0.2, 0.8])
    assert found.j == 0.0
    assert found.threshold > 0.8


@pytest.mark.parametrize("matrix", [[[0, 1], [9, 0]], [[-1, 4], [3, 1]], [[2, 5], [2.5, 1]]])
def test_cost_threshold_is_where_expected_costs_meet(matrix: list) -> None:
    t = cost_threshold(matrix)
    costs = np.array(matrix)
    negative, positive = np.array([1 - t, t]) @ costs
    assert negative == pytest.approx(positive)
    above = np.array([[1 - t - 0.01, t + 0.01]])
    below = np.array([[1 - t + 0.01, t - 0.01]])
    assert predict_lowest_cost(above, costs).tolist() == [1]
    assert predict_lowest_cost(below, costs).tolist() == [0]


def test_lowest_expected_cost_equals_slow_loop() -> None:
    rng = np.random.default_rng(0)
    prob, costs = rng.dirichlet(np.ones(4), 50), rng.uniform(0, 5, (4, 4))
    slow = [
        min(range(4), key=lambda j, p=p: sum(p[i] * costs[i, j] for i in range(4)))
        for p in prob  # type: ignore[misc]
    ]
    assert predict_lowest_cost(prob, costs).tolist() == slow
    assert predict_lowest_cost(prob, costs.T).tolist() != slow
    assert (predict_lowest_cost(prob, 1 - np.eye(4)) == prob.argmax(axis=1)).all()


def test_thresholds_per_class() -> None:
    rng = np.random.default_rng(1)
    prob = rng.dirichlet(np.ones(3), 200)
    assert (predict_with_thresholds(prob, [0.4, 0.4, 0.4]) == prob.argmax(axis=1)).all()
    lower = predict_with_thresholds(prob, [0.4, 0.4, 0.1])
    assert (lower == 2).sum() > (prob.argmax(axis=1) == 2).sum()
    slow = [max(range(3), key=lambda c, p=p: p[c] / (0.4, 0.4, 0.1)[c]) for p in prob]  # type: ignore[misc]
    assert lower.tolist() == slow
    two = np.stack([1 - prob[:, 0], prob[:, 0]], axis=1)
    assert (predict_with_thresholds(two, [0.7, 0.3]) == (prob[:, 0] > 0.3)).all()


def test_bad_input() -> None:
    with pytest.raises(InputError, match=r"shape \(3, 3\), expected \(2, 2\)"):
        cost_threshold(np.zeros((3, 3)))
    with pytest.raises(InputError, match="as cheap as being right"):
        cost_threshold([[1, 0], [0, 1]])
    with pytest.raises(InputError, match="holds NaN or infinity"):
        cost_threshold([[0, np.inf], [1, 0]])
    with pytest.raises(InputError, match="found 2 thresholds for 3 classes"):
        predict_with_thresholds([[0.2, 0.3, 0.5]], [0.5, 0.5])
    with pytest.raises(InputError, match="found the threshold 0, expected numbers above 0"):
        predict_with_thresholds([[0.5, 0.5]], [0.5, 0])
    with pytest.raises(InputError, match=r"expected \(3, 3\)"):
        predict_lowest_cost([[0.2, 0.3, 0.5]], np.zeros((2, 2)))
