"""Calibration error and reliability table against a slow loop."""

from __future__ import annotations

import numpy as np
import pytest

from counterpoise.evaluation import calibration_error, reliability_table
from counterpoise.exceptions import InputError


def problem() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    prob = np.round(rng.dirichlet(np.full(4, 0.4), 400), 2)
    return rng.integers(0, 4, 400), prob


@pytest.mark.parametrize("bins", [1, 7, 10, 15])
def test_equals_slow_loop(bins: int) -> None:
    true, prob = problem()
    edges = np.linspace(0, 1, bins + 1)
    error = 0.0
    table = reliability_table(true, prob, bins=bins)
    for m in range(bins):
        inside = [i for i in range(400) if edges[m] < prob[i].max() <= edges[m + 1]]
        assert (table[m]["low"], table[m]["high"], table[m]["count"]) == (edges[m], edges[m + 1], len(inside))
        if inside:
            confidence = np.mean([prob[i].max() for i in inside])
            accuracy = np.mean([prob[i].argmax() == true[i] for i in inside])
            assert table[m]["confidence"] == pytest.approx(confidence)
            assert table[m]["accuracy"] == pytest.approx(accuracy)
            error += len(inside) / 400 * abs(accuracy - confidence)
        else:
            assert table[m]["confidence"] is None
            assert table[m]["accuracy"] is None
    assert calibration_error(true, prob, bins=bins) == pytest.approx(error)


def test_default_has_fifteen_bins_and_bins_matter() -> None:
    true, prob = problem()
    assert calibration_error(true, prob) == calibration_error(true, prob, bins=15)
    assert calibration_error(true, prob) != calibration_error(true, prob, bins=4)


def test_certain_and_right_or_wrong() -> None:
    assert calibration_error([0, 1], np.eye(2)) == 0.0
    assert calibration_error([1, 0], np.eye(2)) == 1.0


def test_no_bins() -> None:
    with pytest.raises(InputError, match="bins=0, expected at least 1"):
        reliability_table([0], [[1.0, 0.0]], bins=0)
