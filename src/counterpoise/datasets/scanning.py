"""Files become images: labeled ones of a listing, and unlabeled ones for prediction.

Every file is read once for its size, color mode and content key, and decoded later. An index remembers all three.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from struct import Struct
from typing import Literal, NamedTuple

import numpy as np

from counterpoise.datasets.decoding import (
    EXTENSIONS,
    Fit,
    ImageHeader,
    OnProgress,
    UnreadableImageError,
    ValueRange,
    check_fit,
    map_indices,
    read_header,
    read_value_range,
)
from counterpoise.datasets.images import (
    FileFacts,
    ImageDataset,
    ImageFile,
    ImageFiles,
    ImageSplit,
    SkippedFile,
    check_classes,
    content_key,
)
from counterpoise.datasets.layout import near_notes
from counterpoise.datasets.listing import (
    ListedFile,
    Listing,
    find_images,
    natural_key,
    readable_name,
    walk_folder,
    without_outputs,
)
from counterpoise.datasets.scan_index import recall, remember
from counterpoise.datasets.stores import FolderStore, ZipStore
from counterpoise.exceptions import DataError
from counterpoise.files import expand_user

_MEMORY_LIMIT = 256 * 2**20  # bytes of decoded images that ``in_memory="auto"`` keeps in memory
_LARGEST_SIDE = 224  # longest side of images that differ in size
_THREADS_PAY_OFF = 64 * 64  # pixels per image
_FACTS = Struct("<II???16s32s")  # an image's header, content key and stamp
_RANGE_SAMPLE = 500  # images whose values are looked at
_LEAST_UPPER_BYTE = 64  # 16-bit color files that stay below have at most 14 bits of data


class _Scanned(NamedTuple):
    entry: ListedFile
    facts: FileFacts
    header: ImageHeader
    key: bytes


def build_dataset(
    listing: Listing,
    *,
    image_size: tuple[int, int] | None = None,
    fit: Fit = "stretch",
    strict: bool = False,
    in_memory: bool | Literal["auto"] = "auto",
    value_range: ValueRange | Literal["auto"] | None = "auto",
    channels: int | None = None,
    progress: OnProgress | None = None,
) -> ImageDataset:
    """Build the dataset of a listing; see `load_dataset` for the options and errors."""
    # Scanning and decoding are two passes over the files, reported as one count.
    steps = 2 * len(listing.entries)
    scanned, unreadable = _scan(listing, _from(0, progress, steps))
    skipped = (*listing.skipped, *unreadable)
    if strict:
        refuse_skipped(listing.name, skipped)
    _check_readable_classes(listing, scanned, unreadable)
    size = image_size or choose_image_size([(item.facts.height, item.facts.width) for item in scanned])
    channels = channels or (1 if all(item.header.grayscale for item in scanned) else 3)
    if value_range == "auto":
        value_range = _value_range(listing, scanned)
    headers = [(item.entry.name, item.header) for item in scanned]
    notes = (*listing.notes, *_notes(headers, channels, value_range), *near_notes(listing.classes))
    parts: dict[str, list[_Scanned]] = {"train": [], "validation": [], "test": []}
    for item in scanned:
        parts[item.entry.split].append(item)
    if not parts["train"]:
        raise DataError(f"{listing.name} has no training images; mark some as train, or leave the split out")
    like = ImageFiles((), channels, size, fit, value_range)
    splits = {name: _lazy_split(listing, items, like) for name, items in parts.items() if items}
    in_order = (splits["train"], splits.get("validation"), splits.get("test"))
    dataset = ImageDataset(
        listing.name, listing.classes, channels, size, *in_order, skipped, fit, value_range, notes
    )
    check_classes(dataset)
    decoding = _from(steps - len(scanned), progress, steps)
    dataset = load_into_memory(dataset, in_memory, strict=strict, progress=decoding)
    check_classes(dataset)
    return dataset


def load_into_memory(
    dataset: ImageDataset,
    in_memory: bool | Literal["auto"],
    *,
    strict: bool = False,
    progress: OnProgress | None = None,
) -> ImageDataset:
    """Decode a dataset of files, if wanted; files that cannot be decoded join ``dataset.skipped``."""
    splits = dataset.splits
    total = sum(len(split) for split in splits.values())
    nbytes = total * dataset.channels * dataset.image_size[0] * dataset.image_size[1]
    if nbytes <= _MEMORY_LIMIT if in_memory == "auto" else in_memory:
        skipped = list(dataset.skipped)
        done = 0
        for name, split in splits.items():
            splits[name], failed = _decode_split(split, _from(done, progress, total))
            skipped += failed
            done += len(split)
        dataset = replace(dataset, skipped=tuple(skipped), **splits)  # type: ignore[arg-type]
    if strict:
        refuse_skipped(dataset.name, dataset.skipped)
    return dataset


def choose_image_size(sizes: list[tuple[int, int]]) -> tuple[int, int]:
    """Return the (height, width) of more than half of the images, if there is one of at most 224 pixels.

    Otherwise, images are resized to a square whose side is the median of the images' shorter sides, at most 224.

    Examples
    --------
    >>> choose_image_size([(480, 640), (100, 300), (9, 8)])
    (100, 100)
    """
    size, count = Counter(sizes).most_common(1)[0]
    if 2 * count > len(sizes) and max(size) <= _LARGEST_SIDE:
        return size
    side = min(int(np.median([min(size) for size in sizes])), _LARGEST_SIDE)
    return side, side


def _decode_split(split: ImageSplit, progress: OnProgress | None) -> tuple[ImageSplit, list[SkippedFile]]:
    """Decode a split of files, leaving out files that cannot be decoded."""
    files = split.images
    if not isinstance(files, ImageFiles):
        return split, []
    images, keys = np.zeros(files.shape, np.uint8), np.zeros(len(files), "S16")

    def decode(index: int) -> str | None:
        try:
            content = files.read_bytes(index)
            images[index], keys[index] = files.decode(content), content_key(content)
        except UnreadableImageError as error:
            return str(error)
        return None

    pixels = [fact.height * fact.width for fact in split.facts or ()]
    threads = not pixels or float(np.mean(pixels)) >= _THREADS_PAY_OFF
    reasons = map_indices(decode, len(split), threads=threads, progress=progress)
    failed = [SkippedFile(p, reason) for p, reason in zip(split.paths, reasons, strict=True) if reason]
    split = replace(split, images=images, keys=keys)
    if failed:
        split = split.subset([index for index, reason in enumerate(reasons) if reason is None])
    return split, failed


def _from(before: int, progress: OnProgress | None, total: int) -> OnProgress | None:
    """Return a callback that counts on from `before`."""
    return None if progress is None else lambda done, _: progress(before + done, total)


def _scan(listing: Listing, progress: OnProgress | None) -> tuple[list[_Scanned], list[SkippedFile]]:
    store, entries = listing.store, listing.entries
    versions = [store.version(entry.name) for entry in entries]
    known = {key: value for key, value in recall(versions).items() if len(value) == _FACTS.size}
    fresh: dict[str, bytes] = {}

    def inspect(index: int) -> _Scanned | SkippedFile:
        entry, version = entries[index], versions[index]
        if version in known:
            *values, key, stamp = _FACTS.unpack(known[version])
            header = ImageHeader(*values)
            facts = FileFacts(stamp.rstrip(b"\0").decode(), header.height, header.width)
            return _Scanned(entry, facts, header, key)
        try:
            content = store.read(entry.name)
            header = read_header(BytesIO(content))
            facts = FileFacts(store.stamp(entry.name, content), header.height, header.width)
        except (UnreadableImageError, OSError) as error:
            return SkippedFile(entry.name, getattr(error, "strerror", None) or str(error))
        key = content_key(content)
        if version:
            fresh[version] = _FACTS.pack(*header, key, facts.stamp.encode())
        return _Scanned(entry, facts, header, key)

    found = map_indices(inspect, len(entries), threads=False, progress=progress)
    remember(fresh)
    skipped = [item for item in found if isinstance(item, SkippedFile)]
    return [item for item in found if isinstance(item, _Scanned)], skipped


def refuse_skipped(name: str, skipped: Sequence[SkippedFile]) -> None:
    """Raise if there is a skipped file, naming the first."""
    if skipped:
        first = skipped[0]
        more = f" (and {len(skipped) - 1} more)" if len(skipped) > 1 else ""
        raise DataError(f"{name}: cannot use {first.path}: {first.reason}{more}; repair or remove it")


def _check_readable_classes(listing: Listing, scanned: list[_Scanned], unreadable: list[SkippedFile]) -> None:
    readable = {item.entry.label for item in scanned}
    for label in listing.classes:
        if label not in readable:
            names = {entry.name for entry in listing.entries if entry.label == label}
            first = next(item for item in unreadable if item.path in names)
            raise DataError(
                f"class {label!r} of {listing.name} has no readable image: {first.path}: {first.reason}; "
                "repair the files or take the class out"
            )


def _value_range(listing: Listing, scanned: list[_Scanned]) -> ValueRange | None:
    """Return the range of the values of 16-bit grayscale files, of the training images where there are some."""
    deep = [item for item in scanned if item.header.deep]
    deep = [item for item in deep if item.entry.split == "train"] or deep
    extremes: dict[bool, list[int]] = {True: [], False: []}
    for item in deep[:: -(-len(deep) // _RANGE_SAMPLE) or 1]:
        with suppress(UnreadableImageError):  # decoding names it
            extremes[item.header.grayscale] += read_value_range(listing.store.read(item.entry.name))
    of_gray, of_color = extremes[True], extremes[False]
    if of_color and max(of_color) < _LEAST_UPPER_BYTE:
        raise DataError(
            f"the 16-bit color files of {listing.name} hold values below {(max(of_color) + 1) * 256:,} of 65,536, and "
            "would be nearly black; save them with 8 bits, scaled alike"
        )
    return (min(of_gray), max(of_gray)) if of_gray else None


def _notes(
    headers: list[tuple[str, ImageHeader]], channels: int, value_range: ValueRange | None
) -> tuple[str, ...]:
    """Return sentences on files that are not read as they are."""
    low, high = value_range or (0, 65535)
    several = "hold several images (pages or frames); only the first of each is used"
    deep = f"have more than 8 bits; values {low:,} to {high:,} become black to white in all"
    gray = "are grayscale and fill all three channels alike; a model learns that, if only certain classes do"
    color = "are in color, and become gray (ITU-R 601)"
    found: dict[str, list[str]] = {several: [], deep: [], gray: [], color: []}
    for name, header in headers:
        found[several] += [name] * header.several
        found[deep] += [name] * (header.deep and header.grayscale)
        found[gray] += [name] * (header.grayscale and channels == 3)
        found[color] += [name] * (not header.grayscale and channels == 1)
    return tuple(
        f"{len(names):,} of {len(headers):,} files, such as {names[0]}, {what}."
        for what, names in found.items()
        if names
    )


def _lazy_split(listing: Listing, items: list[_Scanned], like: ImageFiles) -> ImageSplit:
    index_of = {label: index for index, label in enumerate(listing.classes)}
    files = tuple(ImageFile(listing.store, item.entry.name) for item in items)
    labels = np.array([index_of[item.entry.label] for item in items], dtype=np.int64)
    names, facts = tuple(file.name for file in files), tuple(item.facts for item in items)
    keys = np.array([item.key for item in items], dtype="S16")
    groups = np.array([item.entry.group for item in items])
    column = groups if any(entry.group for entry in listing.entries) else None
    return ImageSplit(replace(like, files=files), labels, names, facts, column, keys)


def read_images(
    inputs: str | Path | Iterable[str | Path],
    *,
    channels: int,
    image_size: tuple[int, int],
    fit: Fit = "stretch",
    value_range: ValueRange | None = None,
    strict: bool = False,
    progress: OnProgress | None = None,
) -> tuple[ImageFiles, tuple[str, ...], tuple[SkippedFile, ...]]:
    """Find the images among files, folders (searched recursively) and zips (read in place).

    Returns the readable images, in the order of the inputs and in natural order inside each; their paths, as given,
    followed by the name inside the folder or zip; and the files that are skipped. Inputs of another type, no readable
    image, or, under `strict`, any unreadable one raise DataError. A warning names files that are not read as they are.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> _ = (folder / "a.pgm").write_bytes(b"P2 2 1 255  0 255")
    >>> images, paths, skipped = read_images(folder, channels=1, image_size=(1, 2))
    >>> images[0].tolist(), Path(paths[0]).name, skipped
    ([[[0, 255]]], 'a.pgm', ())
    """
    check_fit(fit)
    sources = [inputs] if isinstance(inputs, (str, Path)) else list(inputs)
    found: list[tuple[str, ImageFile]] = []
    skipped: list[SkippedFile] = []
    for path, file in (item for source in sources for item in _find(expand_user(source))):
        if readable_name(path) == path:
            found.append((path, file))
        else:
            skipped.append(SkippedFile(readable_name(path), "its name is not valid UTF-8"))
    if not found:
        if skipped:
            refuse_skipped("none of the images is readable", skipped)
        raise DataError(f"no images in {', '.join(map(str, sources)) or 'an empty list'}; name some")

    def inspect(index: int) -> str | ImageHeader:
        store, name = found[index][1]
        try:
            with store.open(name) as file:
                return read_header(file)
        except UnreadableImageError as error:
            return str(error)

    headers = map_indices(inspect, len(found), threads=False, progress=progress)
    checked = list(zip(found, headers, strict=True))
    good = [item for item, header in checked if not isinstance(header, str)]
    skipped += [SkippedFile(path, header) for (path, _), header in checked if isinstance(header, str)]
    if strict or not good:
        refuse_skipped("strict" if good else "none of the images is readable", skipped)
    read = [(path, header) for (path, _), header in checked if not isinstance(header, str)]
    for note in _notes(read, channels, value_range):
        warnings.warn(note, stacklevel=2)
    images = ImageFiles(tuple(file for _, file in good), channels, image_size, fit, value_range)
    return images, tuple(path for path, _ in good), tuple(skipped)


def _find(path: Path) -> Iterator[tuple[str, ImageFile]]:
    if not path.exists():
        raise DataError(f"no such file or folder: {str(path)!r}")
    if path.is_dir() or path.suffix.lower() == ".zip":
        store = FolderStore(path) if path.is_dir() else ZipStore(path)
        names = without_outputs(store.names()) if isinstance(store, ZipStore) else walk_folder(path)[0]
        for name in sorted(find_images(store, names)[0], key=natural_key):
            yield str(path / name), ImageFile(store, name)
    elif path.suffix.lower() in EXTENSIONS or find_images(FolderStore(path.parent), [path.name])[0]:
        yield str(path), ImageFile(FolderStore(path.parent), path.name)
    else:
        raise DataError(f"{path} is no image, folder or zip; images end in {', '.join(sorted(EXTENSIONS))}")
