"""Imbalance profiles against their formulas, written out slowly."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from counterpoise.datasets import (
    PROFILES,
    LinearImbalance,
    LongTailImbalance,
    NaturalImbalance,
    StepImbalance,
    create_profile,
    make_imbalance,
)
from counterpoise.exceptions import InputError, UnknownNameError

RNG = np.random.default_rng


def test_natural_keeps_all():
    labels = np.array([2, 0, 1, 1])
    assert make_imbalance(labels, NaturalImbalance(), random_state=0).tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("ratio", [1, 10, 20, 40, 100, 7.5])
def test_step_keeps_the_floor_of_the_minority(ratio):
    counts = np.array([5400, 5000, 20, 5400])
    kept, minority = StepImbalance(ratio, minority=[2, 1]).draw(counts, RNG(0))
    target = math.floor(Fraction(5400) / Fraction(ratio))
    assert kept.tolist() == [5400, min(5000, target), min(20, target), 5400]
    assert minority == (1, 2)


@pytest.mark.parametrize("smallest", [5421, 90, 7])
@pytest.mark.parametrize("ratio", [500, 60, 20, 7])
def test_balanced_classes_are_cut_to_the_smallest_and_rounded(smallest, ratio):
    """The poster's protocol: MNIST at ratio 500 keeps 5,421 images of a common class, and 11 of a rare one."""
    if ratio > smallest:
        pytest.skip("leaves no image")
    counts = np.array([6742, smallest, 5958, 6131])
    kept, minority = StepImbalance(ratio, minority=[0, 2], balanced=True).draw(counts, RNG(0))
    rare = round(Fraction(smallest, ratio))
    assert kept.tolist() == [rare, smallest, rare, smallest]
    assert minority == (0, 2)
    assert (smallest, ratio) != (5421, 500) or rare == 11


def test_balanced_profiles_of_every_kind_have_the_ratio():
    counts = np.array([900, 700, 800, 1000, 650])
    for profile in (LinearImbalance(13, balanced=True), LongTailImbalance(13, balanced=True)):
        kept, _ = profile.draw(counts, RNG(0))
        assert (kept.max(), kept.min()) == (650, 50)
    with pytest.raises(InputError, match="takes no balanced"):
        create_profile("natural", balanced=True)
    assert create_profile("linear", ratio=3, balanced=True) == LinearImbalance(3, balanced=True)


def test_step_draws_other_classes_under_other_seeds():
    draws = {StepImbalance(10, minority=4).draw(np.full(10, 100), RNG(seed))[1] for seed in range(20)}
    assert len(draws) > 10
    assert all(len(set(draw)) == 4 for draw in draws)


def test_step_share_of_classes():
    counts = np.full(10, 100)
    assert [
        len(StepImbalance(10, minority=mu).draw(counts, RNG(0))[1] or ()) for mu in (0.01, 0.25, 0.4, 0.99)
    ] == [1, 3, 4, 9]


def test_linear_falls_in_equal_steps():
    kept, minority = LinearImbalance(10).draw(np.full(10, 1000), RNG(3))
    assert sorted(kept.tolist(), reverse=True) == [1000 - 100 * place for place in range(10)]
    assert minority is None
    assert kept.tolist() == [1000 - 100 * RNG(3).permutation(10).tolist().index(c) for c in range(10)]
    assert not np.array_equal(kept, LinearImbalance(10).draw(np.full(10, 1000), RNG(4))[0])


