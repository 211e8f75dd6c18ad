"""Stores of image files: a folder, or a zip that is read in place."""

from __future__ import annotations

import os
import re
import zipfile
import zlib
from abc import ABC, abstractmethod
from io import BytesIO
from pathlib import Path
from typing import IO, NamedTuple

from counterpoise.datasets.decoding import UnreadableImageError
from counterpoise.exceptions import DataError

# Compressed images hardly shrink in a zip. It is a bomb if a member over 50 MB shrank by more than 200, or if all
# members together are over 1 GiB and shrank by more than 100.
_BOMB_MEMBER_BYTES, _BOMB_MEMBER_RATIO = 50_000_000, 200
_BOMB_TOTAL_BYTES, _BOMB_TOTAL_RATIO = 2**30, 100
_LARGEST_FILE = 2**29
_HEAD_BYTES = 16384
_TAIL_BYTES = 1024


class Store(ABC):
    """Files by name."""

    def read(self, name: str) -> bytes:
        """Return the content of a file."""
        with self.open(name) as file:
            return file.read()

    @abstractmethod
    def open(self, name: str) -> IO[bytes]:
        """Open a file for reading, seekable."""

    @abstractmethod
    def stamp(self, name: str) -> str:
        """Return a short text that depends on the file's content, without reading all of it."""


class FolderStore(Store):
    """Files on disk, named relative to a folder; absolute names are allowed."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def open(self, name: str) -> IO[bytes]:
        """Open a file for reading."""
        try:
            return (self.root / name).open("rb")
        except OSError as error:
            raise UnreadableImageError(error.strerror or str(error)) from error

    def stamp(self, name: str) -> str:
        """Return the size, and the checksum of both ends."""
        with self.open(name) as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(0)
            checksum = zlib.crc32(file.read(_HEAD_BYTES))
            file.seek(max(0, size - _TAIL_BYTES))
            return f"{size:x}-{zlib.crc32(file.read(), checksum):08x}"


class ZipStore(Store):
    """Files inside a zip; every process opens its own handle."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._opened: _OpenZip | None = None

    def __reduce__(self) -> tuple[type[ZipStore], tuple[Path]]:
        return ZipStore, (self.path,)

    def names(self) -> list[str]:
        """Return the names of all files and folders (these end in a slash).

        Raises DataError if the zip is damaged, encrypted, a bomb, or names files outside of itself.
        """
        opened = self._open()
        _check_members(self.path, opened.archive.infolist())
        return list(opened.members)

    def read(self, name: str) -> bytes:
        """Return the content of a file, after verifying its checksum."""
        opened = self._open()
        member = opened.members[name]
        if member.file_size > _LARGEST_FILE:
            raise UnreadableImageError(f"{member.file_size / 1e9:.1f} GB is too large for one image")
        try:
            return opened.archive.read(member)
        except (zipfile.BadZipFile, zlib.error, OSError, EOFError, RuntimeError) as error:
            raise UnreadableImageError(f"damaged inside the zip ({error})") from error

    def open(self, name: str) -> IO[bytes]:
        """Open a file for reading."""
        return BytesIO(self.read(name))

    def stamp(self, name: str) -> str:
        """Return the size and the checksum in the zip's directory."""
        member = self._open().members[name]
        return f"{member.file_size:x}-{member.CRC:08x}"

    def _open(self) -> _OpenZip:
        # A forked child shares the parent's file position, so a handle serves only the process that opened it.
        if self._opened is None or self._opened.process != os.getpid():
            try:
                archive = zipfile.ZipFile(self.path)
            except (zipfile.BadZipFile, EOFError, ValueError, NotImplementedError) as error:
                fault = f"is not a usable zip ({error}); pack it again or download it again"
                raise DataError(f"{self.path} {fault}") from error
            except OSError as error:
                raise DataError(f"cannot read {self.path}: {error.strerror or error}") from error
            # Some Windows programs write backslashes.
            members = {member.filename.replace("\\", "/"): member for member in archive.infolist()}
            self._opened = _OpenZip(os.getpid(), archive, members)
        return self._opened


class _OpenZip(NamedTuple):
    process: int
    archive: zipfile.ZipFile
    members: dict[str, zipfile.ZipInfo]


def _check_members(path: Path, members: list[zipfile.ZipInfo]) -> None:
    for member in members:
        name = member.filename.replace("\\", "/")
        if name.startswith("/") or ".." in name.split("/") or re.match(r"[A-Za-z]:", name):
            raise DataError(f"{path} names a file outside of itself ({member.filename!r}); it is not read")
        if member.flag_bits & 1:
            raise DataError(f"{path} is encrypted ({member.filename!r}); pack it again without a password")
        size, packed = member.file_size, member.compress_size
        if size > _BOMB_MEMBER_BYTES and size > _BOMB_MEMBER_RATIO * packed:
            raise DataError(
                f"{path} holds a zip bomb: {member.filename!r} would unpack from {packed:,} "
                f"to {size:,} bytes; it is not read"
            )
    total = sum(member.file_size for member in members)
    packed = sum(member.compress_size for member in members)
    if total > _BOMB_TOTAL_BYTES and total > _BOMB_TOTAL_RATIO * packed:
        raise DataError(
            f"{path} would unpack {packed / 1e6:.1f} MB to {total / 1e9:.1f} GB: that is a zip bomb; "
            "it is not read"
        )
