"""STL-10: the 13,000 labelled colour images of 96 x 96 pixels."""

from __future__ import annotations

from pathlib import Path

from counterpoise.datasets.builtin._record import DatasetRecord
from counterpoise.datasets.builtin._torchvision import array_dataset, array_split, open_torchvision
from counterpoise.datasets.images import ImageDataset

_WHERE = "stl10_binary/ (from stl10_binary.tar.gz)"


def build(data_dir: Path) -> ImageDataset:
    """Return STL-10's labelled images as torchvision reads them from `data_dir`."""
    splits = []
    for split in ("train", "test"):
        part = open_torchvision("STL10", data_dir, _WHERE, split=split)
        splits.append(array_split(f"stl10/{split}", part.data, part.labels))
    return array_dataset("stl10", tuple(part.classes), *splits)


RECORDS = (
    DatasetRecord(
        name="stl10",
        title="animals and vehicles, 96x96 colour",
        num_classes=10,
        channels=3,
        image_size=(96, 96),
        train_size=5000,
        test_size=8000,
        where=_WHERE,
        build=build,
    ),
)
