"""scikit-learn's digits: 1,797 grey images of 8 x 8 pixels that come with the library."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from counterpoise.datasets.builtin._record import DatasetRecord
from counterpoise.datasets.images import ImageDataset, ImageSplit, numbered_paths


def build(data_dir: Path) -> ImageDataset:
    """Return the digits, their values 0..16 spread over 0..255; `data_dir` is not needed."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = np.rint(bunch.images * (255 / 16)).astype(np.uint8)[:, None]
    paths = numbered_paths("digits", len(images))
    train = ImageSplit(images, bunch.target.astype(np.int64), paths)
    return ImageDataset("digits", tuple("0123456789"), 1, (8, 8), train)


RECORDS = (
    DatasetRecord(
        name="digits",
        title="handwritten digits, 8x8 grey (scikit-learn, nothing to download)",
        num_classes=10,
        channels=1,
        image_size=(8, 8),
        train_size=1797,
        test_size=0,
        where="nothing (it comes with scikit-learn)",
        build=build,
    ),
)
