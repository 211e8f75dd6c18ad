"""Which image belongs to which class and split: folders, zips of folders, and CSV files."""

from __future__ import annotations

import csv
import os
import re
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from counterpoise.datasets.decoding import EXTENSIONS
from counterpoise.datasets.images import SkippedFile
from counterpoise.datasets.stores import FolderStore, Store, ZipStore
from counterpoise.exceptions import DataError

#: What a split's folder may be called, in lower case.
SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
    "testing": "test",
}
_CSV_COLUMNS = ("path", "label", "split")


class ListedFile(NamedTuple):
    """One image file: its name in the store, its class and its split."""

    name: str
    label: str
    split: str


@dataclass(frozen=True)
class Listing:
    """All image files of a source, not yet opened.

    Parameters
    ----------
    name : str
        The data set's name.
    store : Store
        What reads the files.
    entries : tuple of ListedFile
        Sorted by split, class and name; for a CSV in its own order.
    classes : tuple of str
        Class names in natural order.
    skipped : tuple of SkippedFile
        Image files that lie outside of any class folder.
    """

    name: str
    store: Store
    entries: tuple[ListedFile, ...]
    classes: tuple[str, ...]
    skipped: tuple[SkippedFile, ...] = ()


def natural_key(text: str) -> tuple[tuple[int, int, str], ...]:
    """Return a sorting key under which ``class2`` comes before ``class10``.

    Examples
    --------
    >>> sorted(["class10", "class2", "Class1"], key=natural_key)
    ['Class1', 'class2', 'class10']
    """
    pieces = re.findall(r"[0-9]+|[^0-9]+", text.casefold())
    key = [(0, int(piece), "") if piece[0] in "0123456789" else (1, 0, piece) for piece in pieces]
    return (*key, (2, 0, text))


def is_image_name(name: str) -> bool:
    """Tell whether a relative name is that of an image that is not hidden.

    Examples
    --------
    >>> is_image_name("train/cat/1.JPG"), is_image_name("__MACOSX/1.jpg"), is_image_name("cat/notes.txt")
    (True, False, False)
    """
    return PurePosixPath(name).suffix.lower() in EXTENSIONS and not _is_hidden(name)


def readable_name(name: str) -> str:
    """Return a file's name as text that any report can hold; bytes that are no UTF-8 become ``?``."""
    return name.encode("utf-8", "replace").decode("utf-8")


def list_folder(path: Path) -> Listing:
    """List the images of a folder of class folders, optionally under train/, validation/ and test/."""
    names, folders = walk_folder(path)
    return _arrange(path.resolve().name, str(path), FolderStore(path), names, folders)


def list_zip(path: Path) -> Listing:
    """List the images of a zip of class folders, without unpacking it."""
    store = ZipStore(path)
    names = store.names()
    files = [name for name in names if not name.endswith("/")]
    folders = [name.rstrip("/") for name in names if name.endswith("/")]
    return _arrange(path.stem, str(path), store, files, folders)


def list_csv(path: Path) -> Listing:
    """List the images named by the columns ``path,label[,split]`` of a CSV, relative to the CSV's folder.

    Raises
    ------
    DataError
        Naming the line: an unknown or missing column, a missing file, an empty or bad cell, a file named
        twice.
    """
    entries = tuple(_read_csv(path))
    if not entries:
        raise DataError(f"{path} lists no images; expected a line path,label[,split] for each")
    classes = tuple(sorted({entry.label for entry in entries}, key=natural_key))
    return Listing(path.stem, FolderStore(path.parent), entries, classes)


def walk_folder(path: Path) -> tuple[list[str], list[str]]:
    """Return the relative POSIX names of all files and folders below `path`; links are followed once."""
    files: list[str] = []
    folders: list[str] = []
    seen = set()

    def fail(error: OSError) -> None:
        raise DataError(f"cannot read {error.filename}: {error.strerror}") from error

    for base, below, names in os.walk(path, followlinks=True, onerror=fail):
        real = os.path.realpath(base)
        if real in seen:
            below.clear()
            continue
        seen.add(real)
        prefix = PurePosixPath(Path(base).relative_to(path).as_posix())
        below[:] = sorted(name for name in below if not _is_hidden(name))
        folders += [str(prefix / name) for name in below]
        files += [str(prefix / name) for name in names]
    return files, folders


def _is_hidden(name: str) -> bool:
    return any(part.startswith(".") or part == "__MACOSX" for part in PurePosixPath(name).parts)


def _arrange(name: str, source: str, store: Store, files: Iterable[str], folders: Iterable[str]) -> Listing:
    """Read classes and splits from the names of files and folders."""
    named = [file for file in files if is_image_name(file)]
    skipped = [
        SkippedFile(readable_name(file), "its name is not valid UTF-8; rename it")
        for file in named
        if readable_name(file) != file
    ]
    images = [tuple(file.split("/")) for file in named if readable_name(file) == file]
    if not images:
        raise DataError(f"{source} holds no images; expected a folder of images for each class")
    top = _common_top(images)
    images = [parts[len(top) :] for parts in images]
    empty_ok = [tuple(folder.split("/")) for folder in folders if not _is_hidden(folder)]
    below = {parts[len(top) :] for parts in empty_ok if parts[: len(top)] == top and len(parts) > len(top)}
    with_splits = _has_splits(images)
    if with_splits:
        _warn_of_strangers(source, images)
    depth = 1 if with_splits else 0
    entries = []
    for parts in images:
        full_name = "/".join(top + parts)
        if with_splits and parts[0].lower() not in SPLIT_NAMES:
            continue
        if len(parts) < depth + 2:
            skipped.append(SkippedFile(full_name, "lies in no class folder"))
            continue
        split = SPLIT_NAMES[parts[0].lower()] if with_splits else "train"
        entries.append(ListedFile(full_name, parts[depth], split))
    if not entries:
        raise DataError(f"the images of {source} lie in no class folders; expected one folder for each class")
    _check_no_empty_class(source, entries, below, with_splits)
    entries.sort(key=lambda entry: (entry.split, natural_key(entry.label), natural_key(entry.name)))
    classes = tuple(sorted({entry.label for entry in entries}, key=natural_key))
    return Listing(name, store, tuple(entries), classes, tuple(skipped))


