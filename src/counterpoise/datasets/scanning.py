"""Open every listed file once: which are images, how large, grey or colour; then build the data set."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from counterpoise.datasets.decoding import ImageHeader, UnreadableImageError, read_header
from counterpoise.datasets.image_files import ImageFile, ImageFiles
from counterpoise.datasets.images import FileFacts, ImageDataset, ImageSplit, SkippedFile, check_classes
from counterpoise.datasets.listing import ListedFile, Listing
from counterpoise.datasets.parallel import OnProgress, map_indices
from counterpoise.exceptions import DataError

#: Decoded images up to this many bytes are kept in memory by ``in_memory="auto"``.
MEMORY_LIMIT = 2 * 2**30

#: The longest side of images whose size the files do not settle.
LARGEST_SIDE = 224

_THREADS_PAY_OFF = 64 * 64  # pixels per image


@dataclass(frozen=True)
class _Scanned:
    entry: ListedFile
    header: ImageHeader
    facts: FileFacts


def build_dataset(
    listing: Listing,
    *,
    image_size: tuple[int, int] | None = None,
    strict: bool = False,
    in_memory: bool | Literal["auto"] = "auto",
    progress: OnProgress | None = None,
) -> ImageDataset:
    """Read what `listing` names.

    Parameters
    ----------
    listing : Listing
        Files with their classes and splits.
    image_size : (int, int), optional
        (height, width) in pixels; by default see `choose_image_size`.
    strict : bool
        Whether a file that cannot be read is an error rather than left out and reported.
    in_memory : bool or "auto"
        Whether to decode now. "auto" does up to 2 GiB of decoded pixels.
    progress : callable, optional
        Called with (done, total), counting each reading of a file.

    Raises
    ------
    DataError
        If there is nothing to classify, or a file is unreadable under `strict`.
    """
    steps = _Steps(len(listing.entries), progress)
    scanned, unreadable = _scan(listing, steps)
    skipped = (*listing.skipped, *unreadable)
    if strict:
        refuse_skipped(listing.name, skipped)
    _check_survivors(listing, scanned, unreadable)
    headers = [item.header for item in scanned]
    size = choose_image_size(headers) if image_size is None else image_size
    channels = 1 if all(header.grey for header in headers) else 3
    splits = {}
    for name in ("train", "validation", "test"):
        split = _lazy_split(listing, [item for item in scanned if item.entry.split == name], channels, size)
        splits[name] = split if len(split) else None
    train = splits.pop("train")
    if train is None:
        raise DataError(f"{listing.name} has no training images; mark some as train, or leave the split out")
    dataset = ImageDataset(listing.name, listing.classes, channels, size, train, skipped=skipped, **splits)
    check_classes(dataset)
    dataset = materialise(dataset, in_memory, steps.follow)
    if strict:
        refuse_skipped(listing.name, dataset.skipped)
    check_classes(dataset)
    return dataset


def materialise(
    dataset: ImageDataset, in_memory: bool | Literal["auto"], progress: OnProgress | None = None
) -> ImageDataset:
    """Decode a data set of files into memory, if wanted; what cannot be decoded joins ``dataset.skipped``."""
    splits = dataset.splits
    total = sum(len(split) for split in splits.values())
    nbytes = total * dataset.channels * dataset.image_size[0] * dataset.image_size[1]
    if not (nbytes <= MEMORY_LIMIT if in_memory == "auto" else in_memory):
        return dataset
    skipped = list(dataset.skipped)
    done = 0
    for name, split in splits.items():

        def update(step: int, _: int, before: int = done) -> None:
            if progress is not None:
                progress(before + step, total)

        splits[name], failed = decode_split(split, progress=update)
        skipped += failed
        done += len(split)
    return replace(dataset, skipped=tuple(skipped), **splits)  # type: ignore[arg-type]


def choose_image_size(headers: list[ImageHeader]) -> tuple[int, int]:
    """Return the (height, width) that images are brought to.

    If more than half of them share one size whose sides are at most 224 pixels, it is that size. Otherwise it
    is a square with the median of the images' shorter sides, at most 224, as side.

    Examples
    --------
    >>> choose_image_size([ImageHeader(28, 20, True)] * 3 + [ImageHeader(1, 1, True)])
    (28, 20)
    >>> sizes = [(480, 640), (100, 300), (9, 8)]
    >>> choose_image_size([ImageHeader(*size, False) for size in sizes])
    (100, 100)
    """
    sizes = Counter((header.height, header.width) for header in headers)
    size, count = sizes.most_common(1)[0]
    if 2 * count > len(headers) and max(size) <= LARGEST_SIDE:
        return size
    side = int(np.median([min(header.height, header.width) for header in headers]))
    return (min(side, LARGEST_SIDE), min(side, LARGEST_SIDE))


def decode_split(
    split: ImageSplit, *, progress: OnProgress | None = None
) -> tuple[ImageSplit, list[SkippedFile]]:
    """Decode a split of files into memory, leaving out what cannot be decoded."""
    if not isinstance(split.images, ImageFiles):
        return split, []
    pixels = [fact.height * fact.width for fact in split.facts or ()]
    threads = not pixels or float(np.mean(pixels)) >= _THREADS_PAY_OFF
    images, reasons = split.images.decode(threads=threads, progress=progress)
    failed = [SkippedFile(split.paths[index], reason) for index, reason in reasons.items()]
    split = replace(split, images=images)
    if failed:
        split = split.subset([index for index in range(len(images)) if index not in reasons])
    return split, failed


class _Steps:
    """Reports the scan and the decoding that may follow it as one count."""

    def __init__(self, files: int, progress: OnProgress | None) -> None:
        self._files, self._progress = files, progress

    def scan(self, done: int, _: int) -> None:
        if self._progress is not None:
            self._progress(done, 2 * self._files)

    def follow(self, done: int, total: int) -> None:
        if self._progress is not None:
            self._progress(2 * self._files - total + done, 2 * self._files)


def _scan(listing: Listing, steps: _Steps) -> tuple[list[_Scanned], list[SkippedFile]]:
    def look(index: int) -> _Scanned | SkippedFile:
        entry = listing.entries[index]
        try:
            with listing.store.open(entry.name) as file:
                header = read_header(file)
            facts = FileFacts(listing.store.stamp(entry.name), header.height, header.width)
        except UnreadableImageError as error:
            return SkippedFile(entry.name, str(error))
        return _Scanned(entry, header, facts)

    found = map_indices(look, len(listing.entries), threads=False, progress=steps.scan)
    return (
        [item for item in found if isinstance(item, _Scanned)],
        [item for item in found if isinstance(item, SkippedFile)],
    )


def refuse_skipped(name: str, skipped: tuple[SkippedFile, ...]) -> None:
    """Make the first skipped file an error."""
    if skipped:
        first = skipped[0]
        more = f" (and {len(skipped) - 1} more)" if len(skipped) > 1 else ""
        raise DataError(f"{name}: cannot use {first.path}: {first.reason}{more}; repair or remove it")


def _check_survivors(listing: Listing, scanned: list[_Scanned], unreadable: list[SkippedFile]) -> None:
    alive = {item.entry.label for item in scanned}
    for label in listing.classes:
        if label not in alive:
            names = {entry.name for entry in listing.entries if entry.label == label}
            first = next(item for item in unreadable if item.path in names)
            raise DataError(
                f"class {label!r} of {listing.name} has no readable image: {first.path}: {first.reason}; "
                "repair the files or take the class out"
            )


def _lazy_split(
    listing: Listing, items: list[_Scanned], channels: int, image_size: tuple[int, int]
) -> ImageSplit:
    index_of = {label: index for index, label in enumerate(listing.classes)}
    files = tuple(ImageFile(listing.store, item.entry.name) for item in items)
    labels = np.array([index_of[item.entry.label] for item in items], dtype=np.int64)
    return ImageSplit(
        ImageFiles(files, channels, image_size),
        labels,
        tuple(item.entry.name for item in items),
        tuple(item.facts for item in items),
    )
