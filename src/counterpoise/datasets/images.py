"""Labelled images: one split, and a data set of up to three."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from counterpoise.datasets.image_files import ImageFiles
from counterpoise.exceptions import DataError


class SkippedFile(NamedTuple):
    """A file that is left out, and why."""

    path: str
    reason: str


class FileFacts(NamedTuple):
    """What is known about an image's file: a stamp of its content, and its size in pixels before resizing."""

    stamp: str
    height: int
    width: int


@dataclass(frozen=True, eq=False)
class ImageSplit:
    """Images with labels and names.

    Parameters
    ----------
    images : ndarray of uint8, shape (N, C, H, W), or ImageFiles
        Pixels from 0 to 255 in memory, or files decoded one at a time: ``images[i]`` is (C, H, W) for both.
    labels : ndarray of int64, shape (N,)
        Class indices.
    paths : tuple of str, length N
        A name for each image.
    facts : tuple of FileFacts, length N, optional
        Facts about the files that the images come from.
    groups : ndarray of int64, shape (N,), optional
        Images with the same number are variants of one picture and must not be torn apart by a split.

    Examples
    --------
    >>> split = ImageSplit(np.zeros((3, 1, 2, 2), np.uint8), np.array([0, 1, 1]), ("a", "b", "c"))
    >>> split.class_counts(2).tolist(), split.subset([2, 0]).paths
    ([1, 2], ('c', 'a'))
    """

    images: np.ndarray | ImageFiles
    labels: np.ndarray
    paths: tuple[str, ...]
    facts: tuple[FileFacts, ...] | None = None
    groups: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def in_memory(self) -> bool:
        """Whether the pixels are decoded already."""
        return isinstance(self.images, np.ndarray)

    def class_counts(self, num_classes: int) -> np.ndarray:
        """Return the number of images per class, int64 of shape (num_classes,)."""
        return np.bincount(self.labels, minlength=num_classes).astype(np.int64)

    def subset(self, indices: Sequence[int] | np.ndarray) -> ImageSplit:
        """Return the images at `indices`, in that order, as a split of its own."""
        indices = np.asarray(indices, dtype=np.int64)
        images = self.images.subset(indices) if isinstance(self.images, ImageFiles) else self.images[indices]
        return ImageSplit(
            images,
            self.labels[indices],
            tuple(self.paths[index] for index in indices.tolist()),
            None if self.facts is None else tuple(self.facts[index] for index in indices.tolist()),
            None if self.groups is None else self.groups[indices],
        )

    def content_digest(self) -> str:
        """Return 64 hex digits that change with any label, name or image.

        Images from files count by the stamps of their files, so that it does not matter whether they are
        decoded.
        """
        digest = hashlib.sha256(np.ascontiguousarray(self.labels, dtype="<i8").tobytes())
        digest.update("\0".join(self.paths).encode("utf-8", "surrogatepass"))
        if self.facts is not None:
            digest.update("\0".join(fact.stamp for fact in self.facts).encode())
        elif isinstance(self.images, np.ndarray):
            digest.update(repr(self.images.shape).encode())
            digest.update(np.ascontiguousarray(self.images).data)
        else:
            stamps = (file.store.stamp(file.name) for file in self.images.files)
            digest.update("\0".join(stamps).encode())
        return digest.hexdigest()


@dataclass(frozen=True, eq=False)
class ImageDataset:
    """A set of labelled images, with those splits that it came with or that a manifest gave it.

    Parameters
    ----------
    name : str
        A short name, for tables and folders.
    classes : tuple of str
        Class names; a label is an index into them.
    channels : {1, 3}
        Grey or RGB.
    image_size : (int, int)
        (height, width) in pixels.
    train : ImageSplit
        Images to learn from.
    validation, test : ImageSplit, optional
        Images to choose models with, and images to report on.
    skipped : tuple of SkippedFile
        Files that could not be used.
    """

    name: str
    classes: tuple[str, ...]
    channels: int
    image_size: tuple[int, int]
    train: ImageSplit
    validation: ImageSplit | None = None
    test: ImageSplit | None = None
    skipped: tuple[SkippedFile, ...] = ()

    @property
    def num_classes(self) -> int:
        """How many classes there are."""
        return len(self.classes)

    @property
    def splits(self) -> dict[str, ImageSplit]:
        """The splits that exist, by name: train, validation, test."""
        named = {"train": self.train, "validation": self.validation, "test": self.test}
        return {name: split for name, split in named.items() if split is not None}

    @cached_property
    def fingerprint(self) -> str:
        """64 hex digits that change with the name, the classes, and every label, path or image."""
        digest = hashlib.sha256(repr((self.name, self.classes)).encode("utf-8", "surrogatepass"))
        for name, split in self.splits.items():
            digest.update(f"{name}:{split.content_digest()}".encode())
        return digest.hexdigest()