def _common_top(images: list[tuple[str, ...]]) -> tuple[str, ...]:
    """Return the folders that everything lies under, above the classes or splits."""
    top: tuple[str, ...] = ()
    while True:
        rest = [parts[len(top) :] for parts in images]
        first = {parts[0] for parts in rest}
        # A lone class holds images directly; a lone train/ is a split.
        if len(first) > 1 or min(len(parts) for parts in rest) < 3 or _has_splits(rest):
            return top
        top += (rest[0][0],)


def _has_splits(images: list[tuple[str, ...]]) -> bool:
    """Tell whether there is a train folder of folders; one that holds images itself is a class of trains."""
    depths = [len(parts) for parts in images if SPLIT_NAMES.get(parts[0].lower()) == "train"]
    return sum(depth >= 3 for depth in depths) > sum(depth == 2 for depth in depths)


def _warn_of_strangers(source: str, images: list[tuple[str, ...]]) -> None:
    strangers = Counter(parts[0] for parts in images if parts[0].lower() not in SPLIT_NAMES)
    if strangers:
        shown = ", ".join(f"{name} ({count} images)" for name, count in sorted(strangers.items()))
        warnings.warn(f"{source}: ignored beside train: {shown}", stacklevel=5)


def _check_no_empty_class(
    source: str, entries: list[ListedFile], folders: set[tuple[str, ...]], with_splits: bool
) -> None:
    known = {entry.label for entry in entries}
    for parts in sorted(folders):
        if with_splits and SPLIT_NAMES.get(parts[0].lower()) != "train":
            continue
        if len(parts) == (2 if with_splits else 1) and parts[-1] not in known:
            raise DataError(
                f"class folder {'/'.join(parts)} of {source} holds no images; add some or remove it"
            )


def _read_csv(path: Path) -> Iterator[ListedFile]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield from _read_rows(path, csv.reader(file))
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text; save it as CSV UTF-8") from error
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error


class _Rows:
    """The rows of a CSV with their line numbers; a broken one becomes a DataError."""

    def __init__(self, path: Path, reader: csv._reader) -> None:  # type: ignore[name-defined]
        self.path, self.reader = path, reader

    def __iter__(self) -> Iterator[tuple[int, list[str]]]:
        try:
            for row in self.reader:
                if any(cell.strip() for cell in row):
                    yield self.reader.line_num, [cell.strip() for cell in row]
        except csv.Error as error:
            raise DataError(f"{self.path}, line {self.reader.line_num}: {error}") from error


def _read_rows(path: Path, reader: csv._reader) -> Iterator[ListedFile]:  # type: ignore[name-defined]
    rows = iter(_Rows(path, reader))
    number, header = next(rows, (1, []))
    if not header:
        raise DataError(f"{path} is empty; expected the columns path,label and optionally split")
    _check_header(path, number, header)
    seen: dict[str, int] = {}
    for number, row in rows:
        if len(row) != len(header):
            raise DataError(f"{path}, line {number}: found {len(row)} cells, expected {len(header)}")
        yield _entry(path, number, dict(zip(header, row, strict=True)), seen)


def _check_header(path: Path, number: int, header: list[str]) -> None:
    for column in header:
        if column not in _CSV_COLUMNS:
            raise DataError(f"{path}, line {number}: unknown column {column!r}; expected path,label[,split]")
    for column in _CSV_COLUMNS[:2]:
        if column not in header:
            raise DataError(
                f"{path}, line {number}: column {column!r} is missing; expected path,label[,split]"
            )
    if len(set(header)) != len(header):
        raise DataError(f"{path}, line {number}: a column is named twice; expected path,label[,split]")


def _entry(path: Path, number: int, row: dict[str, str], seen: dict[str, int]) -> ListedFile:
    where = f"{path}, line {number}"
    name = row["path"].replace("\\", "/")
    for column in ("path", "label"):
        if not row[column]:
            raise DataError(f"{where}: the {column} is empty")
    split = row.get("split", "").lower()
    if "split" in row and split not in SPLIT_NAMES:
        raise DataError(f"{where}: unknown split {row['split']!r}; expected train, val or test")
    if name in seen:
        raise DataError(f"{where}: {row['path']} is already named on line {seen[name]}; name each image once")
    if not (path.parent / name).is_file():
        raise DataError(f"{where}: no file {row['path']} (paths are relative to {path.parent})")
    seen[name] = number
    return ListedFile(name, row["label"], SPLIT_NAMES[split] if split else "train")
