"""Built-in datasets: one table, and one function for each way in which a dataset is built.

A dataset that torchvision holds as arrays needs only a record in `DATASETS`. Other packages add records through the
entry point group ``counterpoise.datasets``.
"""

from __future__ import annotations

import contextlib
import inspect
import io
import os
import shutil
import socket
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from counterpoise.catalogs import Catalog, Entry
from counterpoise.datasets.images import ImageDataset, ImageSplit, dataset_from_arrays, numbered_paths
from counterpoise.datasets.listing import ListedFile, Listing
from counterpoise.datasets.scanning import build_dataset
from counterpoise.datasets.stores import FolderStore
from counterpoise.exceptions import DataError

_TIMEOUT_SECONDS = 15.0
_DIGITS = tuple("0123456789")
_MNIST_FILES = "raw/ with {train,t10k}-images-idx3-ubyte and {train,t10k}-labels-idx1-ubyte"


@dataclass(frozen=True, kw_only=True)
class DatasetRecord(Entry):
    """Built-in dataset; `target` is called with the record and the data folder and returns an `ImageDataset`.

    Parameters
    ----------
    train_size, test_size : int
        Numbers of images; 0 if there is no test split.
    where : str
        Files below the data folder.
    classes : tuple of str
        Class names, if torchvision has none or worse ones.
    torchvision : str
        Class in ``torchvision.datasets``, for the default target.
    """

    target: str = "counterpoise.datasets.builtin:build_arrays"
    num_classes: int = 10
    channels: int
    image_size: tuple[int, int]
    train_size: int
    test_size: int
    where: str
    classes: tuple[str, ...] = ()
    torchvision: str = ""

    def build(self, data_dir: Path) -> ImageDataset:
        """Read the dataset from `data_dir`, downloading it first if it is missing and can be downloaded."""
        return self.load()(self, data_dir)


def open_torchvision(class_name: str, data_dir: Path, where: str, *, train: bool) -> Any:
    """Return the training or the test split of ``torchvision.datasets.<class_name>``.

    If the files are missing and cannot be downloaded, a `DataError` names them by `where`.
    """
    import torchvision.datasets

    kind = getattr(torchvision.datasets, class_name)
    by_flag = "train" in inspect.signature(kind).parameters
    option: dict[str, Any] = {"train": train} if by_flag else {"split": "train" if train else "test"}
    # If files are missing, incomplete or damaged, each class raises another exception.
    with contextlib.suppress(Exception), _quiet():
        return kind(str(data_dir), download=False, **option)
    try:
        with _quiet(), _short_timeout(), _staging(data_dir) as staging:
            kind(str(staging), download=True, **option)
        with _quiet():
            return kind(str(data_dir), download=False, **option)
    except Exception as error:  # urllib, http, ssl, tarfile, zipfile and torchvision each have their own
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise DataError(
            f"{class_name} is not in {data_dir} (or damaged there) and could not be downloaded ({reason}); "
            f"put {where} there, or point `data_dir` (or COUNTERPOISE_DATA) to its folder"
        ) from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep torchvision's prints off stdout, where a JSON may be written; its progress bar uses stderr."""
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextlib.contextmanager
def _short_timeout() -> Iterator[None]:
    """Raise on a silent network, on which torchvision waits forever."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_TIMEOUT_SECONDS)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


@contextlib.contextmanager
def _staging(data_dir: Path) -> Iterator[Path]:
    """Yield a temporary folder whose content moves to `data_dir` only after success."""
    made = [folder for folder in (data_dir, *data_dir.parents) if not folder.exists()]
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(
            prefix=".download-", dir=data_dir, ignore_cleanup_errors=True
        ) as name:
            yield Path(name)
            shutil.copytree(name, data_dir, dirs_exist_ok=True, copy_function=os.replace)
    finally:
        for folder in made:
            with contextlib.suppress(OSError):
                folder.rmdir()  # only succeeds if nothing was put there


def build_arrays(record: DatasetRecord, data_dir: Path) -> ImageDataset:
    """Build a dataset that torchvision holds as arrays."""
    images, labels = [], []
    for train in (True, False):
        part = open_torchvision(record.torchvision, data_dir, record.where, train=train)
        pixels = np.asarray(part.data)
        if pixels.ndim == 4 and pixels.shape[-1] == record.channels:
            pixels = pixels.transpose(0, 3, 1, 2)
        images.append(np.ascontiguousarray(pixels, dtype=np.uint8))
        labels.append(np.asarray(part.targets if hasattr(part, "targets") else part.labels, dtype=np.int64))
    classes = record.classes or tuple(part.classes)
    return dataset_from_arrays(
        images[0], labels[0], classes=classes, name=record.name, test_images=images[1], test_labels=labels[1]
    )


def build_digits(record: DatasetRecord, data_dir: Path) -> ImageDataset:
    """Build scikit-learn's digits, with values from 0 to 16 stretched to 0 to 255."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = np.rint(bunch.images * (255 / 16)).astype(np.uint8)[:, None]
    train = ImageSplit(images, bunch.target.astype(np.int64), numbered_paths(record.name, len(images)))
    return ImageDataset(record.name, record.classes, record.channels, record.image_size, train)


