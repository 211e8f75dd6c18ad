"""Images in memory or on disk, a split of labeled ones, and a dataset of up to three splits."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import cached_property
from typing import Literal, NamedTuple, cast

import numpy as np

from counterpoise.datasets.decoding import Fit, UnreadableImageError, ValueRange, decode_image, map_indices
from counterpoise.datasets.layout import plain_name
from counterpoise.datasets.scan_index import recall, remember
from counterpoise.datasets.stores import MemoryStore, Store
from counterpoise.exceptions import DataError


class ImageFile(NamedTuple):
    """Image file: a store and the name in it."""

    store: Store
    name: str


@dataclass(frozen=True, eq=False)
class ImageFiles:
    """Sequence of images that are decoded on access, all to one shape (see `decode_image`)."""

    files: tuple[ImageFile, ...]
    channels: int
    image_size: tuple[int, int]
    fit: Fit = "stretch"
    value_range: ValueRange | None = None

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> np.ndarray:
        """Decode one image to uint8 of shape (channels, height, width); a DataError names a damaged file."""
        with self._named(index):
            return self.decode(self.read_bytes(index))

    def decode(self, content: bytes) -> np.ndarray:
        """Decode the content of a file as if it were one of these; UnreadableImageError if it cannot be decoded."""
        return decode_image(
            content, self.channels, self.image_size, fit=self.fit, value_range=self.value_range
        )

    def content_key(self, index: int) -> bytes:
        """Return the `content_key` of one file; a DataError names an unreadable one."""
        with self._named(index):
            return content_key(self.read_bytes(index))

    @contextmanager
    def _named(self, index: int) -> Iterator[None]:
        try:
            yield
        except UnreadableImageError as error:
            name = self.files[index].name
            raise DataError(f"cannot read image {name}: {error}; repair or remove the file") from error

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(N, channels, height, width) of the decoded images."""
        return (len(self.files), self.channels, *self.image_size)

    @property
    def dtype(self) -> np.dtype:
        """Type of the decoded pixels, uint8."""
        return np.dtype(np.uint8)

    def subset(self, indices: Sequence[int] | np.ndarray) -> ImageFiles:
        """Return the images at `indices`, in that order."""
        return replace(self, files=tuple(self.files[int(index)] for index in indices))

    def read_bytes(self, index: int) -> bytes:
        """Return the content of one file."""
        store, name = self.files[index]
        return store.read(name)


def content_key(content: bytes) -> bytes:
    """Return the 16 bytes (BLAKE2b) by which equal contents are recognized."""
    return hashlib.blake2b(content, digest_size=16).digest()


def pixel_key(pixels: np.ndarray) -> bytes:
    """Return the 16 bytes by which equal decoded images (C, H, W) are recognized."""
    return content_key(f"{pixels.dtype.str}{pixels.shape}".encode() + pixels.tobytes())


def decode_batch(
    images: np.ndarray | ImageFiles, indices: Sequence[int] | np.ndarray, *, threads: bool = True
) -> np.ndarray:
    """Return the images at `indices`, uint8 of shape (n, C, H, W); files are decoded by all cores under `threads`.

    Examples
    --------
    >>> decode_batch(np.arange(4, dtype=np.uint8).reshape(4, 1, 1, 1), [2, 0]).ravel().tolist()
    [2, 0]
    """
    indices = np.asarray(indices, dtype=np.int64)
    if isinstance(images, np.ndarray):
        return images[indices]
    return np.stack(map_indices(lambda i: images[int(indices[i])], len(indices), threads=threads, chunk=4))


class SkippedFile(NamedTuple):
    """File that is left out, with the reason."""

    path: str
    reason: str


class FileFacts(NamedTuple):
    """Stamp of an image file's content, and the image's size in pixels before resizing."""

    stamp: str
    height: int
    width: int


