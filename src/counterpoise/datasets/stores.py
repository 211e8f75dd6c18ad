"""Stores of image files: a folder, a zip that is read in place, or memory."""

from __future__ import annotations

import lzma
import os
import re
import warnings
import zipfile
import zlib
from abc import ABC, abstractmethod
from io import BytesIO
from pathlib import Path
from typing import IO, NamedTuple

from counterpoise.datasets.decoding import UnreadableImageError
from counterpoise.datasets.scan_index import file_version
from counterpoise.exceptions import DataError, InputError
from counterpoise.files import check_file

# Compressed images hardly shrink in a zip. It is a bomb if a member over 50 MB shrank by more than 200, or if all
# members together are over 1 GiB and shrank by more than 100.
_BOMB_MEMBER_BYTES, _BOMB_MEMBER_RATIO = 50_000_000, 200
_BOMB_TOTAL_BYTES, _BOMB_TOTAL_RATIO = 2**30, 100
_LARGEST_FILE = 2**29
_HEAD_BYTES = 16384
_TAIL_BYTES = 1024
_UTF8 = 0x800  # flag of a member whose name is UTF-8


class Store(ABC):
    """Files by name."""

    def read(self, name: str) -> bytes:
        """Return the content of a file."""
        with self.open(name) as file:
            return file.read()

    def head(self, name: str) -> bytes:
        """Return the first bytes of a file."""
        with self.open(name) as file:
            return file.read(16)

    @abstractmethod
    def open(self, name: str) -> IO[bytes]:
        """Open a file for reading, seekable."""

    @abstractmethod
    def stamp(self, name: str, content: bytes | None = None) -> str:
        """Return a short text that depends on the content, given or read; fingerprints are made of it."""

    def version(self, name: str) -> str | None:
        """Return a text that every change of a file changes, or None where there is none."""
        return None


class FolderStore(Store):
    """Files on disk, named relative to a folder; absolute names are allowed."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def __reduce__(self) -> tuple[type[FolderStore], tuple[Path]]:
        return FolderStore, (self.root.absolute(),)  # another process may work in another folder

    def open(self, name: str) -> IO[bytes]:
        """Open a file for reading."""
        try:
            return check_file(self.root / name).open("rb")
        except OSError as error:
            raise UnreadableImageError(error.strerror or str(error)) from error
        except InputError:
            raise UnreadableImageError("is no file, but a pipe or device") from None

    def stamp(self, name: str, content: bytes | None = None) -> str:
        """Return the size, and the checksum of both ends."""
        content = self.read(name) if content is None else content
        checksum = zlib.crc32(content[-_TAIL_BYTES:], zlib.crc32(content[:_HEAD_BYTES]))
        return f"{len(content):x}-{checksum:08x}"

    def version(self, name: str) -> str | None:
        """Return the absolute path, size, times and number of the file."""
        return file_version(self.root.absolute() / name)


class ZipStore(Store):
    """Files inside a zip; every process opens its own handle."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._opened: _OpenZip | None = None

    def __reduce__(self) -> tuple[type[ZipStore], tuple[Path]]:
        return ZipStore, (self.path.absolute(),)

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
        except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, OSError, EOFError, RuntimeError) as error:
            raise UnreadableImageError(f"damaged inside the zip ({error})") from error

    def open(self, name: str) -> IO[bytes]:
        """Open a file for reading."""
        return BytesIO(self.read(name))

    def stamp(self, name: str, content: bytes | None = None) -> str:
        """Return the size and the checksum in the zip's directory."""
        member = self._open().members[name]
        return f"{member.file_size:x}-{member.CRC:08x}"

    def version(self, name: str) -> str | None:
        """Return that of the zip, with the file's name and checksum."""
        version = file_version(self.path.absolute())
        return version and f"{version}|{name}|{self._open().members[name].CRC:08x}"

    def _open(self) -> _OpenZip:
        # A forked child shares the parent's file position, so a handle serves only the process that opened it.
        if self._opened is None or self._opened.process != os.getpid():
            check_file(self.path)
            try:
                archive = zipfile.ZipFile(self.path)
            except (zipfile.BadZipFile, EOFError, ValueError, NotImplementedError) as error:
                fault = f"is not a usable zip ({error}); pack it again or download it again"
                raise DataError(f"{self.path} {fault}") from error
            except OSError as error:
                raise DataError(f"cannot read {self.path}: {error.strerror or error}") from error
            members = {_member_name(member): member for member in archive.infolist()}
            self._opened = _OpenZip(os.getpid(), archive, members)
        return self._opened


class MemoryStore(Store):
    """Contents of files of another store, each with its stamp there, by name."""

    def __init__(self) -> None:
        self.files: dict[str, tuple[bytes, str]] = {}

    def open(self, name: str) -> IO[bytes]:
        """Open a file for reading."""
        return BytesIO(self.files[name][0])

    def stamp(self, name: str, content: bytes | None = None) -> str:
        """Return the stamp of the file in its own store."""
        return self.files[name][1]


def _member_name(member: zipfile.ZipInfo) -> str:
    """Return the name of a member; many programs write UTF-8 without saying so, and some write backslashes."""
    name = member.filename
    if not member.flag_bits & _UTF8 and not name.isascii():
        try:
            name = name.encode("cp437").decode("utf-8")
        except UnicodeError:
            warnings.warn(  # the same words for every name, so that they are said once
                "the zip does not say how its names are encoded; those beyond ASCII may read wrongly",
                stacklevel=6,
            )
    return name.replace("\\", "/")


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
