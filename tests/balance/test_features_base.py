"""What every feature oversampler promises: imbalanced-learn's checks, and what they lack."""

from __future__ import annotations

import inspect
import re

import numpy as np
import pytest
from imblearn.utils.estimator_checks import parametrize_with_checks
from sklearn.base import clone

from counterpoise.balance.features import ADOS, FEATURES, FSSMOTE, FeatureOversampler
from counterpoise.exceptions import ResamplingWarning

OVERSAMPLERS = [ADOS, FSSMOTE]


def test_the_list_is_complete():
    assert {entry.load() for entry in FEATURES} == set(OVERSAMPLERS)
    assert all(issubclass(cls, FeatureOversampler) for cls in OVERSAMPLERS)


@parametrize_with_checks([cls(random_state=0) for cls in OVERSAMPLERS])
def test_estimator_checks(estimator, check, request):
    check(estimator)


def problem(dtype=np.float64):
    rng = np.random.default_rng(0)
    y = rng.permutation(np.repeat(["a", "b", "c"], [50, 12, 12]))
    return rng.normal(size=(y.size, 3)).astype(dtype), y


@pytest.mark.parametrize("cls", OVERSAMPLERS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_originals_come_first_unchanged_then_class_by_class(cls, dtype):
    X, y = problem(dtype)
    kept_X, kept_y = X.copy(), y.copy()
    X.flags.writeable = y.flags.writeable = False
    got_X, got_y = cls(random_state=0).fit_resample(X, y)
    np.testing.assert_array_equal(X, kept_X)
    np.testing.assert_array_equal(y, kept_y)
    assert got_X[:74].tobytes() == X.tobytes()
    np.testing.assert_array_equal(got_y[:74], y)
    np.testing.assert_array_equal(got_y[74:], np.repeat(["b", "c"], 38))
    assert got_X.dtype == dtype
    assert not np.shares_memory(got_X, X)


@pytest.mark.parametrize("cls", OVERSAMPLERS)
def test_integers_become_doubles_and_half_precision_single(cls):
    X, y = problem()
    assert cls(random_state=0).fit_resample((X * 100).astype(np.int64), y)[0].dtype == np.float64
    assert cls(random_state=0).fit_resample(X.astype(np.float16), y)[0].dtype == np.float32


@pytest.mark.parametrize("cls", OVERSAMPLERS)
def test_classes_do_not_share_draws(cls):
    """The same points in two classes grow differently; with an integer seed imbalanced-learn's SMOTE repeats itself."""
    rng = np.random.default_rng(0)
    same = rng.normal(size=(12, 3))
    X, y = np.concatenate([rng.normal(size=(50, 3)), same, same]), np.repeat([0, 1, 2], [50, 12, 12])
    got_X, got_y = cls(random_state=0).fit_resample(X, y)
    assert not np.any(np.isclose(got_X[74:][got_y[74:] == 1], got_X[74:][got_y[74:] == 2]).all(axis=1))


@pytest.mark.parametrize("cls", OVERSAMPLERS)
def test_pandas_in_and_out(cls):
    import pandas as pd

    X, y = problem(np.float32)
    frame = pd.DataFrame(X, columns=["u", "v", "w"])
    got_X, got_y = cls(random_state=0).fit_resample(frame, pd.Series(y, name="kind"))
    assert isinstance(got_X, pd.DataFrame)
    assert list(got_X.columns) == ["u", "v", "w"]
    assert got_y.name == "kind"
    assert (got_X.dtypes == np.float32).all()
    np.testing.assert_array_equal(got_X.to_numpy(), cls(random_state=0).fit_resample(X, y)[0])


@pytest.mark.parametrize("cls", OVERSAMPLERS)
def test_nothing_to_grow_returns_a_copy(cls):
    X, y = np.arange(12.0).reshape(6, 2), np.repeat([0, 1], 3)
    sampler = cls(random_state=0)
    got_X, got_y = sampler.fit_resample(X, y)
    np.testing.assert_array_equal(got_X, X)
    np.testing.assert_array_equal(got_y, y)
    assert sampler.sampling_strategy_ == {}
    assert sampler.sample_weight_.shape == (6,)


@pytest.mark.parametrize("cls", OVERSAMPLERS)
def test_desired_ratio_and_weights_fit_the_output(cls):
    X, y = problem()
    sampler = cls(random_state=0, desired_ratio=2.5)
    _, got_y = sampler.fit_resample(X, y)
    assert {c: int((got_y == c).sum()) for c in "abc"} == {"a": 50, "b": 20, "c": 20}
    assert sampler.sample_weight_.shape == got_y.shape
    assert clone(sampler).get_params() == sampler.get_params()


@pytest.mark.parametrize("cls", OVERSAMPLERS)
def test_documented_attributes_are_the_real_ones(cls):
    import pandas as pd

    X, y = problem()
    sampler = cls(random_state=0)
    sampler.fit_resample(pd.DataFrame(X, columns=["u", "v", "w"]), y)
    learned = {name for name in vars(sampler) if name.endswith("_")}
    for documenting in (cls, FeatureOversampler):
        text = inspect.getdoc(documenting).partition("Attributes\n")[2]
        attributes = re.split(r"\n\n\w+\n-+\n", text)[0]  # up to the next section
        names = [line.split(" : ")[0] for line in attributes.splitlines() if line[:1].isalpha()]
        assert learned == {name for listed in names for name in listed.split(", ")}


def test_fs_smote_is_smote_with_its_own_stream_per_class():
    from imblearn.over_sampling import SMOTE

    X, y = problem()
    got_X, got_y = FSSMOTE(random_state=9, k_neighbors=3).fit_resample(X, y)
    for number, label in ((1, "b"), (2, "c")):
        bits = np.random.default_rng(np.random.SeedSequence(9, spawn_key=(number,))).bit_generator
        smote = SMOTE(sampling_strategy={label: 50}, k_neighbors=3, random_state=np.random.RandomState(bits))
        want_X, _ = smote.fit_resample(X, y)
        np.testing.assert_array_equal(got_X[74:][got_y[74:] == label], want_X[74:])


def test_fs_smote_neighbours_change_the_result():
    X, y = problem()
    assert not np.allclose(
        FSSMOTE(random_state=0).fit_resample(X, y)[0],
        FSSMOTE(random_state=0, k_neighbors=2).fit_resample(X, y)[0],
    )


def test_fs_smote_weighs_all_alike():
    X, y = problem()
    smote = FSSMOTE(random_state=0)
    smote.fit_resample(X, y)
    np.testing.assert_array_equal(smote.sample_weight_, 1)


def test_fs_smote_lowers_the_neighbours_of_small_classes():
    X, y = np.random.default_rng(0).normal(size=(14, 2)), np.repeat([0, 1], [10, 4])
    with pytest.warns(ResamplingWarning, match="k_neighbors was lowered from 5 to 3"):
        got_X, got_y = FSSMOTE(random_state=0).fit_resample(X, y)
    np.testing.assert_array_equal(np.bincount(got_y), [10, 10])
    want = FSSMOTE(random_state=0, k_neighbors=3).fit_resample(X, y)[0]
    np.testing.assert_array_equal(got_X, want)


def test_fs_smote_copies_a_single_point():
    X, y = np.random.default_rng(0).normal(size=(6, 2)), np.repeat([0, 1], [5, 1])
    with pytest.warns(ResamplingWarning, match="single point"):
        got_X, _ = FSSMOTE(random_state=0).fit_resample(X, y)
    np.testing.assert_array_equal(got_X[6:], np.repeat(X[5:], 4, axis=0))


@pytest.mark.parametrize("cls", OVERSAMPLERS)
@pytest.mark.parametrize("container", ["csr_matrix", "csc_array"])
def test_sparse_in_and_out(cls, container):
    from scipy import sparse

    X, y = problem()
    made = getattr(sparse, container)(X)
    got_X, _ = cls(random_state=0).fit_resample(made, y)
    assert type(got_X) is type(made)
    np.testing.assert_array_equal(got_X.toarray(), cls(random_state=0).fit_resample(X, y)[0])


@pytest.mark.parametrize("strategy", ["auto", "not majority", "minority", "all", {0: 240, 2: 200}])
@pytest.mark.parametrize(
    ("dtype", "values"), [(np.int8, [-100, 3, 100]), (np.int64, [-1, 0, 7]), (np.uint16, [7, 60_000, 9])]
)
@pytest.mark.parametrize("cls", OVERSAMPLERS)
def test_arrays_of_integers_are_grown_as_lists_are(cls, dtype, values, strategy):
    """Lists take imbalanced-learn's own way through its checks; arrays of integers a shorter one."""
    rng = np.random.default_rng(5)
    y = rng.permutation(np.repeat(np.array(values, dtype=dtype), [66, 240, 180]))
    X = rng.normal(size=(y.size, 3))
    if isinstance(strategy, dict):
        strategy = {values[place]: target for place, target in strategy.items()}
    short, long = (
        cls(sampling_strategy=strategy, random_state=1),
        cls(sampling_strategy=strategy, random_state=1),
    )
    X_new, y_new = short.fit_resample(X, y)
    X_list, y_list = long.fit_resample(X.tolist(), y.tolist())
    np.testing.assert_array_equal(X_new, np.array(X_list))
    np.testing.assert_array_equal(y_new, np.array(y_list))
    assert y_new.dtype == dtype
    assert short.sampling_strategy_ == long.sampling_strategy_
    np.testing.assert_array_equal(short.sample_weight_, long.sample_weight_)


@pytest.mark.parametrize("label", [0, 1])
@pytest.mark.parametrize(("value", "words"), [(np.nan, "NaN"), (np.inf, "infinity"), (-np.inf, "infinity")])
def test_what_is_not_finite_is_refused_wherever_it_stands(label, value, words):
    X, y = np.random.default_rng(0).random((5000, 3), dtype=np.float32), np.repeat([0, 1], [4900, 100])
    X[np.flatnonzero(y == label)[-1], 1] = value
    with pytest.raises(ValueError, match=words):
        ADOS().fit_resample(X, y)


def test_large_numbers_whose_sum_is_not_finite_are_accepted():
    X, y = np.random.default_rng(0).random((30, 2), dtype=np.float32), np.repeat([0, 1], [20, 10])
    X[:2] = np.finfo(np.float32).max
    X_out, _ = ADOS().fit_resample(X, y)
    assert np.array_equal(X_out[:30], X)
    assert np.isfinite(X_out).all()


def test_arrays_of_integers_are_checked_like_all_others():
    X, y = np.random.default_rng(0).random((30, 2)), np.repeat([0, 1], [20, 10])
    with pytest.raises(ValueError, match="NaN"):
        ADOS().fit_resample(np.where(X > 0.9, np.nan, X), y)
    with pytest.raises(ValueError, match="more than 1 class"):
        ADOS().fit_resample(X, np.zeros(30, dtype=int))
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        ADOS().fit_resample(X, y[:-1])
    with pytest.raises(ValueError, match="sampling_strategy"):
        ADOS(sampling_strategy="few").fit_resample(X, y)