@dataclass(frozen=True, eq=False)
class ImageSplit:
    """Images with labels and names.

    Parameters
    ----------
    images : ndarray of uint8, shape (N, C, H, W), or ImageFiles
        Pixels in memory, or files decoded on access: ``images[i]`` is (C, H, W) for both.
    labels : ndarray of int64, shape (N,)
        Class indices.
    groups : ndarray of int64, shape (N,), optional
        Images with the same number stay together in every split.
    keys : ndarray of bytes, shape (N,), optional
        Content keys, where they are known already; see `content_keys`.

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
    keys: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def in_memory(self) -> bool:
        """Whether the pixels are decoded."""
        return isinstance(self.images, np.ndarray)

    def class_counts(self, num_classes: int) -> np.ndarray:
        """Return the number of images per class, int64 of shape (num_classes,)."""
        return np.bincount(self.labels, minlength=num_classes).astype(np.int64)

    def subset(self, indices: Sequence[int] | np.ndarray) -> ImageSplit:
        """Return the images at `indices`, in that order."""
        indices = np.asarray(indices, dtype=np.int64)
        chosen = indices.tolist()
        return ImageSplit(
            self.images.subset(indices) if isinstance(self.images, ImageFiles) else self.images[indices],
            self.labels[indices],
            tuple(self.paths[index] for index in chosen),
            None if self.facts is None else tuple(self.facts[index] for index in chosen),
            None if self.groups is None else self.groups[indices],
            None if self.keys is None else self.keys[indices],
        )

    def content_keys(self) -> np.ndarray:
        """Return a key of each image, of shape (N,) and dtype S16, that depends on nothing but its content.

        The content of a file is all of its bytes, wherever the file lies and whether or not it is decoded; that of an
        image without a file, its type, shape and pixels. Equal contents have equal keys, under any name and label.
        """
        if self.keys is None:
            read, images = getattr(self.images, "content_key", None), self.images
            key = read or (lambda index: pixel_key(images[index]))
            keys = map_indices(key, len(self), threads=not self.in_memory, chunk=64)
            object.__setattr__(self, "keys", np.array(keys, dtype="S16"))
        return cast(np.ndarray, self.keys)

    def pixel_keys(self) -> np.ndarray:
        """Return a key of each image's decoded pixels, (N,) of dtype S16: equal for copies in a lossless format."""
        images = self.images
        if not isinstance(images, ImageFiles):
            return np.array([pixel_key(image) for image in images], dtype="S16")
        form = f"{images.channels} {images.image_size} {images.fit}"
        names = [f"pixels {bytes(key).hex()} {form}" for key in self.content_keys()]
        known = recall(names)
        missing = [index for index, name in enumerate(names) if name not in known]
        found = map_indices(
            lambda i: (names[missing[i]], pixel_key(images[missing[i]])), len(missing), chunk=4
        )
        remember(dict(found))
        known |= dict(found)
        return np.array([known[name] for name in names], dtype="S16")

    def content_digest(self) -> str:
        """Return 64 hex digits that depend on every label, path and image."""
        # Images from files enter by the stamps of their files, so that decoding does not change the digest.
        digest = hashlib.sha256(np.ascontiguousarray(self.labels, dtype="<i8").tobytes())
        digest.update("\0".join(self.paths).encode("utf-8", "surrogatepass"))
        if self.facts is not None:
            digest.update("\0".join(fact.stamp for fact in self.facts).encode())
        elif isinstance(self.images, np.ndarray):
            digest.update(repr(self.images.shape).encode())
            digest.update(np.ascontiguousarray(self.images).data)
        else:
            digest.update("\0".join(file.store.stamp(file.name) for file in self.images.files).encode())
        return digest.hexdigest()


Duplicates = Literal["keep", "group", "drop"]
"""Treatment of copies of a picture, see `group_images`."""


@dataclass(frozen=True)
class Grouping:
    """How images were grouped, see `group_images`, with `notes` in words."""

    group: str | None = None
    duplicates: Duplicates = "keep"
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class ImageDataset:
    """Labeled images, in the splits of their source or of a manifest.

    Labels index the class names; there are 1 (grayscale) or 3 (RGB) channels; the image size is (height, width). `fit`
    tells how images of another shape fit that size (see `decode_image`); it is "crop" where none were ever resized.
    `value_range` has the values of 16-bit files that are black and white, the same for all; None without such files.
    `notes` are sentences on how files are read where that is no matter of course.
    """

    name: str
    classes: tuple[str, ...]
    channels: int
    image_size: tuple[int, int]
    train: ImageSplit
    validation: ImageSplit | None = None
    test: ImageSplit | None = None
    skipped: tuple[SkippedFile, ...] = ()
    fit: Fit = "crop"
    value_range: ValueRange | None = None
    notes: tuple[str, ...] = ()
    grouping: Grouping = Grouping()

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.classes)

    @property
    def splits(self) -> dict[str, ImageSplit]:
        """Existing splits by name, in the order train, validation, test."""
        named = {"train": self.train, "validation": self.validation, "test": self.test}
        return {name: split for name, split in named.items() if split is not None}

    @property
    def total(self) -> int:
        """Number of images in all splits."""
        return sum(map(len, self.splits.values()))

    @cached_property
    def fingerprint(self) -> str:
        """64 hex digits that depend on the name, the classes, and every label, path and image."""
        digest = hashlib.sha256(repr((self.name, self.classes)).encode("utf-8", "surrogatepass"))
        if self.value_range is not None:  # earlier runs read 16-bit files without one, and are other runs
            digest.update(f"value range {self.value_range}:".encode())
        for name, split in self.splits.items():
            digest.update(f"{name}:{split.content_digest()}".encode())
        return digest.hexdigest()

    @cached_property
    def contents(self) -> str:
        """64 hex digits that depend on every image's whole content and class, and on no name, place or order."""
        names = [name.encode("utf-8", "surrogatepass") for name in self.classes]
        images = [
            bytes(key).ljust(16, b"\0") + names[label]
            for split in self.splits.values()
            for key, label in zip(split.content_keys(), split.labels, strict=True)
        ]
        return hashlib.sha256(b"\0".join([*names, *sorted(images)])).hexdigest()


