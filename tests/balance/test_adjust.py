"""Post-hoc adjustments against their equation, and their state through JSON."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from counterpoise.balance.adjust import (
    Adjustment,
    ClassThresholds,
    ExpectedCost,
    LogitAdjustment,
    SigmoidScores,
    TemperatureScaling,
    adjustment_from_state,
)
from counterpoise.exceptions import InputError, UnknownNameError

LOGITS = np.random.default_rng(0).normal(size=(6, 3))


@pytest.mark.parametrize("tau", [0.0, 0.5, 1.0, 2.0])
def test_equals_the_slow_loop(tau):
    counts = [70, 20, 10]
    adjusted = LogitAdjustment(tau=tau).fit(None, None, counts).transform(LOGITS)
    for row, result in zip(LOGITS, adjusted, strict=True):
        expected = [z - tau * np.log(n / 100) for z, n in zip(row, counts, strict=True)]
        np.testing.assert_allclose(result, expected)


def test_shares_after_square_root_sampling():
    """Square roots of 64, 16 and 1 are 8, 4 and 1 of 13."""
    adjusted = LogitAdjustment(power=0.5).fit(None, None, [64, 16, 1]).transform(np.zeros((1, 3)))
    np.testing.assert_allclose(adjusted, -np.log([[8 / 13, 4 / 13, 1 / 13]]))


@pytest.mark.parametrize("power", [0, -1, 1.5, float("nan")])
def test_an_impossible_power_is_refused(power):
    with pytest.raises(InputError, match="expected a number above 0, at most 1"):
        LogitAdjustment(power=power)


def test_tau_one_undoes_the_training_shares():
    """With exact posteriors under the training shares, the softmax is that under equal shares."""
    likelihood, counts = np.array([[0.5, 0.3, 0.1]]), np.array([80, 15, 5])
    logits = np.log(likelihood * counts / counts.sum())
    adjusted = np.exp(LogitAdjustment().fit(None, None, counts).transform(logits))
    np.testing.assert_allclose(adjusted / adjusted.sum(), likelihood / likelihood.sum())


def test_class_without_images_is_not_raised():
    adjusted = LogitAdjustment().fit(None, None, [8, 0, 2]).transform(np.zeros((1, 3)))
    np.testing.assert_allclose(adjusted, [[-np.log(0.8), 0.0, -np.log(0.2)]])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_type_stays_and_the_input_is_left_alone(dtype):
    logits = LOGITS.astype(dtype)
    before = logits.copy()
    assert LogitAdjustment().fit(None, None, [3, 2, 1]).transform(logits).dtype == dtype
    np.testing.assert_array_equal(before, logits)


def test_state_survives_json_bit_for_bit():
    fitted = LogitAdjustment(tau=0.7).fit(LOGITS, [0, 1, 2, 0, 1, 2], [70, 20, 10])
    state = fitted.get_state()
    again = adjustment_from_state(json.loads(json.dumps(state)))
    assert isinstance(again, LogitAdjustment)
    assert again.tau == 0.7
    np.testing.assert_array_equal(again.transform(LOGITS), fitted.transform(LOGITS))
    assert again.get_state() == state


@pytest.mark.parametrize(
    "adjustment",
    [
        LogitAdjustment(tau=0.7),
        TemperatureScaling(),
        ClassThresholds(),
        SigmoidScores(thresholds="youden"),
        ExpectedCost(costs=[[0, 1, 4], [9, 0, 2], [3, 3, 3]]),  # the third class has no say
    ],
    ids=lambda a: type(a).__name__,
)
def test_by_torch_it_is_what_it_is_by_numpy(adjustment):
    adjustment.fit(LOGITS, [0, 1, 2, 0, 1, 2], [70, 20, 10])
    again = adjustment_from_state(json.loads(json.dumps(adjustment.get_state())))
    for logits in (LOGITS, LOGITS * 400):
        found = again.transform_tensor(torch.from_numpy(logits))
        assert found.dtype == torch.float64
        np.testing.assert_allclose(found.numpy(), adjustment.transform(logits), rtol=1e-10, atol=1e-12)


def test_unknown_state_names_the_nearest():
    with pytest.raises(UnknownNameError, match="did you mean 'LogitAdjustment'"):
        adjustment_from_state({"name": "LogitAdjustmnt", "options": {}, "learned": {}})
    with pytest.raises(InputError, match="expected that of 'LogitAdjustment'"):
        LogitAdjustment.from_state({"name": "TauNorm"})


def test_bad_input_is_refused():
    fitted = LogitAdjustment().fit(None, None, [1, 2, 3])
    with pytest.raises(InputError, match=r"floats of shape \(N, 3\)"):
        fitted.transform(LOGITS[:, :2])
    with pytest.raises(InputError, match="not fitted"):
        LogitAdjustment().transform(LOGITS)
    with pytest.raises(InputError, match="6 rows of logits and 2 labels"):
        LogitAdjustment().fit(LOGITS, [0, 1], [1, 2, 3])
    with pytest.raises(InputError, match="not fitted"):
        LogitAdjustment().transform_tensor(torch.from_numpy(LOGITS))
    with pytest.raises(InputError, match="class counts are"):
        LogitAdjustment().fit(None, None, [0, 0])
    with pytest.raises(InputError, match="tau is nan"):
        LogitAdjustment(tau=float("nan")).fit(None, None, [1, 2])


def test_an_adjustment_that_needs_logits_says_so():
    class Needy(Adjustment):
        def _fit(self, logits, labels, class_counts):
            self.mean_ = logits.mean(axis=0)

        def _transform(self, logits):
            return logits - self.mean_

    with pytest.raises(InputError, match="keep a validation split"):
        Needy().fit(None, None, [1, 2, 3])
    fitted = Needy().fit(LOGITS, np.zeros(6, dtype=int), [1, 2, 3])
    np.testing.assert_allclose(fitted.transform(LOGITS).mean(axis=0), 0, atol=1e-12)
    with pytest.raises(InputError, match="Needy cannot be written as operations on tensors"):
        fitted.transform_tensor(torch.from_numpy(LOGITS))
    np.testing.assert_allclose(Needy.from_state(fitted.get_state()).mean_, LOGITS.mean(axis=0))
