"""Temperature, expected cost, a chosen tau, and cross-fitting, against closed forms and slow loops."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import log_softmax, softmax

from counterpoise.balance.adjust import (
    ClassThresholds,
    ExpectedCost,
    LogitAdjustment,
    SigmoidScores,
    TemperatureScaling,
    adjustment_from_state,
)
from counterpoise.evaluation import calibration_error
from counterpoise.exceptions import InputError

GENERATOR = np.random.default_rng(0)
COUNTS = [60, 30, 10]
LABELS = GENERATOR.permutation(np.repeat([0, 1, 2], [12, 6, 4]))
LOGITS = GENERATOR.normal(size=(22, 3)) + 2 * np.eye(3)[LABELS] + np.log(COUNTS)
COSTS = np.array([[0.0, 1.0, 4.0], [6.0, 0.0, 1.0], [20.0, 5.0, 1.0]])


def likelihood(logits, labels, temperature):
    return -log_softmax(logits / temperature, axis=1)[np.arange(len(labels)), labels].mean()


# --- temperature --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("right", [6, 9])
def test_temperature_in_closed_form(right):
    """Images with logits (a, 0), a share q of class 0: sigmoid(a / T) = q, so T = a / log(q / (1 - q))."""
    logits, labels = np.tile([3.0, 0.0], (10, 1)), np.repeat([0, 1], [right, 10 - right])
    fitted = TemperatureScaling().fit(logits, labels, [1, 1])
    assert fitted.temperature_ == pytest.approx(3.0 / np.log(right / (10 - right)))


@pytest.mark.parametrize("scale", [0.2, 1.0, 30.0])
def test_no_temperature_of_a_grid_makes_the_labels_likelier(scale):
    fitted = TemperatureScaling().fit(scale * LOGITS, LABELS, COUNTS)
    best = likelihood(scale * LOGITS, LABELS, fitted.temperature_)
    grid = np.exp(np.linspace(np.log(0.01), np.log(100), 2001))
    values = [likelihood(scale * LOGITS, LABELS, t) for t in grid]
    assert best <= min(values) + 1e-12
    assert fitted.temperature_ == pytest.approx(grid[np.argmin(values)], rel=0.01)


def test_adjusted_logits_are_the_logits_over_the_temperature():
    fitted = TemperatureScaling().fit(LOGITS, LABELS, COUNTS)
    expected = softmax(LOGITS / fitted.temperature_, axis=1)
    np.testing.assert_allclose(softmax(fitted.transform(LOGITS), axis=1), expected)


def test_temperature_repairs_a_network_that_is_too_sure():
    generator = np.random.default_rng(1)
    logits = generator.normal(scale=2, size=(4000, 4))
    labels = np.array([generator.choice(4, p=p) for p in softmax(logits, axis=1)])
    fitted = TemperatureScaling().fit(5 * logits[:2000], labels[:2000], [1] * 4)
    assert fitted.temperature_ == pytest.approx(5, rel=0.1)
    fresh, truth = 5 * logits[2000:], labels[2000:]
    assert calibration_error(truth, softmax(fresh, axis=1)) > 0.2
    assert calibration_error(truth, softmax(fitted.transform(fresh), axis=1)) < 0.04


@given(st.integers(0, 10**6), st.sampled_from([0.013, 0.7, 1.0, 3.0, 97.0]))
def test_no_temperature_changes_a_decision(seed, temperature):
    """Not even in single precision, where neighbouring numbers divided by T may become one."""
    fitted = TemperatureScaling().fit(LOGITS, LABELS, COUNTS)
    fitted.temperature_ = temperature
    logits = np.random.default_rng(seed).normal(scale=5, size=(50, 3)).astype(np.float32)
    logits[:, 2] = np.nextafter(logits[:, :2].max(axis=1), np.float32(np.inf))
    np.testing.assert_array_equal(fitted.transform(logits).argmax(axis=1), 2)


def test_temperature_where_there_is_nothing_to_weigh():
    sure = np.array([[4.0, 0.0], [0.0, 4.0]])
    assert TemperatureScaling().fit(sure, [0, 1], [1, 1]).temperature_ == 0.01
    assert TemperatureScaling().fit(sure, [1, 0], [1, 1]).temperature_ == 100
    assert TemperatureScaling().fit(np.zeros((4, 3)), [0, 1, 2, 0], [1, 1, 1]).temperature_ == 1


# --- expected cost ------------------------------------------------------------------------------------------


@given(st.integers(0, 10**6), st.integers(2, 6))
def test_the_decision_is_that_of_least_expected_cost(seed, num_classes):
    generator = np.random.default_rng(seed)
    costs = (
        generator.random((num_classes, num_classes))
        * generator.choice([1e-3, 1.0, 1e4], num_classes)[:, None]
    )
    logits = generator.normal(scale=3, size=(30, num_classes))
    adjusted = ExpectedCost(costs=costs).fit(None, None, [1] * num_classes).transform(logits)
    expected_costs = softmax(logits, axis=1) @ costs
    np.testing.assert_array_equal(adjusted.argmax(axis=1), expected_costs.argmin(axis=1))


def test_scores_are_the_logarithms_of_what_is_saved():
    adjusted = ExpectedCost(costs=COSTS).fit(None, None, COUNTS).transform(LOGITS)
    for row, result in zip(softmax(LOGITS, axis=1), adjusted, strict=True):
        saved = [sum(row[c] * (max(COSTS[c]) - COSTS[c][k]) for c in range(3)) for k in range(3)]
        np.testing.assert_allclose(softmax(result), np.array(saved) / sum(saved))


def test_with_costs_of_nought_and_one_nothing_changes():
    adjusted = ExpectedCost(costs=1 - np.eye(3)).fit(None, None, COUNTS).transform(LOGITS)
    np.testing.assert_allclose(softmax(adjusted, axis=1), softmax(LOGITS, axis=1))


def test_with_costs_of_each_class_the_softmax_is_the_weighted_posterior():
    weights = np.array([1.0, 5.0, 0.5])
    costs = weights[:, None] * (1 - np.eye(3))
    adjusted = ExpectedCost(costs=costs).fit(None, None, COUNTS).transform(LOGITS)
    expected = softmax(LOGITS, axis=1) * weights
    np.testing.assert_allclose(softmax(adjusted, axis=1), expected / expected.sum(axis=1, keepdims=True))


def test_a_class_that_costs_nothing_has_no_say_however_probable():
    """All probability is on class 0, for which every decision costs the same."""
    costs = [[2, 2, 2], [1, 0, 1], [1, 1, 0]]
    fitted = ExpectedCost(costs=costs).fit(None, None, COUNTS)
    adjusted = fitted.transform(np.array([[0.0, -2000.0, -1990.0]]))
    assert np.isfinite(adjusted).all()
    assert adjusted.argmax() == 2


def test_costs_that_cannot_be_used():
    with pytest.raises(InputError, match="needs a cost matrix; give costs=FILE"):
        ExpectedCost().fit(None, None, COUNTS)
    with pytest.raises(InputError, match="every decision costs the same"):
        ExpectedCost(costs=np.ones((3, 3))).fit(None, None, COUNTS)


# --- a chosen tau -------------------------------------------------------------------------------------------


def test_tau_is_the_best_of_the_grid_on_validation_images():
    for seed in range(5):
        logits = LOGITS + np.random.default_rng(seed).normal(size=LOGITS.shape)
        fitted = LogitAdjustment(tau="validation").fit(logits, LABELS, COUNTS)
        recalls = []
        for quarter in range(9):
            offset = -quarter / 4 * np.log(np.array(COUNTS) / 100)
            decisions = (logits + offset).argmax(axis=1)
            recalls.append(np.mean([np.mean(decisions[c == LABELS] == c) for c in range(3)]))
        assert fitted.tau_ == np.argmax(np.round(recalls, 12)) / 4
        np.testing.assert_allclose(fitted.offset_, -fitted.tau_ * np.log(np.array(COUNTS) / 100))


# --- a temperature of a state with an offset ----------------------------------------------------------------


def test_an_offset_of_a_state_is_added_before_the_division():
    state = TemperatureScaling().fit(LOGITS, LABELS, COUNTS).get_state()
    assert "offset_" not in state["learned"]
    state["learned"] |= {"offset_": [0.5, 0.0, -2.0], "temperature_": 3.0}
    shifted = adjustment_from_state(json.loads(json.dumps(state)))
    expected = softmax((LOGITS + np.array([0.5, 0.0, -2.0])) / 3, axis=1)
    np.testing.assert_allclose(softmax(shifted.transform(LOGITS), axis=1), expected)
    exported = shifted.transform_tensor(torch.from_numpy(LOGITS)).softmax(dim=1)
    np.testing.assert_allclose(exported, expected)
    assert shifted.get_state() == state


def test_tau_needs_validation_images_only_where_it_is_chosen():
    assert not LogitAdjustment(tau=0.5).needs_logits
    assert LogitAdjustment(tau=0.5).fit(None, None, COUNTS).tau_ == 0.5
    with pytest.raises(InputError, match="keep a validation split"):
        LogitAdjustment(tau="validation").fit(None, None, COUNTS)
    with pytest.raises(InputError, match="tau is test; expected a number or 'validation'"):
        LogitAdjustment(tau="test").fit(LOGITS, LABELS, COUNTS)


# --- all of them --------------------------------------------------------------------------------------------

ALL = [
    ClassThresholds(),
    ClassThresholds(score="f1"),
    ClassThresholds(costs=COSTS),
    ExpectedCost(costs=COSTS),
    LogitAdjustment(tau="validation"),
    SigmoidScores(),
    SigmoidScores(thresholds="youden"),
    SigmoidScores(thresholds="recall"),
    TemperatureScaling(),
]


@pytest.fixture(params=ALL, ids=lambda a: f"{type(a).__name__}-{list(a._options().values())[:1]}")
def adjustment(request):
    return request.param


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_type_stays_and_the_input_is_left_alone(adjustment, dtype):
    logits = LOGITS.astype(dtype)
    before = logits.copy()
    adjusted = adjustment.fit(logits, LABELS, COUNTS).transform(logits)
    assert adjusted.dtype == dtype
    assert np.isfinite(adjusted).all()
    np.testing.assert_array_equal(before, logits)


def test_the_state_survives_json_bit_for_bit(adjustment):
    fitted = adjustment.fit(LOGITS, LABELS, COUNTS)
    state = fitted.get_state()
    again = adjustment_from_state(json.loads(json.dumps(state)))
    assert type(again) is type(fitted)
    np.testing.assert_array_equal(again.transform(LOGITS), fitted.transform(LOGITS))
    assert again.get_state() == state


def test_a_state_needs_no_file_of_costs_any_more(tmp_path):
    file = tmp_path / "costs.csv"
    file.write_text("\n".join(",".join(map(str, row)) for row in COSTS))
    for kind in (ClassThresholds, ExpectedCost):
        fitted = kind(costs=file).fit(LOGITS, LABELS, COUNTS)
        state = json.loads(json.dumps(fitted.get_state()))
        assert state["options"]["costs"] == str(file)
        file.rename(tmp_path / "gone.csv")
        again = adjustment_from_state(state)
        (tmp_path / "gone.csv").rename(file)
        np.testing.assert_array_equal(again.costs_, COSTS)
        np.testing.assert_array_equal(again.transform(LOGITS), fitted.transform(LOGITS))


def test_only_adjustments_that_learn_look_at_the_logits(adjustment):
    fitted = adjustment.fit(LOGITS, LABELS, COUNTS)
    if adjustment.needs_logits:
        return
    learned = fitted.get_state()["learned"]
    assert adjustment.fit(-LOGITS, LABELS[::-1], COUNTS).get_state()["learned"] == learned
    assert adjustment.fit(None, None, COUNTS).get_state()["learned"] == learned


def test_bad_validation_data_is_one_line(adjustment):
    with pytest.raises(InputError, match="labels must be whole numbers from 0 to 2"):
        adjustment.fit(LOGITS, LABELS + 1, COUNTS)
    with pytest.raises(InputError, match="did training diverge"):
        adjustment.fit(LOGITS * np.nan, LABELS, COUNTS)


# --- cross-fitting ------------------------------------------------------------------------------------------


def test_a_cross_fit_equals_the_slow_loop(adjustment):
    crossed = adjustment.cross_fit(LOGITS, LABELS, COUNTS)
    part = {}
    for place, index in enumerate(sorted(range(22), key=lambda i: (LABELS[i], i))):
        part[index] = place % 5
    for index in range(22):
        others = [i for i in range(22) if part[i] != part[index]]
        fresh = adjustment._copy().fit(LOGITS[others], LABELS[others], COUNTS)
        np.testing.assert_allclose(crossed[index], fresh.transform(LOGITS[[index]])[0])


def test_a_cross_fit_does_not_flatter():
    """Where logits say nothing, thresholds fitted to them look better than they are; a cross-fit does not."""
    generator = np.random.default_rng(3)
    labels = np.repeat(np.arange(4), 15)
    fitted, crossed = [], []
    for _ in range(10):
        logits = generator.normal(size=(60, 4))
        thresholds = ClassThresholds(score="recall")
        adjusted = thresholds.fit(logits, labels, [15] * 4).transform(logits)
        fitted.append(np.mean(adjusted.argmax(axis=1) == labels))
        crossed.append(np.mean(thresholds.cross_fit(logits, labels, [15] * 4).argmax(axis=1) == labels))
    assert np.mean(fitted) > 0.29
    assert np.mean(crossed) < 0.28


def test_a_cross_fit_of_one_image_leaves_it_as_it_is():
    logits = np.array([[0.5, 0.0]], dtype=np.float32)
    np.testing.assert_array_equal(ClassThresholds().cross_fit(logits, [1], [9, 1]), logits)