def hold_files(dataset: ImageDataset, most: int) -> ImageDataset:
    """Return a dataset with its files' contents in memory, for a process that cannot read them.

    Files of more than `most` bytes in all stay where they are, under absolute paths once the dataset is pickled.
    """
    held: dict[Store, MemoryStore] = {}
    size, splits = 0, dataset.splits
    for name, split in splits.items():
        if not isinstance(images := split.images, ImageFiles):
            continue
        files = []
        for index, (store, file) in enumerate(images.files):
            with images._named(index):
                content = store.read(file)
            if (size := size + len(content)) > most:
                return dataset
            memory = held.setdefault(store, MemoryStore())
            memory.files[file] = content, store.stamp(file, content)
            files.append(ImageFile(memory, file))
        splits[name] = replace(split, images=replace(images, files=tuple(files)))
    return replace(dataset, **splits) if held else dataset  # type: ignore[arg-type]


def dataset_from_arrays(
    images: np.ndarray,
    labels: np.ndarray,
    *,
    classes: Sequence[str] | None = None,
    name: str = "arrays",
    test_images: np.ndarray | None = None,
    test_labels: np.ndarray | None = None,
) -> ImageDataset:
    """Make a dataset of images, uint8 of shape (N, H, W) or (N, C, H, W) with C 1 or 3, and labels, int (N,) from 0.

    The class names default to the labels. Shapes, types or labels that do not match raise DataError.

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
    _, channels, height, width = shape = train.images.shape
    test = None
    if test_images is not None and test_labels is not None:
        test = _array_split(f"{name}/test", test_images, np.asarray(test_labels), len(classes))
        if test.images.shape[1:] != shape[1:]:
            raise DataError(f"test images have shape {test.images.shape[1:]}, training images {shape[1:]}")
    dataset = ImageDataset(name, tuple(classes), channels, (height, width), train, test=test)
    check_classes(dataset)
    return dataset


def numbered_paths(prefix: str, count: int) -> tuple[str, ...]:
    """Return `count` names such as ``mnist/test/00017``."""
    return tuple(f"{prefix}/{index:05d}" for index in range(count))


def check_classes(dataset: ImageDataset) -> None:
    """Raise a `DataError` if there are fewer than two classes, or a class has no training images."""
    if dataset.num_classes < 2:
        found = f"one class only ({dataset.classes[0]!r})" if dataset.classes else "no classes"
        raise DataError(
            f"{dataset.name} has {found}; expected a folder or label for each of at least two classes"
        )
    fault = "has no training images; add some, or take the class out"
    untrained = dataset.train.class_counts(dataset.num_classes) == 0
    for split_name, split in dataset.splits.items():
        orphans = np.flatnonzero((split.class_counts(dataset.num_classes) > 0) & untrained)
        if orphans.size:
            name = dataset.classes[orphans[0]]
            known = {plain_name(c): c for c, none in zip(dataset.classes, untrained, strict=True) if not none}
            near = get_close_matches(plain_name(name), known, n=1, cutoff=0.8)
            hint = f"; did you mean {known[near[0]]!r}, which has?" if near else ""
            raise DataError(
                f"class {name!r} is in the {split_name} split of {dataset.name} but {fault}{hint}"
            )
    if untrained.any():
        raise DataError(f"class {dataset.classes[int(np.argmax(untrained))]!r} of {dataset.name} {fault}")


def _array_split(prefix: str, images: np.ndarray, labels: np.ndarray, num_classes: int) -> ImageSplit:
    images = np.asarray(images)[:, None] if np.ndim(images) == 3 else np.asarray(images)
    if images.ndim != 4 or images.shape[1] not in (1, 3) or images.dtype != np.uint8:
        raise DataError(
            f"{prefix}: images are {images.dtype} of shape {images.shape}; expected uint8 "
            "(N, H, W), (N, 1, H, W) or (N, 3, H, W)"
        )
    if labels.shape != (len(images),) or not np.issubdtype(labels.dtype, np.integer):
        found = f"{labels.dtype} of shape {labels.shape}"
        raise DataError(f"{prefix}: labels are {found}; expected integers ({len(images)},)")
    if labels.size and not 0 <= labels.min() <= labels.max() < num_classes:
        found = f"{labels.min()} to {labels.max()}"
        raise DataError(f"{prefix}: labels run from {found}; expected 0 to {num_classes - 1}")
    return ImageSplit(images, labels.astype(np.int64), numbered_paths(prefix, len(images)))
