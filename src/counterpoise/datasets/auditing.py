"""Audit of a dataset: contents, faults, recommendations, and a comparison to run next."""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import NamedTuple

import numpy as np

from counterpoise.datasets.builtin import DATASETS
from counterpoise.datasets.decoding import OnProgress, map_indices
from counterpoise.datasets.images import ImageDataset, ImageFiles, ImageSplit, SkippedFile
from counterpoise.datasets.splits import find_minority
from counterpoise.exceptions import CounterpoiseError

_TINY_SIDE = 4  # pixels
_SIZE_FACTOR = 4  # a side this many times larger or smaller than the median one is odd
_LONG_SHAPE = 4  # an image this many times longer than wide fits no other shape well
_FITTED = {
    "stretch": "stretching distorts it",
    "pad": "borders fill most of it up",
    "crop": "most of it is cut off",
}
_BALANCED_BELOW = 1.5  # imbalance ratio
_FEW_IMAGES = 10  # per class
_PHOTOGRAPH = 48  # pixels of the shorter side, from which pretrained networks are the default


class OddImage(NamedTuple):
    """Readable image that looks wrong."""

    path: str
    reason: str


@dataclass(frozen=True)
class DuplicateGroup:
    """Images with the same pixels (or, if not in memory, the same bytes), with the split and class of each."""

    paths: tuple[str, ...]
    splits: tuple[str, ...]
    classes: tuple[str, ...]

    @property
    def leaks(self) -> bool:
        """Whether the image is in more than one split."""
        return len(set(self.splits)) > 1

    @property
    def conflicts(self) -> bool:
        """Whether the image has more than one label."""
        return len(set(self.classes)) > 1


@dataclass(frozen=True)
class Proposal:
    """Settings of a comparison that suits a dataset; those of a profile are None unless it is to be thinned."""

    source: str
    data_dir: str | None
    imbalance: str | None
    ratio: float | None
    minority: int | None
    methods: tuple[str, ...]
    repeats: int
    out: str


@dataclass(frozen=True)
class Audit:
    """Findings about a dataset: ``counts`` are images per class in each split; ratio and minority those of training."""

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
    proposal: Proposal

    @property
    def photographs(self) -> bool:
        """Whether the images are large enough for a pretrained network."""
        return min(self.image_size) >= _PHOTOGRAPH

    @property
    def leaks(self) -> tuple[DuplicateGroup, ...]:
        """Duplicates across splits."""
        return tuple(group for group in self.duplicates if group.leaks)

    @property
    def conflicts(self) -> tuple[DuplicateGroup, ...]:
        """Duplicates with different labels."""
        return tuple(group for group in self.duplicates if group.conflicts)

    @property
    def recommendations(self) -> tuple[str, ...]:
        """Advice, the most urgent first."""
        return (*_about_faults(self), *_about_counts(self))

    def to_dict(self) -> dict[str, object]:
        """Return the findings, without the proposal, as JSON-able values."""
        value = asdict(self)
        del value["proposal"]
        value["unreadable"] = [item._asdict() for item in self.unreadable]
        value["odd"] = [item._asdict() for item in self.odd]
        for group, entry in zip(self.duplicates, value["duplicates"], strict=True):
            entry.update(leaks=group.leaks, conflicts=group.conflicts)
        return {**value, "recommendations": self.recommendations}


def audit(
    dataset: ImageDataset,
    *,
    source: str | None = None,
    data_dir: str | None = None,
    minority_ratio: float = 2.0,
    progress: OnProgress | None = None,
) -> Audit:
    """Inspect a dataset.

    The proposal repeats `source` (default: the dataset's name) and `data_dir`, with which it was loaded. For
    `minority_ratio` see `find_minority`. The progress starts from zero for each split.

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
    ratio = float(counts["train"].max() / max(1, counts["train"].min()))
    members: dict[bytes, list[tuple[str, str, str]]] = defaultdict(list)
    odd: list[OddImage] = []
    unreadable = list(dataset.skipped)
    for name, split in dataset.splits.items():
        for path, label, image in zip(split.paths, split.labels, _inspect(split, progress), strict=True):
            if isinstance(image, str):
                unreadable.append(SkippedFile(path, image))
                continue
            digest, constant = image
            members[digest].append((path, name, dataset.classes[label]))
            if constant:
                odd.append(OddImage(path, "is of a single color"))
        odd += _odd_sizes(split, _FITTED[dataset.fit])
    return Audit(
        name=dataset.name,
        classes=dataset.classes,
        channels=dataset.channels,
        image_size=dataset.image_size,
        counts={name: tuple(row.tolist()) for name, row in counts.items()},
        imbalance_ratio=ratio,
        minority=find_minority(counts["train"], minority_ratio),
        unreadable=tuple(unreadable),
        duplicates=tuple(
            DuplicateGroup(*zip(*equal, strict=True)) for equal in members.values() if equal[1:]
        ),
        odd=tuple(odd),
        proposal=_propose(dataset, ratio, source or dataset.name, data_dir),
    )


def _inspect(split: ImageSplit, progress: OnProgress | None) -> list[tuple[bytes, bool] | str]:
    """Return each image's digest and whether it is of a single color, or the reason why it cannot be read."""
    images = split.images

    def inspect(index: int) -> tuple[bytes, bool] | str:
        try:
            content = images.read_bytes(index) if isinstance(images, ImageFiles) else images[index].tobytes()
            pixels = images[index]
        except CounterpoiseError as error:
            return str(error)
        return hashlib.sha256(content).digest(), bool((pixels == pixels[:, :1, :1]).all())

    held = split.in_memory
    return map_indices(inspect, len(split), threads=not held, chunk=1024 if held else 64, progress=progress)


