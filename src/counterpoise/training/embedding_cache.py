"""Cache of embeddings: one file of checked records, found by the content of the images."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
from filelock import FileLock

from counterpoise.exceptions import RunFolderError


class EmbeddingCache:
    """Embeddings of one network at one preprocessing, appended to a file as they are computed.

    A record is the key of an image (16 bytes), a checksum, and the embedding, float32 of shape (d,). Opening skips
    damaged records and cuts off an incomplete one, so an interruption costs at most one batch. Rows are read from disk
    on demand. Use it as a context manager: other processes wait for the file.

    Parameters
    ----------
    path : Path
        File, created where it does not exist.
    width : int
        Length d of an embedding.

    Examples
    --------
    >>> from tempfile import mkdtemp
    >>> path, keys = Path(mkdtemp()) / "rows.bin", np.array([b"a", b"b"], dtype="S16")
    >>> with EmbeddingCache(path, 3) as cache:
    ...     cache.append(keys, np.arange(6, dtype=np.float32).reshape(2, 3))
    >>> with EmbeddingCache(path, 3) as cache:
    ...     cache.missing(np.array([b"b", b"c"], dtype="S16")), cache.rows(keys[1:]).tolist()
    (array([1]), [[3.0, 4.0, 5.0]])
    """

    def __init__(self, path: Path, width: int) -> None:
        self.path = path
        self.record = np.dtype([("key", "S16"), ("checksum", "<u4"), ("row", "<f4", (width,))])
        self.positions: dict[bytes, int] = {}

    def __enter__(self) -> EmbeddingCache:
        with ExitStack() as stack, self._reported():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            stack.enter_context(FileLock(self.path.with_suffix(".lock")))
            # Unbuffered, so that closing the file after a failed write does not try it again.
            self._file = stack.enter_context(self.path.open("a+b", buffering=0))
            self._index()
            self._opened = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    def _index(self) -> None:
        """Find the good records, and cut off an incomplete one at the end."""
        count = self._file.seek(0, 2) // self.record.itemsize
        self._file.truncate(count * self.record.itemsize)
        self._file.seek(0)
        for position in range(count):
            (record,) = np.frombuffer(self._file.read(self.record.itemsize), dtype=self.record)
            if record["checksum"] == _checksum(record):
                self.positions[bytes(record["key"])] = position

    def missing(self, keys: np.ndarray) -> np.ndarray:
        """Return the indices of the first image of each key that has no embedding yet, int64."""
        unique, first = np.unique(keys, return_index=True)
        absent = [index for key, index in zip(unique, first, strict=True) if bytes(key) not in self.positions]
        return np.sort(np.asarray(absent, dtype=np.int64))

    def append(self, keys: np.ndarray, rows: np.ndarray) -> None:
        """Store the embeddings (N, d), float32, of the images with these keys (N,); RunFolderError if that fails."""
        records = np.empty(len(keys), dtype=self.record)
        records["key"], records["row"] = keys, rows
        records["checksum"] = [_checksum(record) for record in records]
        first = self._file.seek(0, 2) // self.record.itemsize
        content = memoryview(records.tobytes())
        with self._reported():
            while content:
                content = content[self._file.write(content) :]
        self.positions.update({bytes(key): first + i for i, key in enumerate(records["key"])})

    def rows(self, keys: np.ndarray) -> np.ndarray:
        """Return the embeddings of images that are all stored, float32 (N, d)."""
        positions = np.array([self.positions[bytes(key)] for key in keys], dtype=np.int64)
        if not len(positions):
            return np.empty((0, *self.record["row"].shape), dtype=np.float32)
        stored = np.memmap(self.path, dtype=self.record, mode="r")
        return np.ascontiguousarray(stored["row"][positions])

    @contextmanager
    def _reported(self) -> Iterator[None]:
        """Turn an OSError into a RunFolderError."""
        try:
            yield
        except OSError as error:
            raise RunFolderError(
                f"cannot write {self.path}: {error.strerror or error}; free some space or choose another `cache`"
            ) from error


def _checksum(record: np.void) -> int:
    # NumPy drops zero bytes at the end of a key.
    return zlib.crc32(record["row"].tobytes(), zlib.crc32(bytes(record["key"]).ljust(16, b"\0")))
