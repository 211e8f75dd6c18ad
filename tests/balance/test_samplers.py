"""The samplers: imbalanced-learn's own checks, class sizes by formula, and reproducible draws."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from imblearn.utils.estimator_checks import estimator_checks_generator

from counterpoise.balance.samplers import ROS, ROSRUS, RUS, ClassBalancedSampler, epoch_indices
from counterpoise.exceptions import InputError

SAMPLERS = [ROS, RUS, ROSRUS, ClassBalancedSampler]
LABELS = np.random.default_rng(0).permutation(np.repeat([0, 1, 2, 3], [60, 7, 22, 3]))
COUNTS = st.lists(st.integers(1, 40), min_size=2, max_size=5)
RATIOS = st.floats(1, 30)


def sizes(indices, labels=LABELS):
    return np.bincount(labels[indices], minlength=labels.max() + 1).tolist()


@pytest.mark.parametrize(
    ("estimator", "check"),
    [pair for sampler in SAMPLERS for pair in estimator_checks_generator(sampler(random_state=0))],
    ids=lambda value: value.func.__name__ if hasattr(value, "func") else type(value).__name__,
)
def test_imbalanced_learns_own_checks(estimator, check):
    check(estimator)


@given(COUNTS, RATIOS)
@settings(max_examples=60, deadline=None)
def test_class_sizes_by_formula(counts, ratio):
    labels = np.repeat(np.arange(len(counts)), counts)
    most, least = max(counts), min(counts)
    over = ROS(desired_ratio=ratio, random_state=0).resample_indices(labels)
    assert sizes(over, labels) == [max(n, math.ceil(most / ratio)) for n in counts]
    under = RUS(desired_ratio=ratio, random_state=0).resample_indices(labels)
    assert sizes(under, labels) == [min(n, math.floor(least * ratio)) for n in counts]


@given(COUNTS, RATIOS)
@settings(max_examples=100, deadline=None)
def test_ros_rus_meets_in_the_middle(counts, ratio):
    labels = np.repeat(np.arange(len(counts)), counts)
    after = sizes(ROSRUS(desired_ratio=ratio, random_state=0).resample_indices(labels), labels)
    if max(counts) <= ratio * min(counts):
        assert after == counts
        return
    assert max(after) <= ratio * min(after)
    mean = sum(counts) / len(counts)
    for before, now in zip(counts, after, strict=True):
        if before < mean / math.sqrt(ratio):
            assert now == math.ceil(mean / math.sqrt(ratio))
        elif now < before:
            assert mean * math.sqrt(ratio) - ratio - 1 < now


def test_ros_rus_by_hand():
    labels = np.repeat([0, 1, 2], [90, 8, 22])  # mean 40
    assert sizes(ROSRUS(random_state=0).resample_indices(labels), labels) == [40, 40, 40]
    assert sizes(ROSRUS(desired_ratio=4, random_state=0).resample_indices(labels), labels) == [80, 20, 22]
    assert sizes(ROSRUS(desired_ratio=12, random_state=0).resample_indices(labels), labels) == [90, 8, 22]


def test_originals_come_first_and_whole_then_copies_class_by_class():
    indices = ROS(random_state=0).resample_indices(LABELS)
    np.testing.assert_array_equal(indices[: len(LABELS)], np.arange(len(LABELS)))
    copies = LABELS[indices[len(LABELS) :]]
    assert copies.tolist() == sorted(copies)
    under = RUS(random_state=0).resample_indices(LABELS)
    assert len(set(under)) == len(under)
    assert under.tolist() == sorted(under)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_same_seed_same_draw_other_seed_other_draw(sampler):
    first = sampler(random_state=1).resample_indices(LABELS)
    np.testing.assert_array_equal(first, sampler(random_state=1).resample_indices(LABELS))
    np.testing.assert_array_equal(first, sampler().resample_indices(LABELS, random_state=1))
    assert sorted(first) != sorted(sampler(random_state=2).resample_indices(LABELS))
    assert sorted(sampler().resample_indices(LABELS)) != sorted(sampler().resample_indices(LABELS))


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_source_of_randomness(sampler):
    for source in (np.random.default_rng, np.random.RandomState):
        first = sampler(random_state=source(5)).resample_indices(LABELS)
        np.testing.assert_array_equal(first, sampler(random_state=source(5)).resample_indices(LABELS))
    moving = sampler(random_state=np.random.default_rng(5))
    assert moving.resample_indices(LABELS).tolist() != moving.resample_indices(LABELS).tolist()


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_global_generators_are_not_touched(sampler):
    np.random.seed(0)  # noqa: NPY002
    torch.manual_seed(0)
    expected = np.random.random(), torch.rand(1)  # noqa: NPY002
    np.random.seed(0)  # noqa: NPY002
    torch.manual_seed(0)
    sampler().resample_indices(LABELS)
    assert (np.random.random(), torch.rand(1)) == expected  # noqa: NPY002


@pytest.mark.parametrize("sampler", [ROS, RUS])
def test_classes_do_not_share_draws(sampler):
    labels = np.repeat([0, 1, 2], [200, 100, 100] if sampler is ROS else [100, 100, 50])
    indices = sampler(random_state=0).resample_indices(labels)
    first, second = (1, 2) if sampler is ROS else (0, 1)
    offset = np.flatnonzero(labels == second)[0] - np.flatnonzero(labels == first)[0]
    drawn = [sorted(indices[labels[indices] == label]) for label in (first, second)]
    assert [i + offset for i in drawn[0]] != drawn[1]


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_images_and_tensors_are_taken_by_the_same_indices(sampler):
    images = np.arange(len(LABELS) * 12, dtype=np.uint8).reshape(-1, 3, 2, 2)
    before = images.copy()
    fitted = sampler(random_state=0)
    resampled, labels = fitted.fit_resample(images, LABELS)
    expected = sampler(random_state=0).resample_indices(LABELS)
    np.testing.assert_array_equal(fitted.sample_indices_, expected)
    np.testing.assert_array_equal(resampled, images[expected])
    np.testing.assert_array_equal(labels, LABELS[expected])
    np.testing.assert_array_equal(before, images)
    for y in (LABELS, torch.tensor(LABELS)):
        tensor, targets = fitted.fit_resample(torch.tensor(images), y)
        assert type(tensor) is torch.Tensor
        assert type(targets) is type(y)
        np.testing.assert_array_equal(tensor.numpy(), images[expected])
        np.testing.assert_array_equal(np.asarray(targets), LABELS[expected])
    table, _ = fitted.fit_resample(images.reshape(len(images), -1), LABELS)
    np.testing.assert_array_equal(table, images[expected].reshape(len(expected), -1))
    _, names = fitted.fit_resample(images, [f"class {label}" for label in LABELS])
    assert names == [f"class {label}" for label in LABELS[expected]]


@pytest.mark.parametrize(
    ("sampler", "strategy", "expected"),
    [
        (ROS, "minority", [60, 7, 22, 60]),
        (ROS, [1], [60, 60, 22, 3]),
        (ROS, {1: 9, 3: 3}, [60, 9, 22, 3]),
        (RUS, "majority", [3, 7, 22, 3]),
        (RUS, [2], [60, 7, 3, 3]),
        (RUS, {0: 0, 2: 4}, [0, 7, 4, 3]),
        (ROSRUS, "not minority", [23, 23, 23, 3]),
        (ROSRUS, {0: 10, 3: 10}, [10, 7, 22, 10]),
        (ROSRUS, lambda y: {0: 10, 3: int(np.sum(y == 3)) * 2}, [10, 7, 22, 6]),
        (ClassBalancedSampler, {0: 10, 3: 10}, [10, 7, 22, 10]),
    ],
)
def test_sampling_strategy_is_honoured(sampler, strategy, expected):
    fitted = sampler(sampling_strategy=strategy, random_state=0)
    assert sizes(fitted.resample_indices(LABELS)) == expected
    assert all(expected[label] == n for label, n in fitted.sampling_strategy_.items())


def test_ratio_of_two_classes():
    labels = np.repeat([0, 1], [100, 10])
    assert sizes(ROS(sampling_strategy=0.5, random_state=0).resample_indices(labels), labels) == [100, 50]
    assert sizes(RUS(sampling_strategy=0.5, random_state=0).resample_indices(labels), labels) == [20, 10]


def test_class_balanced_draws_classes_alike():
    labels = np.repeat([0, 1, 2], [9000, 900, 100])
    sampler = ClassBalancedSampler(random_state=0)
    drawn = sizes(sampler.resample_indices(labels), labels)
    assert sum(drawn) == 10000
    assert drawn != [3333, 3333, 3334]
    np.testing.assert_allclose(drawn, 10000 / 3, atol=5 * math.sqrt(10000 * 2 / 9))
    assert sampler.sampling_strategy_ == dict(enumerate(drawn))


def test_class_balanced_among_some_classes_keeps_the_others():
    sampler = ClassBalancedSampler(sampling_strategy="not majority", random_state=0)
    indices = sampler.resample_indices(LABELS)
    assert sizes(indices)[0] == 60
    assert len(indices) == len(LABELS)
    assert sizes(indices)[3] > 3


@pytest.mark.parametrize(
    ("sampler", "message"),
    [
        (ROS(desired_ratio=0.5), "desired_ratio is 0.5"),
        (RUS(desired_ratio=math.inf), "desired_ratio is inf"),
        (ROS(desired_ratio=2.0, sampling_strategy={0: 80}), "has no effect"),
        (ROS(sampling_strategy={0: 3}), "cannot shrink class 0 from 60 to 3"),
        (RUS(sampling_strategy={3: 30}), "cannot grow class 3 from 3 to 30"),
        (ROSRUS(sampling_strategy={9: 30}), "class 9"),
        (ROSRUS(sampling_strategy={0: 1.5}), "asks for 1.5"),
        (ROSRUS(sampling_strategy=[9]), "class 9"),
        (ROSRUS(sampling_strategy=0.5), "takes no float"),
        (ROS(sampling_strategy=0.5), "two classes, found 4"),
        (RUS(sampling_strategy="some"), "expected one of auto"),
    ],
)
def test_bad_settings_are_refused(sampler, message):
    with pytest.raises(InputError, match=message):
        sampler.resample_indices(LABELS)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_bad_data_is_refused(sampler):
    with pytest.raises(InputError, match="at least two classes"):
        sampler().resample_indices([1, 1, 1])
    with pytest.raises(InputError, match="4 images and 3 labels"):
        sampler().fit_resample(np.zeros((4, 1, 2, 2)), [0, 1, 1])
    with pytest.raises(InputError, match="one label for each image"):
        sampler().resample_indices([])


def test_fit_draws_nothing():
    sampler = ROS(random_state=0).fit(np.zeros((len(LABELS), 1, 2, 2)), LABELS)
    assert sampler.sampling_strategy_ == {1: 60, 2: 60, 3: 60}
    assert not hasattr(sampler, "sample_indices_")


# --- epochs ---------------------------------------------------------------------------------------------


def test_epochs_and_seeds_differ_and_nothing_else_counts():
    def draw(seed, epoch, sampler=None):
        return epoch_indices(sampler or RUS(), LABELS, seed=seed, epoch=epoch).tolist()

    assert sorted(draw(0, 0)) != sorted(draw(0, 1))
    assert sorted(draw(0, 0)) != sorted(draw(1, 0))
    assert draw(0, 1) != draw(1, 0)
    used = RUS(random_state=3)
    used.resample_indices(LABELS)
    assert draw(4, 2, used) == draw(4, 2)
    order = epoch_indices(None, LABELS, seed=0, epoch=0).tolist()
    assert order != list(range(len(LABELS)))
    assert sorted(order) == list(range(len(LABELS)))


@given(COUNTS, st.floats(0, 1), st.sampled_from(["images", "oversampled"]))
@settings(max_examples=40, deadline=None)
def test_class_shares_follow_the_power(counts, power, length):
    labels = np.repeat(np.arange(len(counts)), counts)
    sampler = ClassBalancedSampler(power=power, length=length, random_state=0).fit(labels[:, None], labels)
    total = sum(counts) if length == "images" else len(counts) * max(counts)
    weight = [n**power for n in counts]
    expected = [total * w / sum(weight) for w in weight]
    assert list(sampler.sampling_strategy_.values()) == pytest.approx(expected, abs=0.5)
    drawn = [sizes(sampler.resample_indices(labels, random_state=seed), labels) for seed in range(30)]
    assert {sum(draw) for draw in drawn} == {total}
    # Means of 30 multinomial draws, within five of their standard errors.
    spread = [math.sqrt(total * (w / sum(weight)) * (1 - w / sum(weight)) / 30) for w in weight]
    for found, mean, error in zip(np.mean(drawn, axis=0), expected, spread, strict=True):
        assert found == pytest.approx(mean, abs=5 * error + 0.5)


@pytest.mark.parametrize(("defer", "epochs", "first"), [(2, None, 2), (0.8, 5, 4), (0.5, 3, 1)])
def test_deferred_sampling_takes_every_image_once_until_then(defer, epochs, first):
    sampler = ClassBalancedSampler(defer_epochs=defer, epochs=epochs)
    for epoch in range(5):
        drawn = np.sort(epoch_indices(sampler, LABELS, seed=0, epoch=epoch))
        assert np.array_equal(drawn, np.arange(len(LABELS))) == (epoch < first)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"defer_epochs": 0.8}, "give their number"),
        ({"defer_epochs": -1}, "defer_epochs is -1"),
        ({"defer_epochs": 1.5, "epochs": 4}, "defer_epochs is 1.5"),
    ],
)
def test_deferral_that_cannot_be_is_refused(options, message):
    with pytest.raises(InputError, match=message):
        epoch_indices(ClassBalancedSampler(**options), LABELS, seed=0, epoch=0)


@pytest.mark.parametrize("option", [{"power": 0.5}, {"length": "oversampled"}])
def test_given_counts_leave_no_room_for_other_options(option):
    sampler = ClassBalancedSampler(sampling_strategy={3: 5}, **option)
    with pytest.raises(InputError, match="has no effect"):
        sampler.resample_indices(LABELS)


@given(COUNTS, st.floats(0, 1))
@settings(max_examples=40, deadline=None)
def test_without_replacement_no_image_is_taken_again_before_all_of_its_class(counts, power):
    labels = np.repeat(np.arange(len(counts)), counts)
    sampler = ClassBalancedSampler(power=power, length="oversampled", replacement=False, random_state=0)
    times = np.bincount(sampler.resample_indices(labels), minlength=len(labels))
    for label in range(len(counts)):
        taken = times[labels == label]
        assert taken.max() - taken.min() <= 1
