"""Classes and splits of image files: folders, zips of folders, and CSV files."""

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

#: Split by the name of its folder, in lower case.
SPLIT_NAMES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}
_CSV_COLUMNS = ("path", "label", "split")


class ListedFile(NamedTuple):
    """Image file: its name in the store, its class and its split."""

    name: str
    label: str
    split: str


@dataclass(frozen=True)
class Listing:
    """Image files of a source, not yet opened."""

    name: str
    store: Store
    entries: tuple[ListedFile, ...]  # sorted by split, class and name; for a CSV in its own order
    classes: tuple[str, ...]  # in natural order
    skipped: tuple[SkippedFile, ...] = ()


def natural_key(text: str) -> tuple[tuple[int, int, str], ...]:
    """Return a sorting key under which ``class2`` comes before ``class10``.

    Examples
    --------
    >>> sorted(["class10", "class2", "Class1"], key=natural_key)
    ['Class1', 'class2', 'class10']
    """
    parts = re.findall(r"[0-9]+|[^0-9]+", text.casefold())
    key = [(0, int(part), "") if part[0] in "0123456789" else (1, 0, part) for part in parts]
    return (*key, (2, 0, text))


def is_image_name(name: str) -> bool:
    """Return whether a relative name is that of an image that is not hidden.

    Examples
    --------
    >>> is_image_name("train/cat/1.JPG"), is_image_name("__MACOSX/1.jpg"), is_image_name("cat/notes.txt")
    (True, False, False)
    """
    return PurePosixPath(name).suffix.lower() in EXTENSIONS and not _is_hidden(name)


def readable_name(name: str) -> str:
    """Return a file's name as valid UTF-8; other bytes become ``?``."""
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
    """List the images in the columns ``path,label[,split]`` of a CSV; paths are relative to its folder."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            entries = tuple(_read_rows(path, csv.reader(file)))
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text; save it as CSV UTF-8") from error
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    if not entries:
        raise DataError(f"{path} lists no images; expected a line path,label[,split] for each")
    return Listing(path.stem, FolderStore(path.parent), entries, _classes(entries))


def _classes(entries: Iterable[ListedFile]) -> tuple[str, ...]:
    return tuple(sorted({entry.label for entry in entries}, key=natural_key))


def walk_folder(path: Path) -> tuple[list[str], list[str]]:
    """Return the relative POSIX names of all files and folders below `path`; each link is followed once."""
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
    skipped = []
    images: list[tuple[str, ...]] = []
    for file in filter(is_image_name, files):
        if readable_name(file) == file:
            images.append(tuple(file.split("/")))
        else:
            skipped.append(SkippedFile(readable_name(file), "its name is not valid UTF-8; rename it"))
    if not images:
        raise DataError(f"{source} holds no images; expected a folder of images for each class")
    top = _common_top(images)
    images = [parts[len(top) :] for parts in images]
    visible = [tuple(folder.split("/")) for folder in folders if not _is_hidden(folder)]
    below = {parts[len(top) :] for parts in visible if parts[: len(top)] == top and len(parts) > len(top)}
    with_splits = _has_splits(images)
    unexpected = Counter(parts[0] for parts in images if parts[0].lower() not in SPLIT_NAMES)
    if with_splits and unexpected:
        shown = ", ".join(f"{folder} ({count} images)" for folder, count in sorted(unexpected.items()))
        warnings.warn(f"{source}: ignored beside train: {shown}", stacklevel=5)
    depth = 1 if with_splits else 0
    entries = []
    for parts in images:
        full_name = "/".join(top + parts)
        if with_splits and parts[0].lower() not in SPLIT_NAMES:
            continue
        if len(parts) < depth + 2:
            skipped.append(SkippedFile(full_name, "is in no class folder"))
            continue
        split = SPLIT_NAMES[parts[0].lower()] if with_splits else "train"
        entries.append(ListedFile(full_name, parts[depth], split))
    if not entries:
        raise DataError(f"the images of {source} are in no class folders; expected one folder for each class")
    classes = _classes(entries)
    for parts in sorted(below):
        trained = not with_splits or SPLIT_NAMES.get(parts[0].lower()) == "train"
        if trained and len(parts) == depth + 1 and parts[-1] not in classes:
            folder = "/".join(parts)
            raise DataError(f"class folder {folder} of {source} holds no images; add some or remove it")
    entries.sort(key=lambda entry: (entry.split, natural_key(entry.label), natural_key(entry.name)))
    return Listing(name, store, tuple(entries), classes, tuple(skipped))


def _common_top(images: list[tuple[str, ...]]) -> tuple[str, ...]:
    """Return the folders above the classes or splits that all images share."""
    top: tuple[str, ...] = ()
    while True:
        rest = [parts[len(top) :] for parts in images]
        first = {parts[0] for parts in rest}
        # A single class folder holds images directly; a single train/ is a split.
        if len(first) > 1 or min(len(parts) for parts in rest) < 3 or _has_splits(rest):
            return top
        top += (rest[0][0],)


def _has_splits(images: list[tuple[str, ...]]) -> bool:
    """Return whether there is a train folder of class folders; one of images is a class of trains."""
    depths = [len(parts) for parts in images if SPLIT_NAMES.get(parts[0].lower()) == "train"]
    return sum(depth >= 3 for depth in depths) > sum(depth == 2 for depth in depths)


def _read_rows(path: Path, reader: csv._reader) -> Iterator[ListedFile]:  # type: ignore[name-defined]
    header: list[str] = []
    seen: dict[str, int] = {}
    try:
        for row in reader:
            cells = [cell.strip() for cell in row]
            where = f"{path}, line {reader.line_num}"
            if not any(cells):
                continue
            if not header:
                header = cells
                _check_header(where, header)
                continue
            if len(cells) != len(header):
                raise DataError(f"{where}: found {len(cells)} cells, expected {len(header)}")
            file = _listed_file(where, path.parent, dict(zip(header, cells, strict=True)))
            if file.name in seen:
                line = seen[file.name]
                raise DataError(f"{where}: {file.name} is already named on line {line}; name each image once")
            seen[file.name] = reader.line_num
            yield file
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: {error}") from error
    if not header:
        raise DataError(f"{path} is empty; expected the columns path,label and optionally split")


def _check_header(where: str, header: list[str]) -> None:
    faults = [f"unknown column {column!r}" for column in header if column not in _CSV_COLUMNS]
    faults += [f"column {column!r} is missing" for column in _CSV_COLUMNS[:2] if column not in header]
    faults += ["a column is named twice"] if len(set(header)) < len(header) else []
    if faults:
        raise DataError(f"{where}: {faults[0]}; expected path,label[,split]")


def _listed_file(where: str, folder: Path, row: dict[str, str]) -> ListedFile:
    for column in ("path", "label"):
        if not row[column]:
            raise DataError(f"{where}: the {column} is empty")
    name = row["path"].replace("\\", "/")
    split = row.get("split", "").lower()
    if "split" in row and split not in SPLIT_NAMES:
        raise DataError(f"{where}: unknown split {row['split']!r}; expected train, val or test")
    if not (folder / name).is_file():
        raise DataError(f"{where}: no file {row['path']} (paths are relative to {folder})")
    return ListedFile(name, row["label"], SPLIT_NAMES[split] if split else "train")