@pytest.mark.parametrize(("ratio", "classes"), [(100, 10), (50, 10), (10, 3), (100, 100)])
def test_long_tail_is_exponential(ratio, classes):
    kept, _ = LongTailImbalance(ratio).draw(np.full(classes, 5000), RNG(0))
    expected = [math.floor(5000 * ratio ** (-i / (classes - 1)) + 1e-9) for i in range(classes)]
    assert kept.tolist() == expected
    assert (kept[0], kept[-1]) == (5000, 5000 // ratio)


def test_long_tail_published_counts():
    """CIFAR-10-LT at ratio 100, as used everywhere since Cao et al. 2019."""
    kept, _ = LongTailImbalance(100).draw(np.full(10, 5000), RNG(0))
    assert kept.tolist() == [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50]


@given(
    counts=st.lists(st.integers(1, 60), min_size=2, max_size=8),
    ratio=st.floats(1, 60),
    seed=st.integers(0, 2**31),
    kind=st.sampled_from(["step", "linear", "long-tail"]),
)
@settings(max_examples=80, deadline=None)
def test_thinning_never_grows_empties_or_repeats(counts, ratio, seed, kind):
    ratio = min(ratio, max(counts))
    profile = create_profile(kind, ratio=ratio, minority=1 if kind == "step" else None)
    labels = RNG(seed).permutation(np.repeat(np.arange(len(counts)), counts))
    before = labels.copy()
    kept = make_imbalance(labels, profile, random_state=seed)
    assert np.array_equal(labels, before)
    assert kept.dtype == np.int64
    assert (np.diff(kept) > 0).all()
    sizes = np.bincount(labels[kept], minlength=len(counts))
    assert (sizes <= counts).all()
    assert (sizes >= 1).all()
    assert np.array_equal(kept, make_imbalance(labels, profile, random_state=seed))


def test_higher_ratio_keeps_a_part_of_what_a_lower_one_keeps():
    labels = np.repeat([0, 1, 2], 200)
    low, high = (make_imbalance(labels, StepImbalance(r, minority=1), random_state=5) for r in (10, 50))
    assert set(high) < set(low)
    assert not np.array_equal(low, make_imbalance(labels, StepImbalance(10, minority=1), random_state=6))


@pytest.mark.parametrize("random_state", [0, np.random.RandomState(0), np.random.default_rng(0), None])
def test_random_states(random_state):
    kept = make_imbalance(np.repeat([0, 1], 20), StepImbalance(10, minority=[0]), random_state=random_state)
    assert len(kept) == 22


@pytest.mark.parametrize("kind", [StepImbalance, LinearImbalance, LongTailImbalance])
@pytest.mark.parametrize(
    ("ratio", "message"),
    [
        (0, "imbalance ratio is 0; expected a number of at least 1"),
        (0.5, "imbalance ratio is 0.5; expected"),
        (-3, "imbalance ratio is -3"),
        (float("nan"), "imbalance ratio is nan"),
        (1e9, r"leaves less than one image of a class: the largest has 50 .* 50 at most"),
    ],
)
def test_bad_ratios(kind, ratio, message):
    profile = kind(ratio, minority=1) if kind is StepImbalance else kind(ratio)
    with pytest.raises(InputError, match=message):
        make_imbalance(np.repeat([0, 1], 50), profile, random_state=0)


@pytest.mark.parametrize(
    ("minority", "message"),
    [
        (10, "minority is 10 of 10 classes; expected 1 to 9"),
        (0, "minority is 0 of 10"),
        (1.0, "share of classes"),
        (0.0, "share of classes"),
        (True, "expected a number of classes"),
        ("3", "expected a number of classes"),
        ([], "expected class indices"),
        ([10], "class indices from 0 to 9"),
        ([-1, 2], "class indices from 0 to 9"),
        (list(range(10)), "all 10 classes are in minority"),
        ([1.5], "expected class indices"),
    ],
)
def test_bad_minorities(minority, message):
    with pytest.raises(InputError, match=message):
        StepImbalance(10, minority=minority).draw(np.full(10, 100), RNG(0))


@pytest.mark.parametrize("labels", [np.array([0.0, 1.0]), np.array([[0, 1]]), np.array([-1, 0, 1])])
def test_bad_labels(labels):
    with pytest.raises(InputError, match="expected class indices"):
        make_imbalance(labels, NaturalImbalance(), random_state=0)


def test_one_class_has_no_imbalance():
    with pytest.raises(InputError, match="at least two"):
        make_imbalance(np.zeros(5, int), NaturalImbalance(), random_state=0)


def test_bad_random_state():
    with pytest.raises(InputError, match="random_state is -1"):
        make_imbalance(np.array([0, 1]), NaturalImbalance(), random_state=-1)


def test_create_profile_takes_what_the_profile_needs_and_no_more():
    assert set(PROFILES) == {"natural", "step", "linear", "long-tail"}
    assert create_profile("natural") == NaturalImbalance()
    assert create_profile("long-tail", ratio=5) == LongTailImbalance(5)
    with pytest.raises(InputError, match="'natural' takes no ratio"):
        create_profile("natural", ratio=3)
    with pytest.raises(InputError, match="'linear' takes no minority"):
        create_profile("linear", ratio=3, minority=2)
    with pytest.raises(InputError, match="'step' needs a minority; give `minority`"):
        create_profile("step", ratio=3)
    with pytest.raises(UnknownNameError, match="did you mean 'step'"):
        create_profile("stap", ratio=3)


@pytest.mark.parametrize(
    ("profile", "value"),
    [
        (NaturalImbalance(), {"profile": "natural"}),
        (StepImbalance(20, minority=np.int64(3)), {"profile": "step", "ratio": 20.0, "minority": 3}),
        (StepImbalance(20, minority=0.3), {"profile": "step", "ratio": 20.0, "minority": 0.3}),
        (StepImbalance(20, minority=(1, 2)), {"profile": "step", "ratio": 20.0, "minority": [1, 2]}),
        (LinearImbalance(4), {"profile": "linear", "ratio": 4.0}),
        (LinearImbalance(4, balanced=True), {"profile": "linear", "ratio": 4.0, "balanced": True}),
    ],
)
def test_profiles_as_values(profile, value):
    assert profile.to_dict() == value
