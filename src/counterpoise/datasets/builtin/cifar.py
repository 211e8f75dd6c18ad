"""CIFAR-10 and CIFAR-100: 60,000 colour images of 32 x 32 pixels."""

from __future__ import annotations

from pathlib import Path

from counterpoise.datasets.builtin._record import DatasetRecord
from counterpoise.datasets.builtin._torchvision import array_dataset, array_split, open_torchvision
from counterpoise.datasets.images import ImageDataset

_WHERE_10 = "cifar-10-batches-py/ (from cifar-10-python.tar.gz)"
_WHERE_100 = "cifar-100-python/ (from cifar-100-python.tar.gz)"


def build_cifar10(data_dir: Path) -> ImageDataset:
    """Return CIFAR-10 as torchvision reads it from `data_dir`."""
    return _build("cifar10", "CIFAR10", _WHERE_10, data_dir)


def build_cifar100(data_dir: Path) -> ImageDataset:
    """Return CIFAR-100 with its fine labels as torchvision reads it from `data_dir`."""
    return _build("cifar100", "CIFAR100", _WHERE_100, data_dir)


def _build(name: str, class_name: str, where: str, data_dir: Path) -> ImageDataset:
    splits = []
    for split, train in (("train", True), ("test", False)):
        part = open_torchvision(class_name, data_dir, where, train=train)
        splits.append(array_split(f"{name}/{split}", part.data.transpose(0, 3, 1, 2), part.targets))
    return array_dataset(name, tuple(part.classes), *splits)


RECORDS = (
    DatasetRecord(
        name="cifar10",
        title="animals and vehicles, 32x32 colour",
        num_classes=10,
        channels=3,
        image_size=(32, 32),
        train_size=50000,
        test_size=10000,
        where=_WHERE_10,
        build=build_cifar10,
    ),
    DatasetRecord(
        name="cifar100",
        title="a hundred kinds of things, 32x32 colour",
        num_classes=100,
        channels=3,
        image_size=(32, 32),
        train_size=50000,
        test_size=10000,
        where=_WHERE_100,
        build=build_cifar100,
    ),
)
