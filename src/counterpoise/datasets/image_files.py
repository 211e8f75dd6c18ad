"""Images that stay on disk until they are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from counterpoise.datasets.decoding import UnreadableImageError, decode_image
from counterpoise.datasets.parallel import OnProgress, map_indices
from counterpoise.datasets.stores import Store
from counterpoise.exceptions import DataError


class ImageFile(NamedTuple):
    """One file: the store that holds it and its name there."""

    store: Store
    name: str


@dataclass(frozen=True, eq=False)
class ImageFiles:
    """A sequence of images decoded one at a time, each to the same shape.

    It can be pickled and used after a fork or in a spawned process.

    Parameters
    ----------
    files : tuple of ImageFile
        Where each image lies.
    channels : {1, 3}
        Grey or RGB.
    image_size : (int, int)
        (height, width) in pixels that every image is brought to, see `decode_image`.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from counterpoise.datasets.stores import FolderStore
    >>> folder = Path(tempfile.mkdtemp())
    >>> _ = (folder / "a.pgm").write_bytes(b"P2 2 1 255  0 255")
    >>> images = ImageFiles((ImageFile(FolderStore(folder), "a.pgm"),), channels=1, image_size=(1, 2))
    >>> images.shape, images[0].tolist()
    ((1, 1, 1, 2), [[[0, 255]]])
    """

    files: tuple[ImageFile, ...]
    channels: int
    image_size: tuple[int, int]

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> np.ndarray:
        """Decode image number `index` to uint8 of shape (channels, height, width).

        Raises
        ------
        DataError
            If the file cannot be decoded; the message names it.
        """
        store, name = self.files[index]
        try:
            return decode_image(store.read(name), self.channels, self.image_size)
        except UnreadableImageError as error:
            raise DataError(f"cannot read image {name}: {error}; repair or remove the file") from error

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(N, channels, height, width), as if decoded."""
        return (len(self.files), self.channels, *self.image_size)

    @property
    def dtype(self) -> np.dtype:
        """The type of the decoded pixels, uint8."""
        return np.dtype(np.uint8)

    @property
    def nbytes(self) -> int:
        """Bytes that all images take once decoded."""
        return int(np.prod(self.shape, dtype=np.int64))

    def subset(self, indices: Sequence[int] | np.ndarray) -> ImageFiles:
        """Return the images at `indices`, in that order, still undecoded."""
        return replace(self, files=tuple(self.files[int(index)] for index in indices))

    def read_bytes(self, index: int) -> bytes:
        """Return the undecoded content of file number `index`."""
        store, name = self.files[index]
        return store.read(name)

    def decode(
        self, *, threads: bool = True, progress: OnProgress | None = None
    ) -> tuple[np.ndarray, dict[int, str]]:
        """Decode all images.

        Parameters
        ----------
        threads : bool
            Whether several threads take part, see `map_indices`.
        progress : callable, optional
            Called with (done, total).

        Returns
        -------
        images : ndarray of uint8, shape (N, channels, height, width)
            Rows of unreadable files are zero.
        unreadable : dict of int to str
            The reason for each row that could not be decoded.
        """
        images = np.zeros(self.shape, np.uint8)

        def work(index: int) -> str | None:
            store, name = self.files[index]
            try:
                images[index] = decode_image(store.read(name), self.channels, self.image_size)
            except UnreadableImageError as error:
                return str(error)
            return None

        reasons = map_indices(work, len(self), threads=threads, progress=progress)
        return images, {index: reason for index, reason in enumerate(reasons) if reason is not None}
