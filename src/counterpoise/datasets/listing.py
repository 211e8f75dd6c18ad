"""Classes and splits of image files in folders and zips of folders; those of tables are read in `tables`."""

from __future__ import annotations

import os
import re
import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from counterpoise.datasets.decoding import EXTENSIONS, SIGNATURE, UnreadableImageError
from counterpoise.datasets.images import SkippedFile
from counterpoise.datasets.layout import Layout, arrange, split_of
from counterpoise.datasets.stores import FolderStore, Store, ZipStore
from counterpoise.exceptions import DataError

#: Folders that systems make for themselves.
_HIDDEN = frozenset(
    {"__MACOSX", "@eaDir", "#recycle", "System Volume Information", "Thumbs.db", "ehthumbs.db", "desktop.ini"}
)
#: Name of an empty file beside the folders that images were sorted into.
SORTED = ".counterpoise-sorted"
#: Files by which a folder is known to hold what this package wrote, which is never read as images of a dataset.
_OUTPUTS = frozenset(
    {"run.json", "study.json", "fit.json", "transfer.json", "enhance.json", "explain.json", "reproduce.json"}
    | {"runs.jsonl", SORTED}
)


class ListedFile(NamedTuple):
    """Image file: its name in the store, its class, its split, and its group if a column has it."""

    name: str
    label: str
    split: str
    group: str = ""


@dataclass(frozen=True)
class Listing:
    """Image files of a source, not yet opened."""

    name: str
    store: Store
    entries: tuple[ListedFile, ...]  # sorted by split, class and name; for a CSV in its own order
    classes: tuple[str, ...]  # in natural order
    skipped: tuple[SkippedFile, ...] = ()
    notes: tuple[str, ...] = ()


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


def find_images(store: Store, names: Iterable[str]) -> tuple[list[str], list[str]]:
    """Return the names of images, by their ending or else by their first bytes, and of other files; none are hidden."""
    found: dict[bool, list[str]] = {True: [], False: []}
    for name in names:
        if not _is_hidden(name) and not name.endswith("/"):
            is_image, ending = False, _ending_of(name)
            with suppress(UnreadableImageError, OSError):
                is_image = ending in EXTENSIONS or (
                    not ending and SIGNATURE.match(store.head(name)) is not None
                )
            found[is_image].append(name)
    return found[True], found[False]


def _ending_of(name: str) -> str:
    """Return the ending of a file's name in lower case; numbers and words behind a dot are none."""
    suffix = PurePosixPath(name).suffix.lower()
    return suffix if suffix[1:].isalnum() and not suffix[1:].isdecimal() else ""


def _count_endings(names: Iterable[str], form: str) -> str:
    """Return the numbers of files by ending, in words, put into a `form`; nothing without files."""
    counts = Counter(_ending_of(name) or "without ending" for name in names).most_common()
    return form.format(", ".join(f"{count:,} {ending}" for ending, count in counts)) if counts else ""


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
    names = without_outputs(store.names())
    files = [name for name in names if not name.endswith("/")]
    folders = [name.rstrip("/") for name in names if name.endswith("/")]
    return _arrange(path.stem, str(path), store, files, folders)


def classes_of(entries: Iterable[ListedFile]) -> tuple[str, ...]:
    """Return the classes, in natural order."""
    return tuple(sorted({entry.label for entry in entries}, key=natural_key))


def without_outputs(names: Sequence[str]) -> list[str]:
    """Return the names in a zip without those in folders that this package wrote, but for one that holds them all.

    Examples
    --------
    >>> without_outputs(["cat/1.png", "explain/explain.json", "explain/map.png"])
    ['cat/1.png']
    """
    found = {name.rpartition("/")[0] for name in names if name.rpartition("/")[2] in _OUTPUTS}
    marked = {f"{top}/" for top in found if top and not all(name.startswith(f"{top}/") for name in names)}
    return [name for name in names if not name.startswith(tuple(marked))]


