"""What is in a data set, what is wrong with it, and what to do next."""

from __future__ import annotations

import hashlib
import re
import shlex
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np

from counterpoise.datasets.builtin import DATASETS
from counterpoise.datasets.image_files import ImageFiles
from counterpoise.datasets.images import ImageDataset, ImageSplit, SkippedFile
from counterpoise.datasets.parallel import Progress, map_indices
from counterpoise.datasets.splits import find_minority
from counterpoise.exceptions import CounterpoiseError

_TINY_SIDE = 4  # pixels: less shows nothing
_FAR_FROM_MEDIAN = 4  # a side this many times larger or smaller than the median one is odd
_LONG_SHAPE = 4  # an image this many times longer than wide loses most of itself in a square
_BALANCED_BELOW = 1.5  # imbalance ratio
_FEW_IMAGES = 10  # per class


class OddImage(NamedTuple):
    """An image that can be read but looks wrong."""

    path: str
    reason: str


@dataclass(frozen=True)
class DuplicateGroup:
    """Images with the same pixels (or, if not in memory, the same bytes).

    Parameters
    ----------
    paths : tuple of str
        Their names.
    splits : tuple of str
        The split of each.
    classes : tuple of str
        The class of each.
    """

    paths: tuple[str, ...]
    splits: tuple[str, ...]
    classes: tuple[str, ...]

    @property
    def leaks(self) -> bool:
        """Whether the picture is in more than one split."""
        return len(set(self.splits)) > 1

    @property
    def conflicts(self) -> bool:
        """Whether the picture has more than one label."""
        return len(set(self.classes)) > 1


@dataclass(frozen=True)
class Audit:
    """The findings about a data set.

    Parameters
    ----------
    name : str
        The data set's name.
    classes : tuple of str
        Class names.
    channels : int
        1 for grey, 3 for colour.
    image_size : (int, int)
        (height, width) in pixels that images are brought to.
    counts : dict of str to tuple of int
        Images per class in each split.
    imbalance_ratio : float
        Largest over smallest class of the training images.
    minority : tuple of int
        Minority classes of the training images (thesis Definition 1.3).
    unreadable : tuple of SkippedFile
        Files that are left out.
    duplicates : tuple of DuplicateGroup
        Pictures that occur more than once.
    odd : tuple of OddImage
        Images that look wrong.
    recommendations : tuple of str
        What to do, in plain words, the most urgent first.
    next_command : str
        The command to type next.
    """

    name: str
    classes: tuple[str, ...]
    channels: int
    image_size: tuple[int, int]
    counts: dict[str, tuple[int, ...]]
    imbalance_ratio: float
    minority: tuple[int, ...]
    unreadable: tuple[SkippedFile, ...]
    duplicates: tuple[DuplicateGroup, ...]
    odd: tuple[OddImage, ...]
    recommendations: tuple[str, ...]
    next_command: str

    @property
    def leaks(self) -> tuple[DuplicateGroup, ...]:
        """Duplicates across splits."""
        return tuple(group for group in self.duplicates if group.leaks)

    @property
    def conflicts(self) -> tuple[DuplicateGroup, ...]:
        """Duplicates with different labels."""
        return tuple(group for group in self.duplicates if group.conflicts)

    def to_dict(self) -> dict[str, Any]:
        """Return the findings as JSON-able values."""
        value = asdict(self)
        value["unreadable"] = [item._asdict() for item in self.unreadable]
        value["odd"] = [item._asdict() for item in self.odd]
        value["duplicates"] = [
            {**asdict(group), "leaks": group.leaks, "conflicts": group.conflicts} for group in self.duplicates
        ]
        return value


