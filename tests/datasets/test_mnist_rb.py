"""MNIST-back-rotation, rebuilt: its pixels, and how hard it is."""

from __future__ import annotations

import numpy as np
import pytest
from datasets_helpers import REAL_DATA, write_idx
from PIL import Image
from sklearn.datasets import load_sample_images
from sklearn.svm import SVC

from counterpoise.datasets import DATASETS, load_dataset, mnist_rb

needs_mnist = pytest.mark.skipif(
    not (REAL_DATA / "MNIST/raw").exists(), reason="needs ../shared/data/MNIST/raw"
)


def test_each_pixel_is_the_larger_of_digit_and_stretched_patch():
    generator = np.random.default_rng(0)
    photograph = generator.integers(30, 200, (50, 60), dtype=np.uint8)
    digit = generator.integers(0, 256, (28, 28), dtype=np.uint8)
    pictures = mnist_rb.compose_images(
        np.repeat(digit[None], 5, axis=0), [photograph], np.random.default_rng(1), rotate=False
    )
    windows = np.lib.stride_tricks.sliding_window_view(photograph, (28, 28)).reshape(-1, 28, 28)
    expected = []
    for window in windows.tolist():
        low, high = min(map(min, window)), max(map(max, window))
        rows = zip(window, digit.tolist(), strict=True)
        expected.append(
            [
                [max(d, round((w - low) / (high - low) * 255)) for w, d in zip(*row, strict=True)]
                for row in rows
            ]
        )
    for picture in pictures:
        assert (np.array(expected) == picture).all(axis=(1, 2)).any()


def test_angles_cover_the_whole_turn():
    digit = np.zeros((28, 28), np.uint8)
    digit[2:6, 12:16] = 255  # one mark, up
    # Few bright pixels in the middle, which pull nowhere.
    dim = np.zeros((28, 28), np.uint8)
    dim[13:15, 13:15] = 200
    turned = mnist_rb.compose_images(np.repeat(digit[None], 400, axis=0), [dim], np.random.default_rng(1))
    rows, columns = np.mgrid[:28, :28] - 13.5
    bright = turned > 128
    angles = np.arctan2((bright * columns).sum(axis=(1, 2)), -(bright * rows).sum(axis=(1, 2)))
    counts, _ = np.histogram(angles, bins=8, range=(-np.pi, np.pi))
    assert counts.min() > 25


def test_no_test_background_is_a_training_background():
    photographs = [np.arange(6 * 10).reshape(6, 10), np.arange(100, 100 + 7 * 9).reshape(7, 9)]
    train, test = (
        {pixel for part in half for pixel in part.ravel().tolist()} for half in mnist_rb.halves(photographs)
    )
    assert not train & test
    assert train | test == {*range(60), *range(100, 163)}


def test_variants_are_ten_and_keep_the_picture():
    pictures = np.random.default_rng(0).integers(0, 256, (3, 28, 28), dtype=np.uint8)
    variants = mnist_rb.make_variants(pictures, np.random.default_rng(0)).reshape(3, 10, 28, 28)
    assert np.array_equal(variants[:, 0], pictures)
    symmetries = {np.ascontiguousarray(variant).tobytes() for variant in variants[1, :8]}
    assert len(symmetries) == 8
    assert all(sorted(v.ravel()) == sorted(pictures[1].ravel()) for v in variants[1, :8])
    expected = np.asarray(Image.fromarray(pictures[1]).transpose(Image.Transpose.ROTATE_90))
    assert np.array_equal(variants[1, 2], expected)
    flat = mnist_rb.make_variants(np.full((1, 28, 28), 99, np.uint8), np.random.default_rng(0))
    assert (flat == 99).all()  # no black corners


def test_mnist_rb_is_always_the_same(tmp_path, monkeypatch):
    images = np.random.default_rng(0).integers(0, 256, (60, 28, 28), dtype=np.uint8)
    write_idx(tmp_path / "MNIST/raw", images, np.arange(60) % 10)
    monkeypatch.setattr(mnist_rb, "TRAIN_IMAGES", 30)
    monkeypatch.setattr(mnist_rb, "TEST_IMAGES", 50)
    first, second = (load_dataset("mnist-rb", data_dir=tmp_path) for _ in range(2))
    assert first.fingerprint == second.fingerprint
    assert first.test is not None
    assert (len(first.train), len(first.test)) == (300, 50)
    assert first.train.groups is not None
    assert np.array_equal(np.bincount(first.train.groups), np.full(30, 10))


@pytest.mark.slow
@needs_mnist
def test_mnist_rb_from_the_real_mnist():
    data = load_dataset("mnist-rb", data_dir=REAL_DATA)
    record = DATASETS["mnist-rb"]
    assert data.test is not None
    assert (len(data.train), len(data.test)) == (record.train_size, record.test_size) == (120000, 50000)
    # Larochelle's set is balanced as MNIST is, and mostly neither black nor white.
    assert data.train.class_counts(10).min() > 9000
    assert 60 < data.test.images.mean() < 180


@pytest.mark.slow
@needs_mnist
@pytest.mark.parametrize(("rotate", "published"), [(False, 22.6), (True, 55.2)])
def test_a_support_vector_machine_errs_as_on_the_original_images(rotate, published):
    """Larochelle et al. 2007, table 1, RBF kernel: percent of test images, with a background, and rotated as well."""
    mnist = load_dataset("mnist", data_dir=REAL_DATA)
    order = np.random.default_rng(5).permutation(len(mnist.train))[:15_000]
    digits, labels = np.asarray(mnist.train.images)[order, 0], mnist.train.labels[order]
    photographs = [np.asarray(Image.fromarray(image).convert("L")) for image in load_sample_images().images]
    behind_train, behind_test = mnist_rb.halves(photographs)
    generator = np.random.default_rng(1)
    train = (
        mnist_rb.compose_images(digits[:10_000], behind_train, generator, rotate=rotate).reshape(10_000, -1)
        / 255
    )
    test = (
        mnist_rb.compose_images(digits[10_000:], behind_test, generator, rotate=rotate).reshape(5_000, -1)
        / 255
    )
    machine = SVC(C=5, gamma=0.02, cache_size=2000).fit(train, labels[:10_000])
    error = 100 * (1 - machine.score(test, labels[10_000:]))
    assert abs(error - published) < 2
