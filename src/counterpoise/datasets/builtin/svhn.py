"""SVHN: house numbers, 99,289 colour images of 32 x 32 pixels."""

from __future__ import annotations

from pathlib import Path

from counterpoise.datasets.builtin._record import DatasetRecord
from counterpoise.datasets.builtin._torchvision import array_dataset, array_split, open_torchvision
from counterpoise.datasets.images import ImageDataset

_WHERE = "train_32x32.mat and test_32x32.mat"


def build(data_dir: Path) -> ImageDataset:
    """Return SVHN's cropped digits as torchvision reads them from `data_dir`."""
    splits = []
    for split in ("train", "test"):
        part = open_torchvision("SVHN", data_dir, _WHERE, split=split)
        splits.append(array_split(f"svhn/{split}", part.data, part.labels))
    return array_dataset("svhn", tuple("0123456789"), *splits)


RECORDS = (
    DatasetRecord(
        name="svhn",
        title="street view house numbers, 32x32 colour",
        num_classes=10,
        channels=3,
        image_size=(32, 32),
        train_size=73257,
        test_size=26032,
        where=_WHERE,
        build=build,
    ),
)