def dataset_from_arrays(
    images: np.ndarray,
    labels: np.ndarray,
    *,
    classes: Sequence[str] | None = None,
    name: str = "arrays",
    test_images: np.ndarray | None = None,
    test_labels: np.ndarray | None = None,
) -> ImageDataset:
    """Make a data set of arrays.

    Parameters
    ----------
    images : ndarray of uint8, shape (N, H, W) or (N, C, H, W)
        Pixels from 0 to 255; C is 1 or 3.
    labels : ndarray of int, shape (N,)
        Class indices from 0.
    classes : sequence of str, optional
        Class names; by default the numbers.
    name : str
        The data set's name.
    test_images, test_labels : ndarray, optional
        A test split of the same form.

    Returns
    -------
    ImageDataset

    Raises
    ------
    DataError
        If shapes, types or labels do not fit together.

    Examples
    --------
    >>> data = dataset_from_arrays(np.zeros((4, 8, 8), np.uint8), np.array([0, 0, 1, 1]))
    >>> data.classes, data.channels, data.image_size
    (('0', '1'), 1, (8, 8))
    """
    if (test_images is None) != (test_labels is None):
        raise DataError("found test_images or test_labels alone; give both or neither")
    labels = np.asarray(labels)
    if classes is None:
        classes = [str(index) for index in range(int(labels.max()) + 1 if labels.size else 0)]
    train = _array_split(f"{name}/train", images, labels, len(classes))
    test = None
    if test_images is not None and test_labels is not None:
        test = _array_split(f"{name}/test", test_images, np.asarray(test_labels), len(classes))
        if test.images.shape[1:] != train.images.shape[1:]:
            raise DataError(
                f"test images have shape {test.images.shape[1:]}, training images {train.images.shape[1:]}"
            )
    _, channels, height, width = train.images.shape
    dataset = ImageDataset(name, tuple(classes), channels, (height, width), train, test=test)
    check_classes(dataset)
    return dataset


def numbered_paths(prefix: str, count: int) -> tuple[str, ...]:
    """Return `count` names such as ``mnist/test/00017``.

    Examples
    --------
    >>> numbered_paths("mnist/test", 2)
    ('mnist/test/00000', 'mnist/test/00001')
    """
    return tuple(f"{prefix}/{index:05d}" for index in range(count))


def check_classes(dataset: ImageDataset) -> None:
    """Make sure that there is something to classify.

    Raises
    ------
    DataError
        If there are fewer than two classes, or a class of another split has no training images.
    """
    if dataset.num_classes < 2:
        found = f"one class only ({dataset.classes[0]!r})" if dataset.classes else "no classes"
        raise DataError(
            f"{dataset.name} has {found}; expected a folder or label for each of at least two classes"
        )
    counts = dataset.train.class_counts(dataset.num_classes)
    for split_name, split in dataset.splits.items():
        orphans = np.flatnonzero((split.class_counts(dataset.num_classes) > 0) & (counts == 0))
        if orphans.size:
            raise DataError(
                f"class {dataset.classes[orphans[0]]!r} is in the {split_name} split of {dataset.name} but "
                "has no training images; add some, or take the class out"
            )
    if not counts.all():
        raise DataError(
            f"class {dataset.classes[int(np.argmin(counts))]!r} of {dataset.name} has no training images; "
            "add some, or take the class out"
        )


def _array_split(prefix: str, images: np.ndarray, labels: np.ndarray, num_classes: int) -> ImageSplit:
    images = np.asarray(images)
    if images.ndim == 3:
        images = images[:, None]
    if images.ndim != 4 or images.shape[1] not in (1, 3) or images.dtype != np.uint8:
        raise DataError(
            f"{prefix}: images are {images.dtype} of shape {images.shape}; expected uint8 "
            "(N, H, W), (N, 1, H, W) or (N, 3, H, W)"
        )
    if labels.shape != (len(images),) or not np.issubdtype(labels.dtype, np.integer):
        raise DataError(
            f"{prefix}: labels are {labels.dtype} of shape {labels.shape}; expected integers ({len(images)},)"
        )
    if labels.size and not 0 <= labels.min() <= labels.max() < num_classes:
        raise DataError(
            f"{prefix}: labels run from {labels.min()} to {labels.max()}; expected 0 to {num_classes - 1}"
        )
    return ImageSplit(images, labels.astype(np.int64), numbered_paths(prefix, len(images)))
