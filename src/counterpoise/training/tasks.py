"""Two tasks made of the classes of one dataset: source and target of a transfer."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from counterpoise.exceptions import InputError, UnknownNameError
from counterpoise.training.randomness import generator_for

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