def audit(
    dataset: ImageDataset,
    *,
    source: str | None = None,
    data_dir: str | None = None,
    minority_ratio: float = 2.0,
    progress: Progress | None = None,
) -> Audit:
    """Look through a dataset.

    Parameters
    ----------
    dataset : ImageDataset
        The images.
    source, data_dir : str, optional
        How the user named the data, for the next command; by default the data set's name, and nothing.
    minority_ratio : float
        rho' of thesis Definition 1.3: class c is a minority class iff n_c <= n_max / rho'.
    progress : callable, optional
        Called with (done, total) while images are looked at, once per split.

    Returns
    -------
    Audit

    Examples
    --------
    >>> from counterpoise.datasets import dataset_from_arrays
    >>> images = np.random.default_rng(0).integers(0, 256, (60, 8, 8), dtype=np.uint8)
    >>> images[1] = images[0]
    >>> found = audit(dataset_from_arrays(images, np.repeat([0, 1], [50, 10]), classes=["plain", "rare"]))
    >>> found.imbalance_ratio, found.minority, found.duplicates[0].paths
    (5.0, (1,), ('arrays/train/00000', 'arrays/train/00001'))
    """
    counts = {name: split.class_counts(dataset.num_classes) for name, split in dataset.splits.items()}
    minority = find_minority(counts["train"], minority_ratio)
    ratio = float(counts["train"].max() / max(1, counts["train"].min()))
    places: dict[bytes, list[tuple[str, int]]] = defaultdict(list)
    odd: list[OddImage] = []
    broken: list[SkippedFile] = []
    for name, split in dataset.splits.items():
        for index, look in enumerate(_look_through(split, progress)):
            if isinstance(look, str):
                broken.append(SkippedFile(split.paths[index], look))
                continue
            places[look.digest].append((name, index))
            if look.constant:
                odd.append(OddImage(split.paths[index], "is of a single colour"))
        odd += _odd_sizes(split)
    groups = [_group(dataset, members) for members in places.values() if len(members) > 1]
    found = Audit(
        name=dataset.name,
        classes=dataset.classes,
        channels=dataset.channels,
        image_size=dataset.image_size,
        counts={name: tuple(int(count) for count in row) for name, row in counts.items()},
        imbalance_ratio=ratio,
        minority=minority,
        unreadable=(*dataset.skipped, *broken),
        duplicates=tuple(groups),
        odd=tuple(odd),
        recommendations=(),
        next_command=_next_command(dataset, ratio, source or dataset.name, data_dir),
    )
    return Audit(**{**vars(found), "recommendations": tuple(_recommend(found))})


class _Look(NamedTuple):
    digest: bytes
    constant: bool


def _look_through(split: ImageSplit, progress: Progress | None) -> Iterator[_Look | str]:
    """Yield for each image what it looks like, or why it cannot be read."""
    if isinstance(split.images, ImageFiles):
        files = split.images

        def look(index: int) -> _Look | str:
            try:
                content = files.read_bytes(index)
                pixels = files[index]
            except CounterpoiseError as error:
                return str(error)
            return _Look(hashlib.sha256(content).digest(), _is_one_colour(pixels))

        yield from map_indices(look, len(files), progress=progress)
        return
    images = np.ascontiguousarray(split.images)
    for index, pixels in enumerate(images):
        yield _Look(hashlib.sha256(pixels.data).digest(), _is_one_colour(pixels))
        if progress is not None and (index % 1024 == 1023 or index == len(images) - 1):
            progress(index + 1, len(images))


def _is_one_colour(pixels: np.ndarray) -> bool:
    """Tell whether all pixels of one image, (C, H, W), are alike."""
    return bool((pixels == pixels[:, :1, :1]).all())


def _group(dataset: ImageDataset, members: list[tuple[str, int]]) -> DuplicateGroup:
    splits = dataset.splits
    return DuplicateGroup(
        paths=tuple(splits[name].paths[index] for name, index in members),
        splits=tuple(name for name, _ in members),
        classes=tuple(dataset.classes[splits[name].labels[index]] for name, index in members),
    )


