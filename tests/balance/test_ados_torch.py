"""ADOS on tensors equals ADOS on arrays."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from counterpoise.balance.features import ADOS, FSSMOTE
from counterpoise.exceptions import InputError, ResamplingWarning

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


def problem(dtype=np.float32, sizes=(160, 13, 60), d=5):
    rng = np.random.default_rng(0)
    y = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    return (rng.normal(size=(y.size, d)) + 0.9 * y[:, None]).astype(dtype), y


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"seed_order": "random"},
        {"seed_order": "extend"},
        {"k_rule": "printed"},
        {"weights": "uniform", "nu_max": 30},
        {"weights": "rbf", "k_min": 5},
        {"weights": "wedge", "nu_min": 4},
        {"border": True},
        {"desired_ratio": 1.4},
    ],
    ids=str,
)
def test_equals_the_compiled_result(options, dtype, device):
    X, y = problem(dtype)
    want_X, want_y = ADOS(random_state=3, **options).fit_resample(X, y)
    sampler = ADOS(random_state=3, **options)
    got_X, got_y = sampler.fit_resample(torch.from_numpy(X).to(device), torch.from_numpy(y).to(device))
    assert got_X.device.type == got_y.device.type == sampler.sample_weight_.device.type == device
    assert got_X.dtype == (torch.float32 if dtype == np.float32 else torch.float64)
    np.testing.assert_array_equal(got_y.cpu().numpy(), want_y)
    np.testing.assert_array_equal(got_X[: len(X)].cpu().numpy(), X)
    np.testing.assert_allclose(
        got_X.cpu().numpy(), want_X, rtol=0, atol=2e-5 if dtype == np.float32 else 1e-10
    )
    reference = ADOS(random_state=3, **options)
    reference.fit_resample(X, y)
    np.testing.assert_allclose(sampler.sample_weight_.cpu().numpy(), reference.sample_weight_)


def test_a_callable_gets_tensors():
    X, y = problem()
    want, _ = ADOS(random_state=1, weights=lambda d: 1 / (1 + d)).fit_resample(X, y)
    got, _ = ADOS(random_state=1, weights=lambda d: 1 / (1 + d)).fit_resample(
        torch.from_numpy(X), torch.from_numpy(y)
    )
    np.testing.assert_allclose(got.numpy(), want, rtol=0, atol=2e-5)
    with pytest.raises(InputError, match="the weights callable must return"):
        ADOS(weights=lambda d: -d).fit_resample(torch.from_numpy(X), y)


def test_duplicates_and_a_single_point():
    X = torch.tensor([[0.0, 1.0], [2.0, 2.0], [3.0, 1.0], [5.0, 5.0], [1.0, 1.0], [1.0, 1.0], [9.0, 9.0]])
    y = torch.tensor([0, 0, 0, 0, 1, 1, 2])
    with pytest.warns(ResamplingWarning, match="single point"):
        got, labels = ADOS(random_state=0).fit_resample(X, y)
    np.testing.assert_array_equal(labels[7:].numpy(), [1, 1, 2, 2, 2])
    np.testing.assert_array_equal(got[7:9].numpy(), [[1, 1], [1, 1]])
    np.testing.assert_array_equal(got[9:].numpy(), [[9, 9]] * 3)


def test_labels_may_be_an_array_and_inputs_stay_as_they_were():
    X, y = problem()
    tensor = torch.from_numpy(X.copy()).requires_grad_()
    got_X, got_y = ADOS(random_state=0).fit_resample(tensor, y)
    assert isinstance(got_y, np.ndarray)
    assert not got_X.requires_grad
    np.testing.assert_array_equal(tensor.detach().numpy(), X)


def test_half_precision_becomes_single():
    X, y = problem()
    assert ADOS(random_state=0).fit_resample(torch.from_numpy(X).half(), y)[0].dtype == torch.float32


@pytest.mark.parametrize(
    ("X", "y", "message"),
    [
        (torch.zeros(4, 2, 2), [0, 0, 0, 1], "found torch.float32 of shape"),
        (torch.zeros(4, 2, dtype=torch.int64), [0, 0, 0, 1], "found torch.int64"),
        (torch.full((4, 2), torch.nan), [0, 0, 0, 1], "NaN or infinity"),
        (torch.zeros(4, 2), [0, 0, 1], "one label for each of the 4 rows"),
    ],
)
def test_refusals(X, y, message):
    with pytest.raises(InputError, match=message):
        ADOS().fit_resample(X, np.array(y))


def test_fs_smote_gives_tensors_back():
    X, y = problem()
    want = FSSMOTE(random_state=0).fit_resample(X, y)[0]
    got_X, got_y = FSSMOTE(random_state=0).fit_resample(torch.from_numpy(X), torch.from_numpy(y))
    np.testing.assert_array_equal(got_X.numpy(), want)
    assert got_y.dtype == torch.int64