def _odd_sizes(split: ImageSplit, fitted: str) -> Iterator[OddImage]:
    """Yield images that are tiny, very long, or of an unusual size."""
    if not split.facts:
        return
    sides = np.array([(fact.height, fact.width) for fact in split.facts], dtype=np.float64)
    mean_sides = np.sqrt(sides.prod(axis=1))
    usual = float(np.median(mean_sides))
    for path, (height, width), mean_side in zip(split.paths, sides, mean_sides, strict=True):
        size = f"{width:.0f}x{height:.0f} pixels"
        if min(height, width) < _TINY_SIDE:
            yield OddImage(path, f"is tiny: {size}")
        elif max(height, width) > _LONG_SHAPE * min(height, width):
            yield OddImage(path, f"is very long: {size}; {fitted}")
        elif not usual / _SIZE_FACTOR <= mean_side <= usual * _SIZE_FACTOR:
            yield OddImage(path, f"is {'smaller' if mean_side < usual else 'larger'} than most: {size}")


def _about_counts(found: Audit) -> Iterator[str]:
    counts = zip(found.classes, found.counts["train"], strict=True)
    few = [name for name, count in counts if count < _FEW_IMAGES]
    if few:
        yield (
            f"{_names(few)} {'has' if len(few) == 1 else 'have'} fewer than {_FEW_IMAGES} training images: "
            "collect more if you can; scores of such small classes are uncertain."
        )
    if "test" not in found.counts:
        yield "There is no test split: a stratified one is made and saved with each run."
    if found.imbalance_ratio < _BALANCED_BELOW:
        yield (
            f"The classes are about balanced (largest / smallest = {found.imbalance_ratio:.2g}): the baseline "
            "(bl) may be enough, and `imbalance` makes them imbalanced for a study."
        )
    else:
        rare = [found.classes[index] for index in found.minority]
        about = f"; {_names(rare)} {'is' if len(rare) == 1 else 'are'} rare" if rare else ""
        yield (
            f"The largest class has {found.imbalance_ratio:.3g} times the images of the smallest{about}: "
            "compare counter-measures, and judge them by G-mean and minority recall rather than accuracy."
        )


def _about_faults(found: Audit) -> Iterator[str]:
    for group in found.conflicts[:1]:
        other = next(index for index, name in enumerate(group.classes) if name != group.classes[0])
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
    for file in found.unreadable[:1]:
        yield (
            f"{_number(found.unreadable, 'file is', 'files are')} left out, such as {file.path} "
            f"({file.reason}): repair or remove them; `strict` makes them an error."
        )
    rest = [group for group in found.duplicates if not group.leaks and not group.conflicts]
    if rest:
        yield (
            f"{_number(rest, 'picture occurs', 'pictures occur')} more than once in one class, such as "
            f"{rest[0].paths[0]}: keep one of each, or copies may fall on both sides of a split."
        )
    for image in found.odd[:1]:
        looks = _number(found.odd, "image looks", "images look")
        yield f"{looks} odd, such as {image.path}, which {image.reason}: check them."


def _number(items: Sequence[object], one: str, many: str) -> str:
    return f"{len(items):,} {one if len(items) == 1 else many}"


def _names(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more classes" if len(names) > 5 else "")


def _propose(dataset: ImageDataset, ratio: float, source: str, data_dir: str | None) -> Proposal:
    # A balanced built-in set serves research: propose the thesis's step imbalance, 4 minority classes of 10.
    thinned = ratio < _BALANCED_BELOW and source in DATASETS
    return Proposal(
        source=source,
        data_dir=data_dir,
        imbalance="step" if thinned else None,
        ratio=20.0 if thinned else None,
        minority=max(1, round(0.4 * dataset.num_classes)) if thinned else None,
        methods=("bl", "bl-cw", "balanced-softmax", "ados"),
        repeats=3,
        out="out/" + (re.sub(r"[^A-Za-z0-9._-]+", "-", dataset.name).strip("-.") or "comparison"),
    )