def build_gtsrb(record: DatasetRecord, data_dir: Path) -> ImageDataset:
    """Build GTSRB from its image files; the 30 images of one sign from one drive form a group."""
    files = []
    for split in ("train", "test"):
        part = open_torchvision(record.torchvision, data_dir, record.where, train=split == "train")
        for path, label in part._samples:
            name = Path(path).relative_to(data_dir).as_posix()
            files.append(ListedFile(name, record.classes[label], split))
    listing = Listing(record.name, FolderStore(data_dir), tuple(files), record.classes)
    dataset = build_dataset(listing, image_size=record.image_size, in_memory=False)
    # Files are named <class>/<track>_<number>.ppm.
    tracks = [path.rpartition("_")[0] for path in dataset.train.paths]
    groups = np.unique(tracks, return_inverse=True)[1].astype(np.int64)
    return replace(dataset, train=replace(dataset.train, groups=groups))


_CIFAR10 = DatasetRecord(
    name="cifar10",
    title="animals and vehicles, 32x32 color",
    source="Krizhevsky 2009, Learning multiple layers of features from tiny images",
    channels=3,
    image_size=(32, 32),
    train_size=50000,
    test_size=10000,
    where="cifar-10-batches-py/ (from cifar-10-python.tar.gz)",
    torchvision="CIFAR10",
)
_MNIST = DatasetRecord(
    name="mnist",
    title="handwritten digits, 28x28 grayscale",
    source="LeCun et al. 1998, Gradient-based learning applied to document recognition",
    channels=1,
    image_size=(28, 28),
    train_size=60000,
    test_size=10000,
    where=f"MNIST/{_MNIST_FILES}",
    classes=_DIGITS,
    torchvision="MNIST",
)

#: The built-in datasets.
DATASETS: Catalog[DatasetRecord] = Catalog(
    "dataset",
    (
        _CIFAR10,
        replace(
            _CIFAR10,
            name="cifar100",
            title="a hundred kinds of things, 32x32 color",
            num_classes=100,
            where="cifar-100-python/ (from cifar-100-python.tar.gz)",
            torchvision="CIFAR100",
        ),
        DatasetRecord(
            name="digits",
            target="counterpoise.datasets.builtin:build_digits",
            title="handwritten digits, 8x8 grayscale (no download)",
            source="Alpaydin and Kaynak 1998, Optical recognition of handwritten digits, UCI repository",
            channels=1,
            image_size=(8, 8),
            train_size=1797,
            test_size=0,
            where="nothing (it comes with scikit-learn)",
            classes=_DIGITS,
        ),
        replace(
            _MNIST,
            name="fashion-mnist",
            title="pictures of clothes, 28x28 grayscale",
            source="Xiao, Rasul and Vollgraf 2017, Fashion-MNIST",
            where=f"FashionMNIST/{_MNIST_FILES}",
            classes=(),
            torchvision="FashionMNIST",
        ),
        DatasetRecord(
            name="gtsrb",
            target="counterpoise.datasets.builtin:build_gtsrb",
            title="German traffic signs, resized to 32x32 color, naturally imbalanced",
            source="Stallkamp et al. 2012, Man vs. computer, Neural Networks 32",
            num_classes=43,
            channels=3,
            image_size=(32, 32),
            train_size=26640,
            test_size=12630,
            where="gtsrb/GTSRB/Training/, gtsrb/GTSRB/Final_Test/Images/ and gtsrb/GT-final_test.csv",
            classes=(
                *("speed limit 20", "speed limit 30", "speed limit 50", "speed limit 60", "speed limit 70"),
                *("speed limit 80", "end of speed limit 80", "speed limit 100", "speed limit 120"),
                *("no passing", "no passing for trucks", "right of way at next junction", "priority road"),
                *("yield", "stop", "no vehicles", "no trucks", "no entry", "general caution"),
                *("dangerous curve left", "dangerous curve right", "double curve", "bumpy road"),
                *("slippery road", "road narrows on the right", "road work", "traffic signals"),
                *("pedestrians", "children crossing", "bicycles crossing", "beware of ice or snow"),
                *("wild animals crossing", "end of all limits", "turn right ahead", "turn left ahead"),
                *("ahead only", "straight or right", "straight or left", "keep right", "keep left"),
                *("roundabout", "end of no passing", "end of no passing for trucks"),
            ),
            torchvision="GTSRB",
        ),
        _MNIST,
        replace(
            _MNIST,
            name="mnist-rb",
            target="counterpoise.datasets.mnist_rb:build",
            title="MNIST digits, rotated by any angle, over photographs (from mnist)",
            source="Larochelle et al. 2007, ICML (mnist-back-rotation); thesis section 5.1",
            train_size=120000,
            test_size=50000,
            torchvision="",
        ),
        DatasetRecord(
            name="photographs",
            target="counterpoise.datasets.photographs:build",
            title="plants and a tower, 96x96 color, two classes rare (no download)",
            source="crops of china.jpg and flower.jpg of scikit-learn (CC BY 2.0)",
            num_classes=5,
            channels=3,
            image_size=(96, 96),
            train_size=180,
            test_size=60,
            where="nothing (it comes with scikit-learn)",
            classes=("tree", "shrub", "tiles", "gallery", "petals"),
        ),
        DatasetRecord(
            name="stl10",
            title="animals and vehicles, 96x96 color",
            source="Coates, Ng and Lee 2011, AISTATS",
            channels=3,
            image_size=(96, 96),
            train_size=5000,
            test_size=8000,
            where="stl10_binary/ (from stl10_binary.tar.gz)",
            torchvision="STL10",
        ),
        DatasetRecord(
            name="svhn",
            title="street view house numbers, 32x32 color",
            source="Netzer et al. 2011, NIPS workshop on deep learning",
            channels=3,
            image_size=(32, 32),
            train_size=73257,
            test_size=26032,
            where="train_32x32.mat and test_32x32.mat",
            classes=_DIGITS,
            torchvision="SVHN",
        ),
    ),
    entry_point="counterpoise.datasets",
)
