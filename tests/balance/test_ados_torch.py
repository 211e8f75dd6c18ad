"""ADOS on tensors equals ADOS on arrays."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from counterpoise.balance.features import ADOS, FSSMOTE, _ados_torch
from counterpoise.balance.features._ados_grow import grow_class
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


def tight(n, d):
    """Clusters with twins, where new points soon lie at the end of their seeds' lists."""
    rng = np.random.default_rng(3)
    points = rng.normal(size=(n, d)) * 0.1 ** np.arange(d) ** 0.5 + rng.integers(3, size=(n, 1))
    return np.concatenate([points[: n // 2], points[: n - n // 2]])


def noise_far_away(n, d):
    return np.random.default_rng(2).normal(size=(n, d)) + 1000


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("make", [tight, noise_far_away])
@pytest.mark.parametrize(("n", "d", "m", "k_max"), [(240, 40, 600, 10), (30, 3, 500, 4)])
def test_many_blocks_equal_the_compiled_kernel(make, n, d, m, k_max, dtype, device):
    points, deltas = make(n, d).astype(dtype), np.random.default_rng(1).random(m)
    order, seeds = np.arange(m) % n, np.arange(n)
    rule = {"k_max": k_max, "k_min": 2, "k_rule": "linear", "weights": "exp"}
    want = np.empty((m, d), dtype=dtype)
    grow_class(points, want, seeds, order, deltas, **rule)
    got = torch.empty((m, d), dtype=torch.float32 if dtype == np.float32 else torch.float64, device=device)
    originals, numbers = torch.from_numpy(points).to(device), torch.from_numpy(seeds).to(device)
    _ados_torch.grow_class(originals, got, numbers, order, deltas, **rule)
    scale = np.abs(points).max()
    np.testing.assert_allclose(
        got.cpu().numpy(), want, rtol=0, atol=scale * (1e-6 if dtype == np.float32 else 1e-10)
    )


def test_a_block_that_does_not_settle_the_least_distance_is_made_anew(monkeypatch):
    asked, make_block = [], _ados_torch._Growth.make_block

    def note(self, begin, sources, *, careful):
        asked.append(careful)
        return make_block(self, begin, sources, careful=careful)

    points, m = torch.from_numpy(tight(30, 3)), 500
    rule = {"k_max": 2, "k_min": 2, "k_rule": "linear", "weights": "exp"}
    arguments = (torch.arange(30), np.arange(m) % 30, np.random.default_rng(1).random(m))
    monkeypatch.setattr(_ados_torch._Growth, "make_block", note)
    got = torch.empty((m, 3), dtype=torch.float64)
    _ados_torch.grow_class(points, got, *arguments, **rule)
    assert any(asked)
    monkeypatch.setattr(_ados_torch._Growth, "make_block", lambda *a, careful: make_block(*a, careful=True))
    careful = torch.empty_like(got)
    _ados_torch.grow_class(points, careful, *arguments, **rule)
    np.testing.assert_allclose(got.numpy(), careful.numpy(), rtol=0, atol=1e-12)


class Readings(TorchDispatchMode):
    """Counts the values that are read from tensors."""

    def __init__(self):
        super().__init__()
        self.values = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.values += function.name() == "aten::_local_scalar_dense"
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("seed_order", ["cycle", "random", "extend"])
def test_hardly_anything_is_read_from_the_device(seed_order):
    """On a device every reading waits for all work before it, so there must be none for the single points."""
    X, y = problem(sizes=(600, 300, 200))
    with Readings() as readings:
        ADOS(random_state=0, seed_order=seed_order).fit_resample(torch.from_numpy(X), torch.from_numpy(y))
    blocks = 300 // 128 + 1 + 400 // 128 + 1
    assert 0 < readings.values <= 2 * blocks


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
