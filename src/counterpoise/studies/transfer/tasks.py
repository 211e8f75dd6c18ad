"""Images of the source and the target of a transfer, and the layers to copy."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from counterpoise.datasets import ImageDataset, ImageSplit, make_splits
from counterpoise.exceptions import DataError, InputError
from counterpoise.training import generator_for


def read_layers(text: str) -> tuple[int, ...]:
    """Return the numbers of copied layers that a list of numbers and ranges stands for.

    Examples
    --------
    >>> read_layers("1..7"), read_layers("1,3,5..7")
    ((1, 2, 3, 4, 5, 6, 7), (1, 3, 5, 6, 7))
    """
    found: set[int] = set()
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,4})(?:\s*\.\.\s*(\d{1,4}))?\s*", part)
        if match is None:
            raise InputError(f"`layers` {text!r}: expected numbers and ranges, such as 1..7 or 1,3,5,7")
        first, last = int(match[1]), int(match[2] or match[1])
        if not 1 <= first <= last:
            raise InputError(f"`layers` {text!r}: {part.strip()!r} is no rising range from 1; try 1..7")
        found.update(range(first, last + 1))
    return tuple(sorted(found))


class TaskImages(NamedTuple):
    """Images of one task; labels count its own classes from 0."""

    classes: tuple[str, ...]
    train: ImageSplit
    test: ImageSplit


def task_images(
    dataset: ImageDataset, classes: Sequence[int], *, per_class: int | None, test_fraction: float, seed: int
) -> TaskImages:
    """Return the training and test images of a task.

    At most `per_class` training images of each class are taken, at random (None: all). `test_fraction` is held out if
    the dataset has no test split. Raises `DataError` if there are no test images of these classes.
    """
    manifest = make_splits(dataset, validation_fraction=0.0, test_fraction=test_fraction, random_state=seed)
    sources = {name: dataset.splits[manifest.sources[name]] for name in ("train", "test")}
    generator = generator_for(seed, "images")
    chosen = []
    # Images of every class are drawn, so that a class's choice does not depend on the tasks.
    for index in range(dataset.num_classes):
        members = generator.permutation(manifest.train[sources["train"].labels[manifest.train] == index])
        if index in classes:
            chosen.append(members[:per_class])
    names = tuple(dataset.classes[index] for index in classes)
    kept = manifest.test[np.isin(sources["test"].labels[manifest.test], classes)]
    if not len(kept):
        raise DataError(
            f"{dataset.name} has no test images of {', '.join(names)}; add some, or choose other classes"
        )
    splits = (sources["train"].subset(np.sort(np.concatenate(chosen))), sources["test"].subset(kept))
    return TaskImages(
        names,
        *(replace(s, labels=np.searchsorted(np.asarray(classes), s.labels).astype(np.int64)) for s in splits),
    )
