"""MNIST and Fashion-MNIST: 70,000 grey images of 28 x 28 pixels."""

from __future__ import annotations

from pathlib import Path

from counterpoise.datasets.builtin._record import DatasetRecord
from counterpoise.datasets.builtin._torchvision import array_dataset, array_split, open_torchvision
from counterpoise.datasets.images import ImageDataset

FASHION_CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
_FILES = "{train,t10k}-images-idx3-ubyte and {train,t10k}-labels-idx1-ubyte"
MNIST_WHERE = f"MNIST/raw/ with {_FILES}"
FASHION_WHERE = f"FashionMNIST/raw/ with {_FILES}"


def build_mnist(data_dir: Path) -> ImageDataset:
    """Return MNIST as torchvision reads it from `data_dir`."""
    return _build("mnist", "MNIST", tuple("0123456789"), MNIST_WHERE, data_dir)


def build_fashion_mnist(data_dir: Path) -> ImageDataset:
    """Return Fashion-MNIST as torchvision reads it from `data_dir`."""
    return _build("fashion-mnist", "FashionMNIST", FASHION_CLASSES, FASHION_WHERE, data_dir)


def _build(name: str, class_name: str, classes: tuple[str, ...], where: str, data_dir: Path) -> ImageDataset:
    splits = []
    for split, train in (("train", True), ("test", False)):
        part = open_torchvision(class_name, data_dir, where, train=train)
        splits.append(array_split(f"{name}/{split}", part.data.numpy(), part.targets.numpy()))
    return array_dataset(name, classes, *splits)


RECORDS = (
    DatasetRecord(
        "mnist", "handwritten digits, 28x28 grey", 10, 1, (28, 28), 60000, 10000, MNIST_WHERE, build_mnist
    ),
    DatasetRecord(
        "fashion-mnist",
        "pictures of clothes, 28x28 grey",
        10,
        1,
        (28, 28),
        60000,
        10000,
        FASHION_WHERE,
        build_fashion_mnist,
    ),
)
