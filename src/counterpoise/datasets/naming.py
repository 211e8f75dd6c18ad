"""Groups that the names of files suggest and the pictures confirm."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

import numpy as np

from counterpoise.datasets.duplicates import by_appearance
from counterpoise.datasets.images import ImageDataset
from counterpoise.datasets.looks import Looks, take_looks

SEQUENCE = "sequence"
_SEPARATOR = r"[_\-. ]"
_TOKENS = 3  # at the end of a name that may number the images of a group
_GROUPED = 0.5  # least share of images that share their group
_LEAST_GROUPS = 4
_SAMPLED, _MATES = 60, 4  # groups whose pictures are compared, and images of each
_ALIKE = 0.8  # least mean share of other groups' images that are less similar than an image of the same group
_ERRORS = 2.6  # standard errors that it must be above
_BLOCKS, _BLOCK = 16, 12  # runs of consecutive images that are compared, and their length


class GroupProposal(NamedTuple):
    """Value of `group` in `group_images`, and what speaks for it in words."""

    pattern: str
    text: str

    @property
    def sentence(self) -> str:
        """Advice in words."""
        return (
            f"Group the images: {self.text}. Give `group` '{self.pattern}', or scores will be too good, since images "
            "of a group fall on both sides of a split."
        )


def case_names(dataset: ImageDataset) -> list[str]:
    """Return the path of each image, split after split, from its class folder on (if there is one), without ending."""
    parts, labels = [], []
    for split in dataset.splits.values():
        parts += [PurePosixPath(path).with_suffix("").parts for path in split.paths]
        labels += [dataset.classes[label] for label in split.labels]
    for top in range(min(map(len, parts)) - 1):
        if all(path[top] == label for path, label in zip(parts, labels, strict=True)):
            return ["/".join(path[top:]) for path in parts]
    return ["/".join(path) for path in parts]


def propose_groups(dataset: ImageDataset) -> GroupProposal | None:
    """Propose how to group images of files: by names that share a stem, if the images of a stem look alike.

    Pictures are read only where names suggest groups, and only some hundred: those of a group must be more similar to
    each other than to other images of their class.
    """
    if not dataset.train.facts:
        return None
    names = case_names(dataset)[: len(dataset.train)]
    labels = dataset.train.labels
    found: list[tuple[int, str, np.ndarray]] = []
    seen = set()
    for pattern in _patterns(names):
        groups = _grouped(names, labels, pattern)
        if groups is not None and groups.tobytes() not in seen:
            seen.add(groups.tobytes())
            found.append((int(groups.max()) + 1, pattern, groups))
    # The coarsest that holds: a patient rather than an examination.
    for number, pattern, groups in sorted(found, key=lambda item: item[0]):
        if _look_alike(dataset, _sampled(groups), groups, labels):
            text = f"{number:,} groups of files share a name and look alike"
            return GroupProposal(_over_classes(dataset, names, pattern), text)
    if _numbered(names) and _in_sequence(dataset, names):
        return GroupProposal(SEQUENCE, "consecutive files look alike, as frames of a video do")
    return None


def runs_of_look_alikes(dataset: ImageDataset) -> np.ndarray:
    """Return the group of each image, split after split: runs of consecutive files of a folder that look alike.

    A run ends where the similarity of two files is nearer to that of files half a folder apart (95 % quantile) than to
    the median of neighbors.
    """
    names, start, count = case_names(dataset), 0, 0
    result = np.zeros(len(names), dtype=np.int64)
    for split in dataset.splits.values():
        layouts = take_looks(split, np.arange(len(split))).layouts() if len(split) else np.zeros((0, 1))
        for rows in _folders(names[start : start + len(split)]):
            own = layouts[rows]
            near = (own[1:] * own[:-1]).sum(axis=1)
            far = (own * np.roll(own, len(own) // 2, axis=0)).sum(axis=1)
            cuts = near < (np.median(near) + np.quantile(far, 0.95)) / 2 if len(near) else near > 0
            result[start + rows] = count + np.concatenate([[0], np.cumsum(cuts)])
            count = int(result.max()) + 1
        start += len(split)
    return result


def _patterns(names: Sequence[str]) -> Iterator[str]:
    """Yield regular expressions of habits: a folder per case, and names whose end numbers the images of a case."""
    if any(name.count("/") > 1 for name in names):
        yield r"([^/]+)/[^/]+$"
    stems = [name.rpartition("/")[2] for name in names]
    tokens = [re.split(f"({_SEPARATOR})", stem) for stem in stems]
    for count in range(1, _TOKENS + 1):
        ends = [parts[-2 * count :] for parts in tokens if len(parts) > 2 * count]
        if len(ends) >= _GROUPED * len(names):
            yield "([^/]+)" + "".join(map(_shape, zip(*ends, strict=True))) + "$"
    yield rf"([^/_\-. ]+){_SEPARATOR}[^/]*$"
    yield r"([^/]*[^/\d])\d+$"
    yield r"([^/]*\d)[A-Za-z]$"


def _shape(values: Sequence[str]) -> str:
    """Return a regular expression of tokens at one position: a separator, a number, a word with a number, or any."""
    kinds = set(values)
    if len(kinds) == 1 and not values[0].isdigit():
        word = re.fullmatch(r"(.*?)\d*", values[0])
        return re.escape(values[0]) if word is None or word[1] == values[0] else re.escape(word[1]) + r"\d+"
    if all(re.fullmatch(_SEPARATOR, value) for value in kinds):
        return _SEPARATOR
    words = {re.sub(r"\d+$", "", value) for value in kinds}
    if len(words) == 1 and all(value[-1:].isdigit() for value in kinds):
        return re.escape(words.pop()) + r"\d+"
    return r"[^/_\-. ]*"


def _grouped(names: Sequence[str], labels: np.ndarray, pattern: str) -> np.ndarray | None:
    """Return the groups of a pattern within each class, or None if they cannot be what is looked for."""
    matches = [re.search(pattern, name) for name in names]
    values = [f"{i}" if m is None else f"{labels[i]}/{m[1]}" for i, m in enumerate(matches)]
    groups = by_appearance(np.array(values))
    sizes = np.bincount(groups)
    per_class = np.array([len(np.unique(groups[labels == label])) for label in np.unique(labels)])
    enough = (sizes > 1).sum() >= _LEAST_GROUPS and sizes[sizes > 1].sum() >= _GROUPED * len(names)
    return groups if enough and (per_class > 1).mean() >= 0.5 else None


def _sampled(groups: np.ndarray) -> np.ndarray:
    """Return a few images of some groups."""
    rng = np.random.default_rng(0)
    chosen = rng.permutation(np.flatnonzero(np.bincount(groups) > 1))[:_SAMPLED]
    return np.concatenate([rng.permutation(np.flatnonzero(groups == group))[:_MATES] for group in chosen])


def _look_alike(dataset: ImageDataset, rows: np.ndarray, groups: np.ndarray, labels: np.ndarray) -> bool:
    """Return whether images of a group are much more similar than images of its class in other groups."""
    found = _similarities(take_looks(dataset.train, rows))
    return any(_stands_out(similarity, groups[rows], labels[rows]) for similarity in found)


def _similarities(looks: Looks) -> Iterator[np.ndarray]:
    """Yield how similar images are, (N, N): by their layout, and by their colors."""
    layouts, colors = looks.layouts(), np.sqrt(looks.histogram)
    yield layouts @ layouts.T
    yield colors @ colors.T


def _stands_out(similarity: np.ndarray, groups: np.ndarray, labels: np.ndarray) -> bool:
    values = []
    for group in np.unique(groups):
        inside = np.flatnonzero(groups == group)
        others = np.flatnonzero((groups != group) & (labels == labels[inside[0]]))
        if len(inside) < 2 or not len(others):
            continue
        mates = similarity[np.ix_(inside, inside)][~np.eye(len(inside), dtype=bool)].reshape(len(inside), -1)
        values.append(_rank(mates, similarity[np.ix_(inside, others)]))
    return _is_high(values)


def _rank(mates: np.ndarray, others: np.ndarray) -> float:
    """Return the mean share of `others` (n, K) that are below `mates` (n, M); ties count half."""
    above = mates[:, :, None] - others[:, None, :]
    return float((above > 0).mean() + (above == 0).mean() / 2)


def _is_high(values: Sequence[float]) -> bool:
    if len(values) < _LEAST_GROUPS:
        return False
    # Few equal values have no spread: a half of a group counts as the least error.
    error = max(float(np.std(values, ddof=1)), 0.5 / len(values)) / np.sqrt(len(values))
    return float(np.mean(values)) - _ERRORS * error >= _ALIKE


def _over_classes(dataset: ImageDataset, names: Sequence[str], pattern: str) -> str:
    """Return the pattern, with the class as a part of the group where each class has a count of its own."""
    labels = dataset.train.labels
    cases = by_appearance(np.array([m[1] if (m := re.search(pattern, name)) else name for name in names]))
    pairs, first = np.unique(np.stack([cases, labels]), axis=1, return_index=True)
    shared = np.bincount(pairs[0]) > 1
    if shared.mean() < 0.5:
        return pattern
    chosen = np.random.default_rng(0).permutation(np.flatnonzero(shared))[:_SAMPLED]
    rows = first[np.isin(pairs[0], chosen)]
    if _look_alike(dataset, rows, cases, np.zeros_like(labels)):
        return pattern
    return pattern.replace("([^/]", "(.", 1) if pattern.startswith("([^/]+)") else "(.+/" + pattern[1:]


def _numbered(names: Sequence[str]) -> bool:
    return sum(name[-1].isdigit() for name in names) >= 0.8 * len(names)


def _folders(names: Sequence[str]) -> Iterator[np.ndarray]:
    """Yield the images of each folder and prefix in the order of their numbers."""
    keys = [re.fullmatch(r"(.*?)(\d*)", name) for name in names]
    prefixes = by_appearance(np.array([key[1] for key in keys if key]))
    numbers = np.array([int(key[2] or 0) for key in keys if key], dtype=object)
    for prefix in np.unique(prefixes):
        rows = np.flatnonzero(prefixes == prefix)
        yield rows[np.argsort(numbers[rows], kind="stable")]


def _in_sequence(dataset: ImageDataset, names: Sequence[str]) -> bool:
    """Return whether consecutive images are much more similar than images half a folder apart."""
    rng = np.random.default_rng(0)
    folders = [rows for rows in _folders(names) if len(rows) >= 2 * _BLOCK]
    values = []
    for rows in (folders[i] for i in rng.integers(0, len(folders), _BLOCKS)) if folders else ():
        first = int(rng.integers(0, len(rows)))
        block = np.take(rows, range(first, first + _BLOCK), mode="wrap")
        distant = np.take(rows, range(first + len(rows) // 2, first + len(rows) // 2 + _BLOCK), mode="wrap")
        layouts = take_looks(dataset.train, np.concatenate([block, distant])).layouts()
        near = (layouts[1:_BLOCK] * layouts[: _BLOCK - 1]).sum(axis=1, keepdims=True)
        values.append(_rank(near, layouts[1:_BLOCK] @ layouts[_BLOCK:].T))
    return _is_high(values)
