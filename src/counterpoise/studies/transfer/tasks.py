"""Source and target of a transfer: two tasks made of the classes of one dataset."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from counterpoise.datasets import ImageDataset, ImageSplit, make_splits
from counterpoise.exceptions import DataError, InputError, UnknownNameError
from counterpoise.training import generator_for

#: CIFAR-10's classes as the lecture divides them: man-made (source A) and natural (target B).
MAN_MADE = ("airplane", "automobile", "ship", "truck")
NATURAL = ("bird", "cat", "deer", "dog", "frog", "horse")


class Tasks(NamedTuple):
    """Classes of source `a` and target `b`, as indices into the classes of the dataset."""

    a: tuple[int, ...]
    b: tuple[int, ...]

    def classes(self, task: str) -> tuple[int, ...]:
        """Return the classes of task ``"A"`` or ``"B"``."""
        return self.a if task == "A" else self.b


def draw_tasks(split: str, classes: Sequence[str], *, seed: int) -> Tasks:
    """Return the two tasks of a repeat.

    `split` is ``"random"``: two random halves of the classes, which are similar; of an odd number A has one more.
    ``"natural"``: man-made against natural classes, which are dissimilar; for CIFAR-10. Or the classes by name. Raises
    InputError if it cannot be read, or does not give each task at least two classes and each class one task.

    Examples
    --------
    >>> draw_tasks("A=cat,dog;B=ship,truck", ["cat", "dog", "ship", "truck"], seed=0)
    Tasks(a=(0, 1), b=(2, 3))
    """
    if split == "random":
        if len(classes) < 4:
            raise InputError(
                f"`task_split` random: {len(classes)} classes cannot be parted into two tasks; at least 4 are needed"
            )
        shuffled = generator_for(seed, "tasks").permutation(len(classes))
        half = (len(classes) + 1) // 2
        return Tasks(_ascending(shuffled[:half]), _ascending(shuffled[half:]))
    if split != "natural":
        return _named(split, classes)
    if set(classes) != {*MAN_MADE, *NATURAL}:
        raise InputError(
            "`task_split` natural: which classes are man-made is known for CIFAR-10 alone; name them as "
            f'`task_split` "A={classes[0]},...;B={classes[-1]},..."'
        )
    return Tasks(*(_ascending([classes.index(name) for name in names]) for names in (MAN_MADE, NATURAL)))


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


def _named(split: str, classes: Sequence[str]) -> Tasks:
    match = re.fullmatch(r"\s*A\s*=(?P<A>[^;]*);\s*B\s*=(?P<B>[^;]*)", split)
    if match is None:
        raise InputError(
            f'`task_split` {split!r}: expected random, natural, or classes as "A=cat,dog;B=ship,truck"'
        )
    tasks = {task: [name.strip() for name in match[task].split(",") if name.strip()] for task in "AB"}
    for task, names in tasks.items():
        for name in names:
            if name not in classes:
                raise UnknownNameError(f"class in task {task} of `task_split`", name, classes)
        if len(set(names)) < 2:
            raise InputError(f"`task_split`: task {task} has {len(set(names))} classes; name at least two")
    shared = sorted(set(tasks["A"]) & set(tasks["B"]))
    if shared:
        raise InputError(f"`task_split`: class {shared[0]!r} is in both tasks; leave it out of one")
    return Tasks(*(_ascending([classes.index(name) for name in set(tasks[task])]) for task in "AB"))


def _ascending(indices: Sequence[int] | np.ndarray) -> tuple[int, ...]:
    return tuple(sorted(int(index) for index in indices))
