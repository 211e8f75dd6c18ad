"""SMOTE on pixels: against imbalanced-learn's own, and what it promises about images."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from imblearn.over_sampling import SMOTE
from imblearn.utils.estimator_checks import estimator_checks_generator

from counterpoise.balance.samplers import ROS, ImageSampler, PixelSMOTE, epoch_indices
from counterpoise.exceptions import InputError, ResamplingWarning

LABELS = np.random.default_rng(0).permutation(np.repeat([0, 1, 2], [40, 9, 21]))
N = len(LABELS)


def pictures(dtype=np.uint8, shape=(3, 5, 4)):
    images = np.random.default_rng(1).integers(0, 256, (N, *shape))
    return (images / 255 if np.dtype(dtype).kind == "f" else images).astype(dtype)


@pytest.mark.parametrize(
    ("estimator", "check"),
    list(estimator_checks_generator(PixelSMOTE(random_state=0))),
    ids=lambda value: value.func.__name__ if hasattr(value, "func") else type(value).__name__,
)
def test_imbalanced_learns_own_checks(estimator, check):
    check(estimator)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_is_imbalanced_learns_smote_on_flattened_images_class_by_class(dtype):
    images = pictures(dtype)
    grown, labels = PixelSMOTE(random_state=3, k_neighbors=4).fit_resample(images, LABELS)
    assert labels.tolist() == LABELS.tolist() + [1] * 31 + [2] * 19
    draws = np.random.RandomState(np.random.default_rng(3).bit_generator)  # one stream, class after class
    working = images.reshape(N, -1).astype(np.float64 if dtype == np.float64 else np.float32)
    for label in (1, 2):
        smote = SMOTE(sampling_strategy={label: 40}, k_neighbors=4, random_state=draws)
        expected = smote.fit_resample(working, LABELS)[0][N:].reshape(-1, 3, 5, 4)
        if dtype == np.uint8:
            expected = np.rint(expected)
        np.testing.assert_array_equal(grown[N:][labels[N:] == label], expected.astype(dtype))


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int64, np.float32, np.float64, np.float16])
def test_originals_come_first_bit_by_bit_and_the_type_is_kept(dtype):
    images = pictures(dtype)
    images.flags.writeable = False
    grown, labels = PixelSMOTE(random_state=0).fit_resample(images, LABELS)
    assert grown.dtype == dtype
    assert grown[:N].tobytes() == images.tobytes()
    assert not np.shares_memory(grown, images)
    assert labels.dtype == LABELS.dtype
    assert np.bincount(labels).tolist() == [40, 40, 40]


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_each_new_image_lies_between_two_of_its_class(dtype):
    images = pictures(dtype, shape=(1, 2, 2))
    grown, labels = PixelSMOTE(random_state=0, k_neighbors=2).fit_resample(images, LABELS)
    tolerance = 0.5 if dtype == np.uint8 else 1e-6
    for image, label in zip(grown[N:], labels[N:], strict=True):
        members = images[label == LABELS].reshape(-1, 4).astype(float)
        found = False
        for start in members:
            order = np.argsort(((members - start) ** 2).sum(axis=1), kind="stable")[1:3]
            for end in members[order]:
                along = (image.ravel() - start) @ (end - start) / ((end - start) @ (end - start))
                on_line = start + np.clip(along, 0, 1) * (end - start)
                found |= bool((np.abs(image.ravel() - on_line) <= 2 * tolerance).all())
        assert found
        assert members.min() <= image.min() <= image.max() <= members.max()


def test_classes_grow_as_far_as_under_ros():
    images = pictures()
    for options in ({}, {"desired_ratio": 2.5}, {"sampling_strategy": [1]}, {"sampling_strategy": {2: 30}}):
        _, labels = PixelSMOTE(random_state=0, **options).fit_resample(images, LABELS)
        expected = LABELS[ROS(random_state=0, **options).resample_indices(LABELS)]
        assert np.bincount(labels).tolist() == np.bincount(expected).tolist()
    two = np.repeat([0, 1], [N - 10, 10])
    assert np.bincount(PixelSMOTE(sampling_strategy=0.5).fit_resample(images, two)[1]).tolist() == [60, 30]


def test_same_seed_same_images_other_seed_others():
    images = pictures()
    first, again, other = (PixelSMOTE(random_state=s).fit_resample(images, LABELS)[0] for s in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    moving = PixelSMOTE(random_state=np.random.default_rng(1))
    results = [moving.fit_resample(images, LABELS)[0] for _ in range(2)]
    np.testing.assert_array_equal(first, results[0])
    assert not np.array_equal(*results)


def test_classes_do_not_share_draws():
    """The same images in two classes grow differently; with an integer seed imbalanced-learn's SMOTE repeats itself."""
    images = pictures(np.float64)
    labels = np.repeat([0, 1, 2], [N - 24, 12, 12])
    images[-12:] = images[-24:-12]
    grown, found = PixelSMOTE(random_state=0).fit_resample(images, labels)
    first, second = grown[N:][found[N:] == 1], grown[N:][found[N:] == 2]
    assert not np.isclose(first, second).reshape(len(first), -1).all(axis=1).any()


