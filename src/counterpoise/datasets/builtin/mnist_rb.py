"""MNIST-back-rotation: digits turned by any angle before pieces of photographs, rebuilt from MNIST.

torchvision does not have the original files, so the set is made again by the recipe of Larochelle et al., "An
empirical evaluation of deep architectures on problems with many factors of variation", ICML 2007: each digit
is turned by an angle uniform in [0, 2 pi) and laid over a random patch of a photograph, patches of low
variance left out. The thesis (section 5.1) grows the 12,000 training images tenfold by rotations and flips.

What the sources leave open is settled here: photographs are the two that scikit-learn carries; a digit covers
its background as digit + (1 - digit / 255) * background; the nine variants are the seven other symmetries of
the square and two turns of up to 30 degrees. Variants of one picture share a group, so that no split tears
them apart.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from counterpoise.datasets.builtin._record import DatasetRecord
from counterpoise.datasets.builtin.mnist import MNIST_WHERE, build_mnist
from counterpoise.datasets.images import ImageDataset, ImageSplit, numbered_paths

TRAIN_PICTURES, VARIANTS, TEST_PICTURES = 12000, 10, 50000
_SEED = 2007
_SIDE = 28
_LEAST_CONTRAST = 10.0  # standard deviation in grey levels below which a patch is too flat
_LARGEST_TURN = 30.0  # degrees, of the two free variants


def build(data_dir: Path) -> ImageDataset:
    """Return MNIST-back-rotation, made from the MNIST in `data_dir`; always the same images."""
    mnist = build_mnist(data_dir)
    if mnist.test is None:
        raise ValueError("MNIST has a test split")
    order_rng, train_rng, test_rng, variant_rng = np.random.default_rng(_SEED).spawn(4)
    order = order_rng.permutation(len(mnist.train))
    chosen, rest = order[:TRAIN_PICTURES], order[TRAIN_PICTURES:]
    images = np.asarray(mnist.train.images)
    spare = np.concatenate([images[rest], np.asarray(mnist.test.images)])
    spare_labels = np.concatenate([mnist.train.labels[rest], mnist.test.labels])
    tested = order_rng.permutation(len(spare))[:TEST_PICTURES]
    photographs = _photographs()
    pictures = make_pictures(images[chosen, 0], photographs, train_rng)
    test_pictures = make_pictures(spare[tested, 0], photographs, test_rng)
    train = ImageSplit(
        make_variants(pictures, variant_rng)[:, None],
        np.repeat(mnist.train.labels[chosen], VARIANTS),
        numbered_paths("mnist-rb/train", len(pictures) * VARIANTS),
        groups=np.repeat(np.arange(len(pictures)), VARIANTS),
    )
    test_paths = numbered_paths("mnist-rb/test", len(test_pictures))
    test = ImageSplit(test_pictures[:, None], spare_labels[tested], test_paths)
    return ImageDataset("mnist-rb", mnist.classes, 1, (_SIDE, _SIDE), train, test=test)


def make_pictures(digits: np.ndarray, photographs: list[np.ndarray], rng: np.random.Generator) -> np.ndarray:
    """Turn each digit by an angle uniform in [0, 2 pi) and lay it over a piece of a photograph.

    Parameters
    ----------
    digits : ndarray of uint8, shape (N, H, W)
        White on black.
    photographs : list of ndarray of uint8
        Grey, each larger than a digit.
    rng : Generator
        Where angles and pieces come from.

    Returns
    -------
    ndarray of uint8, shape (N, H, W)

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> photograph = rng.integers(0, 256, (40, 40), dtype=np.uint8)
    >>> white = make_pictures(np.full((1, 28, 28), 255, np.uint8), [photograph], rng)
    >>> int(white[0, 14, 14])
    255
    """
    from PIL import Image

    angles = rng.uniform(0, 360, len(digits))
    turned = np.empty_like(digits)
    for index, (digit, angle) in enumerate(zip(digits, angles, strict=True)):
        turned[index] = Image.fromarray(digit).rotate(angle, resample=Image.Resampling.BILINEAR)
    backgrounds = cut_patches(photographs, len(digits), digits.shape[1:], rng).astype(np.uint16)
    covered = turned + ((255 - turned.astype(np.uint16)) * backgrounds + 127) // 255
    return covered.astype(np.uint8)


def cut_patches(
    photographs: list[np.ndarray], count: int, size: tuple[int, ...], rng: np.random.Generator
) -> np.ndarray:
    """Cut `count` pieces of `size` at random places, drawing again where a piece is nearly of one grey.

    Examples
    --------
    >>> flat, striped = np.zeros((30, 30), np.uint8), np.tile(np.array([0, 200], np.uint8), (30, 15))
    >>> patches = cut_patches([flat, striped], 5, (8, 8), np.random.default_rng(0))
    >>> bool((patches.std(axis=(1, 2)) > 10).all())
    True
    """
    windows = [np.lib.stride_tricks.sliding_window_view(photo, size) for photo in photographs]
    patches = np.empty((count, *size), np.uint8)
    todo = np.arange(count)
    while len(todo):
        which = rng.integers(len(windows), size=len(todo))
        place = rng.random((2, len(todo)))
        for number, window in enumerate(windows):
            mine = which == number
            rows = (place[0, mine] * window.shape[0]).astype(np.int64)
            columns = (place[1, mine] * window.shape[1]).astype(np.int64)
            patches[todo[mine]] = window[rows, columns]
        todo = todo[patches[todo].std(axis=(1, 2)) < _LEAST_CONTRAST]
    return patches


def make_variants(pictures: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return ten variants of each picture: the square's eight symmetries, itself first, and two small turns.

    Parameters
    ----------
    pictures : ndarray of uint8, shape (N, S, S)
        Square images.
    rng : Generator
        Where the angles of the small turns come from.

    Returns
    -------
    ndarray of uint8, shape (10 N, S, S)
        The ten variants of the first picture, then those of the second, and so on.

    Examples
    --------
    >>> pictures = np.arange(4, dtype=np.uint8).reshape(1, 2, 2)
    >>> make_variants(pictures, np.random.default_rng(0))[:3].tolist()
    [[[0, 1], [2, 3]], [[1, 0], [3, 2]], [[1, 3], [0, 2]]]
    """
    from PIL import Image

    variants = np.empty((len(pictures), VARIANTS, *pictures.shape[1:]), np.uint8)
    for quarter in range(4):
        turned = np.rot90(pictures, quarter, axes=(1, 2))
        variants[:, 2 * quarter] = turned
        variants[:, 2 * quarter + 1] = turned[:, :, ::-1]
    side = pictures.shape[1]
    margin = side // 2
    # Mirrored margins, so that a turned picture has no black corners.
    padded = np.pad(pictures, ((0, 0), (margin, margin), (margin, margin)), mode="symmetric")
    angles = rng.uniform(-_LARGEST_TURN, _LARGEST_TURN, (len(pictures), 2))
    for index, picture in enumerate(padded):
        whole = Image.fromarray(picture)
        for number in range(2):
            turned = np.asarray(whole.rotate(angles[index, number], resample=Image.Resampling.BILINEAR))
            variants[index, 8 + number] = turned[margin : margin + side, margin : margin + side]
    return variants.reshape(-1, *pictures.shape[1:])


def _photographs() -> list[np.ndarray]:
    """Return scikit-learn's two sample photographs in grey."""
    from PIL import Image
    from sklearn.datasets import load_sample_images

    return [np.asarray(Image.fromarray(image).convert("L")) for image in load_sample_images().images]


RECORDS = (
    DatasetRecord(
        name="mnist-rb",
        title="MNIST digits turned by any angle before photographs, made from mnist",
        num_classes=10,
        channels=1,
        image_size=(_SIDE, _SIDE),
        train_size=TRAIN_PICTURES * VARIANTS,
        test_size=TEST_PICTURES,
        where=MNIST_WHERE,
        build=build,
    ),
)
