"""Groups of images that stay together in every split: by names, a column, look-alike neighbors, or as copies."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np

from counterpoise.datasets.decoding import OnProgress
from counterpoise.datasets.duplicates import Copies, by_appearance, connect, find_copies
from counterpoise.datasets.images import Duplicates, Grouping, ImageDataset, ImageSplit, check_classes
from counterpoise.datasets.looks import Looks, take_looks
from counterpoise.datasets.naming import SEQUENCE, case_names, propose_groups, runs_of_look_alikes
from counterpoise.exceptions import InputError


def group_images(
    dataset: ImageDataset,
    group: str | None = None,
    duplicates: Duplicates = "keep",
    *,
    progress: OnProgress | None = None,
) -> ImageDataset:
    r"""Return a dataset whose images are grouped over all splits: no split made of it separates a group.

    Parameters
    ----------
    group : str, optional
        Regular expression with one capture group, which is searched in the path of each file below the dataset (and
        its split folder), without the ending: images with the same capture are a group, and those that do not match
        are on their own. Or "sequence": runs of consecutive files that look alike; "auto": what `propose_groups`
        finds; or the column of the CSV that the dataset was loaded from.
    duplicates : {"keep", "group", "drop"}
        Treatment of copies of a picture, see `find_copies`: none; one group; or the first one alone stays among the
        training images, and none if a test or validation image shows it, too, or if the labels differ.

    Raises
    ------
    InputError
        If `group` matches no image, or puts all images, or those of each class, into one group.

    Examples
    --------
    >>> from counterpoise.datasets import dataset_from_arrays
    >>> data = dataset_from_arrays(np.zeros((12, 4, 4), np.uint8), np.arange(12) % 2)
    >>> group_images(data, r"(\d)\d$").train.groups.tolist()
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1]
    """
    notes: list[str] = []
    names, groups = case_names(dataset), _given(dataset)
    if group == "auto":
        found = propose_groups(dataset)
        group = None if found is None else found.pattern
        notes.append("`group` auto: nothing shows groups" if found is None else f"`group` auto: {found.text}")
    if group is not None:
        groups = _read_groups(dataset, names, group, groups, notes)
    before = dataset.grouping
    grouping = Grouping(group or before.group, duplicates, (*before.notes, *notes))
    if duplicates == "keep":
        return _with_groups(dataset, groups, grouping)
    copies = find_dataset_copies(dataset, progress=progress)
    grouping = replace(grouping, notes=(*grouping.notes, *_describe(dataset, copies, duplicates)))
    if duplicates == "drop":
        return _without_copies(_with_groups(dataset, groups, grouping), copies.cluster)
    if groups is None:
        return _with_groups(dataset, copies.cluster, grouping)
    # Clusters and groups are the two kinds of nodes, and each image is an edge.
    shift = int(copies.cluster.max()) + 1
    parts = connect(shift + int(groups.max()) + 1, copies.cluster, groups + shift)
    return _with_groups(dataset, parts[copies.cluster], grouping)


def find_dataset_copies(dataset: ImageDataset, *, progress: OnProgress | None = None) -> Copies:
    """Return the copies among the images of all splits, one split after the other; see `find_copies`."""
    splits = list(dataset.splits.values())
    looks = [take_looks(split, np.arange(len(split)), progress) for split in splits if len(split)]
    keys = np.concatenate([split.content_keys() for split in splits])
    return find_copies(keys, Looks(*(np.concatenate(parts) for parts in zip(*looks, strict=True))))


def describe_grouping(dataset: ImageDataset, splits: ImageDataset) -> Grouping:
    """Return the grouping of a dataset, with notes on groups that it might have, and on what its `splits` share."""
    notes = list(dataset.grouping.notes)
    if dataset.grouping.group is None and (found := propose_groups(dataset)) is not None:
        keeps = f"`group` '{found.pattern}' keeps each on one side of every split"
        notes.append(f"ungrouped, though {found.text}; {keeps}")
    keys = splits.train.content_keys()
    copies = sum(int(np.isin(split.content_keys(), keys).sum()) for split in _held_out(splits))
    if copies:
        notes.append(
            f"{copies:,} validation or test images are training images, too: scores will be too good; `duplicates` "
            "group keeps copies together in a split that is drawn, and drop leaves them out of training"
        )
    return replace(dataset.grouping, notes=(*notes, *torn_groups(splits)))


def torn_groups(splits: ImageDataset) -> list[str]:
    """Return a warning if validation or test images are of one group with training images."""
    if (groups := splits.train.groups) is None:
        return []
    shared = [np.isin(s.groups, groups).sum() for s in _held_out(splits) if s.groups is not None]
    if not sum(shared):
        return []
    return [
        f"{sum(shared):,} validation or test images are of one group with training images: scores will be too good; "
        "the split was made without these groups"
    ]


def _held_out(splits: ImageDataset) -> list[ImageSplit]:
    return [split for name, split in splits.splits.items() if name != "train"]


def _given(dataset: ImageDataset) -> np.ndarray | None:
    """Return the groups that the splits have already, as numbers over all splits."""
    if dataset.train.groups is None:
        return None
    values: list[str] = []
    for name, split in dataset.splits.items():
        known = [""] * len(split) if split.groups is None else [str(value) for value in split.groups.tolist()]
        # An image of unknown group is on its own; no cell of a CSV holds a zero byte.
        values += [value or f"{name}\0{index}" for index, value in enumerate(known)]
    return by_appearance(np.array(values))


def _read_groups(
    dataset: ImageDataset, names: list[str], group: str, given: np.ndarray | None, notes: list[str]
) -> np.ndarray:
    if dataset.train.groups is not None and dataset.train.groups.dtype.kind == "U":
        assert given is not None
        groups = given
    elif group == SEQUENCE:
        groups = runs_of_look_alikes(dataset)
    else:
        groups = _match(names, group, notes)
    labels = np.concatenate([split.labels for split in dataset.splits.values()])
    several = len(np.unique(np.stack([labels, groups]), axis=1)[0]) > dataset.num_classes
    sizes = np.bincount(groups)
    if len(sizes) == 1 or not several:
        what = "all images" if len(sizes) == 1 else "the images of each class"
        raise InputError(
            f"`group` '{group}' puts {what} into one group, such as {names[0]!r}; expected several, to hold some out"
        )
    found = (
        f"{(sizes > 1).sum():,} groups of 2 to {sizes.max():,} images" if sizes.max() > 1 else "no two images"
    )
    notes.append(f"`group` '{group}': {found} stay on one side of every split")
    return groups


def _match(names: list[str], pattern: str, notes: list[str]) -> np.ndarray:
    """Return the group of each name by a regular expression."""
    expected = "a column of the CSV, a regular expression with one capture group like '(.*)_[0-9]+', sequence or auto"
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise InputError(
            f"`group` '{pattern}' is no regular expression ({error}); expected {expected}"
        ) from error
    if compiled.groups != 1:
        raise InputError(f"`group` '{pattern}' has {compiled.groups} capture groups; expected {expected}")
    matches = [compiled.search(name) for name in names]
    alone = [name for name, match in zip(names, matches, strict=True) if match is None]
    if len(alone) == len(names):
        raise InputError(
            f"`group` '{pattern}' matches no file; expected a match in names such as {names[0]!r}"
        )
    if alone:
        notes.append(f"{len(alone):,} of {len(names):,} images do not match `group`, such as {alone[0]!r}")
    return by_appearance(
        np.array([f"\0{i}" if m is None or m[1] is None else m[1] for i, m in enumerate(matches)])
    )


def _with_groups(dataset: ImageDataset, groups: np.ndarray | None, grouping: Grouping) -> ImageDataset:
    if groups is not None and len(np.unique(groups)) == len(groups):
        groups = None
    changed, start = {}, 0
    for name, split in dataset.splits.items():
        own = None if groups is None else by_appearance(groups)[start : start + len(split)]
        changed[name] = replace(split, groups=own)
        start += len(split)
    return replace(dataset, grouping=grouping, **changed)  # type: ignore[arg-type]


def _without_copies(dataset: ImageDataset, cluster: np.ndarray) -> ImageDataset:
    train = dataset.train
    own, others = cluster[: len(train)], cluster[len(train) :]
    _, first = np.unique(own, return_index=True)
    labels = np.unique(np.stack([own, train.labels]), axis=1)[0]
    pictures, counts = np.unique(labels, return_counts=True)
    unwanted = np.union1d(others, pictures[counts > 1])
    kept = np.sort(first[~np.isin(own[first], unwanted)])
    result = replace(dataset, train=train.subset(kept))
    check_classes(result)
    return result


def _describe(dataset: ImageDataset, copies: Copies, duplicates: Duplicates) -> list[str]:
    """Return what was found and done about copies, in words."""
    notes = []
    counts = np.bincount(copies.cluster)
    if repeated := int((counts > 1).sum()):
        what = "1 picture occurs" if repeated == 1 else f"{repeated:,} pictures occur"
        done = "copies stay on one side of every split" if duplicates == "group" else "one of each is kept"
        notes.append(f"{what} more than once: {done}")
    labels = np.concatenate([split.labels for split in dataset.splits.values()])
    paths = [path for split in dataset.splits.values() for path in split.paths]
    pairs = np.unique(np.stack([copies.cluster, labels]), axis=1)[0]
    pictures, kinds = np.unique(pairs, return_counts=True)
    if len(found := pictures[kinds > 1]):
        members = np.flatnonzero(copies.cluster == found[0])
        other = members[labels[members] != labels[members[0]]][0]
        one, two = (f"{paths[i]} ({dataset.classes[labels[i]]})" for i in (members[0], other))
        have = "1 picture has" if len(found) == 1 else f"{len(found):,} pictures have"
        notes.append(f"{have} more than one label, such as {one}, also {two}: correct the labels")
    if copies.alike:
        notes.append(
            "the pictures are so alike that near-duplicates do not stand out: only exact copies count"
        )
    return notes
