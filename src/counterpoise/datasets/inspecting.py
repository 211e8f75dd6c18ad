"""Inspection of every image for the audit: its pixels, its look, and the properties of its file."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from counterpoise.datasets.decoding import OnProgress, map_indices
from counterpoise.datasets.duplicates import find_copies
from counterpoise.datasets.images import ImageDataset, ImageFiles, ImageSplit
from counterpoise.datasets.looks import Looks
from counterpoise.datasets.shortcuts import border, file_traits, shape_traits
from counterpoise.exceptions import CounterpoiseError


class Inspected(NamedTuple):
    """Image as the audit sees it: `digest` of its pixels, whether it is of a single color, look and properties."""

    digest: bytes
    constant: bool
    look: Looks
    traits: dict[str, str | float]


def inspect_split(split: ImageSplit, progress: OnProgress | None = None) -> list[Inspected | str]:
    """Return what is known of each image, or the reason why it cannot be read."""
    images = split.images

    def inspect(index: int) -> Inspected | str:
        fact = split.facts[index] if split.facts else None
        traits = {} if fact is None else shape_traits(fact.height, fact.width)
        try:
            if isinstance(images, ImageFiles):
                content = images.read_bytes(index)
                pixels = images.decode(content)
                traits |= file_traits(content)
            else:
                pixels = images[index]
        except CounterpoiseError as error:
            return str(error)
        constant = bool((pixels == pixels[:, :1, :1]).all())
        traits["border"] = border(pixels)
        return Inspected(hashlib.sha256(pixels.tobytes()).digest(), constant, Looks.of([pixels]), traits)

    held = split.in_memory
    return map_indices(inspect, len(split), threads=not held, chunk=1024 if held else 64, progress=progress)


def look_alikes(seen: Sequence[Inspected]) -> list[list[int]]:
    """Return the images of each picture of which there are copies with other pixels; see `find_copies`."""
    looks = Looks(*(np.concatenate(parts) for parts in zip(*(item.look for item in seen), strict=True)))
    digests = np.array([item.digest.hex() for item in seen])
    members = defaultdict(list)
    for index, number in enumerate(find_copies(digests, looks).cluster.tolist()):
        members[number].append(index)
    return [rows for rows in members.values() if len(set(digests[rows])) > 1]


def sizes_by_class(dataset: ImageDataset) -> dict[str, dict[str, int]]:
    """Return how often each size occurs among the training images, by class; nothing for images without files."""
    found: dict[str, Counter[str]] = {name: Counter() for name in dataset.classes}
    for label, fact in zip(dataset.train.labels, dataset.train.facts or (), strict=False):
        found[dataset.classes[label]][f"{fact.width}x{fact.height}"] += 1
    return {name: dict(counter.most_common()) for name, counter in found.items() if counter}