def test_global_generators_are_not_touched():
    np.random.seed(0)  # noqa: NPY002
    expected = np.random.random()  # noqa: NPY002
    np.random.seed(0)  # noqa: NPY002
    PixelSMOTE().fit_resample(pictures(), LABELS)
    assert np.random.random() == expected  # noqa: NPY002


def test_tensors_lists_and_tables():
    images = pictures()
    expected, expected_labels = PixelSMOTE(random_state=0).fit_resample(images, LABELS)
    for y in (LABELS, torch.tensor(LABELS), [f"class {label}" for label in LABELS]):
        grown, labels = PixelSMOTE(random_state=0).fit_resample(torch.tensor(images), y)
        assert type(grown) is torch.Tensor
        assert grown.dtype == torch.uint8
        assert type(labels) is type(y)
        np.testing.assert_array_equal(grown.numpy(), expected)
    assert labels == [f"class {label}" for label in expected_labels]
    table, _ = PixelSMOTE(random_state=0).fit_resample(images.reshape(N, -1), LABELS)
    np.testing.assert_array_equal(table, expected.reshape(len(expected), -1))
    frame, series = PixelSMOTE(random_state=0).fit_resample(
        pd.DataFrame(images.reshape(N, -1)), pd.Series(LABELS, name="kind")
    )
    np.testing.assert_array_equal(frame.to_numpy(), table)
    assert series.name == "kind"


def test_a_small_class_gets_fewer_neighbours_with_a_warning():
    images, labels = pictures()[:14], np.repeat([0, 1], [10, 4])
    with pytest.warns(ResamplingWarning, match="class 1 has 4 samples: k_neighbors was lowered from 5 to 3"):
        grown, _ = PixelSMOTE(random_state=0).fit_resample(images, labels)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        expected, _ = PixelSMOTE(random_state=0, k_neighbors=3).fit_resample(images, labels)
    np.testing.assert_array_equal(grown, expected)


def test_a_single_image_is_copied_with_a_warning():
    images, labels = pictures()[:6], np.repeat([0, 1], [5, 1])
    with pytest.warns(
        ResamplingWarning, match="class 1 has a single image, so its 4 synthetic images are copies"
    ):
        grown, _ = PixelSMOTE(random_state=0).fit_resample(images, labels)
    np.testing.assert_array_equal(grown[6:], np.repeat(images[5:], 4, axis=0))


def test_it_makes_images_and_says_so():
    assert PixelSMOTE.makes_images
    assert not ImageSampler.makes_images
    fitted = PixelSMOTE(random_state=0)
    fitted.fit_resample(pictures(), LABELS)
    assert not hasattr(fitted, "sample_indices_")
    for call in (
        lambda: fitted.resample_indices(LABELS),
        lambda: epoch_indices(PixelSMOTE(), LABELS, seed=0, epoch=0),
    ):
        with pytest.raises(InputError, match=r"makes synthetic images.*fit_resample"):
            call()


def test_bad_input_is_refused():
    images = pictures(np.float32)
    images[3, 0, 0, 0] = np.nan
    for X, y, options, message in [
        (images, LABELS, {}, "NaN or infinity"),
        (pictures().astype(object), LABELS, {}, "found images of object"),
        (pictures(), LABELS[:-1], {}, f"{N} images and {N - 1} labels"),
        (pictures(), np.zeros(N, int), {}, "at least two classes"),
        (pictures(), LABELS, {"sampling_strategy": {0: 3}}, "PixelSMOTE cannot shrink class 0 from 40 to 3"),
        (pictures(), LABELS, {"k_neighbors": 0}, "k_neighbors"),
    ]:
        with pytest.raises(ValueError, match=message):  # InputError is one
            PixelSMOTE(**options).fit_resample(X, y)