def walk_folder(path: Path) -> tuple[list[str], list[str]]:
    """Return the relative POSIX names of all files and folders below `path`; each link is followed once."""
    files: list[str] = []
    folders: list[str] = []
    seen = set()

    def fail(error: OSError) -> None:
        raise DataError(f"cannot read {error.filename}: {error.strerror}") from error

    for base, below, names in os.walk(path, followlinks=True, onerror=fail):
        real = os.path.realpath(base)
        prefix = PurePosixPath(Path(base).relative_to(path).as_posix())
        if real in seen or (base != str(path) and not _OUTPUTS.isdisjoint(names)):
            below.clear()
            folders = [name for name in folders if name != str(prefix)]
            if real in seen and not os.path.realpath(path).startswith(real):
                warnings.warn(f"{base} is a link to a folder that is read under another name", stacklevel=4)
            continue
        seen.add(real)
        below[:] = sorted(name for name in below if not _is_hidden(name))
        folders += [str(prefix / name) for name in below]
        files += [str(prefix / name) for name in names]
    return files, folders


def _is_hidden(name: str) -> bool:
    parts = PurePosixPath(name).parts
    return any(part.startswith((".", "$RECYCLE")) or part in _HIDDEN for part in parts)


def _arrange(name: str, source: str, store: Store, files: Iterable[str], folders: Iterable[str]) -> Listing:
    """Read classes and splits from the names of files and folders."""
    skipped = []
    images: list[tuple[str, ...]] = []
    found, others = find_images(store, files)
    for file in found:
        if readable_name(file) == file:
            images.append(tuple(file.split("/")))
        else:
            skipped.append(SkippedFile(readable_name(file), "its name is not valid UTF-8; rename it"))
    if not images:
        reason = f" ({skipped[0].path}: {skipped[0].reason})" if skipped else ""
        reason = reason or _count_endings(others, " ({})")
        raise DataError(f"{source} holds no images{reason}; expected a folder of images for each class")
    layout = arrange(images)
    skipped += [SkippedFile("/".join(parts), "is in no class folder") for parts in layout.astray]
    if not layout.entries:
        raise DataError(f"the images of {source} are in no class folders; expected one folder for each class")
    _check_layout(source, layout, folders, others)
    entries = [ListedFile("/".join(parts), label, split) for parts, label, split in layout.entries]
    entries.sort(key=lambda entry: (entry.split, natural_key(entry.label), natural_key(entry.name)))
    size = len(layout.top) + layout.has_splits + 1
    places = {parts[:size] for parts, _, _ in layout.entries}
    beside = [other for other in others if tuple(other.split("/")[:size]) in places]
    note = _count_endings(beside, "Files in class folders that are no images are left out: {}")
    notes = (f"{note}, such as {readable_name(min(beside))}.",) if beside else ()
    return Listing(name, store, tuple(entries), classes_of(entries), tuple(skipped), notes)


def _check_layout(source: str, layout: Layout, folders: Iterable[str], others: Sequence[str]) -> None:
    """Refuse splits without training images; warn of folders that are left out, and of doubtful classes."""
    if layout.beside:
        shown = ", ".join(f"{folder} ({count} images)" for folder, count in sorted(layout.beside.items()))
        warnings.warn(f"{source}: ignored beside train: {shown}", stacklevel=5)
    visible = [f for f in folders if not _is_hidden(f) and readable_name(f) == f]
    for folder in map("/".join, layout.classes_without_images(tuple(f.split("/")) for f in visible)):
        shown = _count_endings((other for other in others if other.startswith(f"{folder}/")), " ({})")
        warnings.warn(
            f"class folder {folder} of {source} holds no images{shown}; it is left out", stacklevel=5
        )
    classes = {label for _, label, _ in layout.entries}
    if not layout.has_splits and len(classes) > 1 and all(map(split_of, classes)):
        found = " and ".join(sorted(classes))
        raise DataError(
            f"{source} holds {found}, but no training images; rename one to train, or give one of the folders"
        )
    if repeated := layout.repeated_folders():
        shown = ", ".join(repeated[:3]) + (", ..." if len(repeated) > 3 else "")
        warnings.warn(
            f"{source}: every class holds the same folders ({shown}); if these are the classes, move them to the top",
            stacklevel=5,
        )
