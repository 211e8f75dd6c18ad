"""Audit of a dataset: contents, faults, recommendations, and a comparison to run next."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import NamedTuple

import numpy as np

from counterpoise.datasets.builtin import DATASETS
from counterpoise.datasets.decoding import OnProgress
from counterpoise.datasets.groups import torn_groups
from counterpoise.datasets.images import ImageDataset, ImageSplit, SkippedFile, check_classes
from counterpoise.datasets.inspecting import Inspected, inspect_split, look_alikes, sizes_by_class
from counterpoise.datasets.layout import tiny_classes
from counterpoise.datasets.naming import GroupProposal, propose_groups
from counterpoise.datasets.shortcuts import Shortcut, find_shortcuts
from counterpoise.datasets.splits import find_minority

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
    """Images with the same pixels, or those of one picture, with the split and class of each."""

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
    """Findings about a dataset.

    ``counts`` are images per class in each split; ratio and minority those of training. ``near_duplicates`` show one
    picture resized, recompressed, rotated or flipped; ``grouping`` tells in words which images stay together, and
    ``proposed_group`` which should; ``sizes`` are counts of training images, by class and ``WIDTHxHEIGHT``.
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
    value_range: tuple[int, int] | None
    notes: tuple[str, ...]
    near_duplicates: tuple[DuplicateGroup, ...]
    grouping: tuple[str, ...]
    proposed_group: GroupProposal | None
    shortcuts: tuple[Shortcut, ...]
    sizes: Mapping[str, Mapping[str, int]]
    proposal: Proposal

    @property
    def photographs(self) -> bool:
        """Whether the images are large enough for a pretrained network."""
        return min(self.image_size) >= _PHOTOGRAPH

    @property
    def leaks(self) -> tuple[DuplicateGroup, ...]:
        """Duplicates across splits."""
        return tuple(group for group in self.copies if group.leaks)

    @property
    def conflicts(self) -> tuple[DuplicateGroup, ...]:
        """Duplicates with different labels."""
        return tuple(group for group in self.copies if group.conflicts)

    @property
    def copies(self) -> tuple[DuplicateGroup, ...]:
        """Exact duplicates and near-duplicates."""
        return self.duplicates + self.near_duplicates

    @property
    def recommendations(self) -> tuple[str, ...]:
        """Advice, the most urgent first."""
        return (*_about_faults(self), *self.notes, *_about_counts(self))

    def to_dict(self) -> dict[str, object]:
        """Return the findings, without the proposal, as JSON-able values."""
        value = asdict(self)
        del value["proposal"]
        value["unreadable"] = [item._asdict() for item in self.unreadable]
        value["odd"] = [item._asdict() for item in self.odd]
        for name, groups in (("duplicates", self.duplicates), ("near_duplicates", self.near_duplicates)):
            for group, entry in zip(groups, value[name], strict=True):
                entry.update(leaks=group.leaks, conflicts=group.conflicts)
        value["proposed_group"] = None if self.proposed_group is None else self.proposed_group._asdict()
        value["shortcuts"] = [item._asdict() for item in self.shortcuts]
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
    members: dict[bytes, list[tuple[str, str, str]]] = defaultdict(list)
    odd: list[OddImage] = []
    unreadable = list(dataset.skipped)
    seen: list[Inspected] = []
    images: list[tuple[str, str, str]] = []
    for name, split in dataset.splits.items():
        found = inspect_split(split, progress)
        good = []
        for index, (path, label, image) in enumerate(zip(split.paths, split.labels, found, strict=True)):
            if isinstance(image, str):
                unreadable.append(SkippedFile(path, image))
                continue
            good.append(index)
            seen.append(image)
            images.append((path, name, dataset.classes[label]))
            members[image.digest].append(images[-1])
            if image.constant:
                odd.append(OddImage(path, "is of a single color"))
        if len(good) < len(split):
            dataset = replace(dataset, **{name: split.subset(good)})  # type: ignore[arg-type]
        odd += _odd_sizes(dataset.splits[name], _FITTED[dataset.fit])
    check_classes(dataset)
    counts = {name: split.class_counts(dataset.num_classes) for name, split in dataset.splits.items()}
    ratio = float(counts["train"].max() / max(1, counts["train"].min()))
    train = seen[: len(dataset.train)]
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
        value_range=dataset.value_range,
        notes=dataset.notes,
        near_duplicates=tuple(
            DuplicateGroup(*zip(*(images[row] for row in rows), strict=True)) for rows in look_alikes(seen)
        ),
        grouping=(*dataset.grouping.notes, *torn_groups(dataset)),
        proposed_group=None if dataset.grouping.group else propose_groups(dataset),
        shortcuts=find_shortcuts([item.traits for item in train], dataset.train.labels, dataset.classes),
        sizes=sizes_by_class(dataset),
        proposal=_propose(dataset, ratio, source or dataset.name, data_dir),
    )


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
    if (tiny := tiny_classes(found.classes, found.counts["train"])) is not None:
        yield tiny
    for split in ("validation", "test"):
        # A split is drawn from the training images where there is none, from classes of at least three.
        own = found.counts.get(split)
        absent = [
            name
            for index, name in enumerate(found.classes)
            if (found.counts["train"][index] < 3 if own is None else sum(own) > 0 == own[index])
        ]
        if absent:
            will = "has" if own else "will have"
            yield (
                f"{_names(absent)} {will if len(absent) == 1 else will.replace('has', 'have')} no {split} images: "
                + (
                    "no score will say anything about it."
                    if split == "test"
                    else "it has no part in any choice."
                )
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
    yield from (shortcut.sentence for shortcut in found.shortcuts[:3])
    if found.proposed_group is not None:
        yield found.proposed_group.sentence
    rest = [group for group in found.copies if not group.leaks and not group.conflicts]
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