def _odd_sizes(split: ImageSplit) -> Iterator[OddImage]:
    """Yield the files whose images are tiny, very long, or of a size far from the others'."""
    if not split.facts:
        return
    sides = np.array([(fact.height, fact.width) for fact in split.facts], dtype=np.float64)
    area = np.sqrt(sides.prod(axis=1))
    usual = float(np.median(area))
    for path, (height, width), mean_side in zip(split.paths, sides, area, strict=True):
        size = f"{width:.0f}x{height:.0f} pixels"
        if min(height, width) < _TINY_SIDE:
            yield OddImage(path, f"is tiny: {size}")
        elif max(height, width) > _LONG_SHAPE * min(height, width):
            yield OddImage(path, f"is very long: {size}; most of it is cut off")
        elif not usual / _FAR_FROM_MEDIAN <= mean_side <= usual * _FAR_FROM_MEDIAN:
            yield OddImage(path, f"is {'smaller' if mean_side < usual else 'larger'} than most: {size}")


def _recommend(found: Audit) -> Iterator[str]:
    yield from _about_faults(found)
    train = found.counts["train"]
    few = [name for name, count in zip(found.classes, train, strict=True) if count < _FEW_IMAGES]
    if few:
        yield (
            f"{_names(few)} {'has' if len(few) == 1 else 'have'} fewer than {_FEW_IMAGES} training images: "
            "collect more if you can; scores of so small classes are uncertain."
        )
    if "test" not in found.counts:
        yield "There is no test split: a stratified one is made and saved with each run."
    if found.imbalance_ratio < _BALANCED_BELOW:
        yield (
            f"The classes are about balanced (largest / smallest = {found.imbalance_ratio:.2g}): plain "
            "training (bl) may be enough, and `imbalance` makes them imbalanced for a study."
        )
    else:
        rare = [found.classes[index] for index in found.minority]
        about = f"; {_names(rare)} {'is' if len(rare) == 1 else 'are'} rare" if rare else ""
        yield (
            f"The largest class has {found.imbalance_ratio:.3g} times the images of the smallest{about}: "
            "compare counter-measures, and judge them by G-mean and minority recall rather than accuracy."
        )


def _about_faults(found: Audit) -> Iterator[str]:
    if found.conflicts:
        group = found.conflicts[0]
        other = next(place for place, name in enumerate(group.classes) if name != group.classes[0])
        yield (
            f"{_number(found.conflicts, 'picture has', 'pictures have')} more than one label, such as "
            f"{group.paths[0]} ({group.classes[0]}), also {group.paths[other]} ({group.classes[other]}): "
            "correct the labels."
        )
    if found.leaks:
        yield (
            f"{_number(found.leaks, 'picture is', 'pictures are')} in more than one split, such as "
            f"{found.leaks[0].paths[0]}: remove the copies, or test scores will be too good."
        )
    if found.unreadable:
        first = found.unreadable[0]
        yield (
            f"{_number(found.unreadable, 'file is', 'files are')} left out, such as {first.path} "
            f"({first.reason}): "
            "repair or remove them; `strict` makes them an error."
        )
    rest = [group for group in found.duplicates if not group.leaks and not group.conflicts]
    if rest:
        yield (
            f"{_number(rest, 'picture occurs', 'pictures occur')} more than once in one class, such as "
            f"{rest[0].paths[0]}: keep one of each, or copies may fall on both sides of a split."
        )
    if found.odd:
        yield (
            f"{_number(found.odd, 'image looks', 'images look')} odd, such as {found.odd[0].path}, which "
            f"{found.odd[0].reason}: look at them."
        )


def _number(items: Sequence[Any], one: str, many: str) -> str:
    return f"{len(items):,} {one if len(items) == 1 else many}"


def _names(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more classes" if len(names) > 5 else "")


def _next_command(dataset: ImageDataset, ratio: float, source: str, data_dir: str | None) -> str:
    words = ["counterpoise", "compare", source]
    if data_dir is not None:
        words += ["--data-dir", data_dir]
    if ratio < _BALANCED_BELOW and source in DATASETS:
        # A balanced set for research: the thesis's case, 4 minority classes of 10.
        minority = max(1, round(0.4 * dataset.num_classes))
        words += ["--imbalance", "step", "--ratio", "20", "--minority", str(minority)]
    words += ["--methods", "bl,bl-cw,balanced-softmax,ados", "--draws", "3"]
    words += ["--out", "out/" + (re.sub(r"[^A-Za-z0-9._-]+", "-", dataset.name).strip("-.") or "comparison")]
    return shlex.join(words)
