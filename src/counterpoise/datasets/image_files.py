"""Images that stay on disk and are decoded on access, and threads to decode many of them."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeVar

import numpy as np

from counterpoise.datasets.decoding import UnreadableImageError, decode_image
from counterpoise.datasets.stores import Store
from counterpoise.exceptions import DataError

Result = TypeVar("Result")

#: Progress callback, called with (done, total).
OnProgress = Callable[[int, int], None]


def map_indices(
    function: Callable[[int], Result],
    count: int,
    *,
    threads: bool = True,
    chunk: int = 64,
    progress: OnProgress | None = None,
) -> list[Result]:
    """Return ``[function(0), ..., function(count - 1)]``, calling `progress` after every chunk of indices.

    Threads pay off for images from about 64 x 64 pixels on, where the decoder runs long without the interpreter lock.

    Examples
    --------
    >>> map_indices(lambda index: index * index, 4)
    [0, 1, 4, 9]
    """

    def work(start: int) -> list[Result]:
        return [function(index) for index in range(start, min(start + chunk, count))]

    results: list[Result] = []
    pool = ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1) if threads else 1)
    try:
        for part in pool.map(work, range(0, count, chunk)):
            results += part
            if progress is not None:
                progress(len(results), count)
    finally:
        pool.shutdown(cancel_futures=True)
    return results


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

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> np.ndarray:
        """Decode one image to uint8 of shape (channels, height, width); a DataError names a damaged file."""
        try:
            return decode_image(self.read_bytes(index), self.channels, self.image_size)
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

    def decode(
        self, *, threads: bool = True, progress: OnProgress | None = None
    ) -> tuple[np.ndarray, dict[int, str]]:
        """Decode all images; rows of unreadable files are zero, and their reasons are returned by index."""
        images = np.zeros(self.shape, np.uint8)

        def work(index: int) -> str | None:
            try:
                images[index] = decode_image(self.read_bytes(index), self.channels, self.image_size)
            except UnreadableImageError as error:
                return str(error)
            return None

        reasons = map_indices(work, len(self), threads=threads, progress=progress)
        return images, {index: reason for index, reason in enumerate(reasons) if reason is not None}
