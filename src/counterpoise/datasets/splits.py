"""Split manifests: training, validation and test images, drawn once, hashed, saved and reloaded."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from counterpoise.datasets.images import ImageDataset, check_classes
from counterpoise.datasets.profiles import (
    ImbalanceProfile,
    NaturalImbalance,
    ProfileDict,
    RandomState,
    generator,
    thin,
)
from counterpoise.exceptions import DataError, InputError
from counterpoise.files import content_hash, read_json, write_text

_FORMAT = 1
_SPLITS = ("train", "validation", "test")
_PASSES = 4  # over all groups, in which one is moved where that brings the shares nearer


@dataclass(frozen=True, eq=False)
class SplitManifest:
    """Three splits of a dataset: indices, int64, ascending, into the split that ``sources`` names for each.

    Training indices are those that the imbalance profile keeps. ``minority`` are the minority classes for reporting: a
    step profile's own, else those of thesis Definition 1.3. ``counts`` are images per class in each split.
    """

    dataset: str
    fingerprint: str
    classes: tuple[str, ...]
    sources: dict[str, str]
    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    minority: tuple[int, ...]
    profile: ProfileDict
    counts: dict[str, list[int]]

    @cached_property
    def hash(self) -> str:
        """64 hex digits that depend on the whole manifest."""
        return content_hash(self._to_dict())

    def save(self, path: str | Path) -> None:
        """Write the manifest and its hash as JSON."""
        value = {**self._to_dict(), "hash": self.hash}
        write_text(Path(path), json.dumps(value, ensure_ascii=False, separators=(",", ":")) + "\n")

    @classmethod
    def load(cls, path: str | Path) -> SplitManifest:
        """Read a manifest; one that was changed after it was saved raises DataError."""
        value = read_json(Path(path))
        try:
            if value["format"] != _FORMAT:
                found = value["format"]
                raise DataError(f"{path} has manifest format {found!r}; this version reads {_FORMAT}")
            known = {field.name: value[field.name] for field in fields(cls)}
            known |= {name: np.array(value[name], dtype=np.int64).reshape(-1) for name in _SPLITS}
            known |= {name: tuple(value[name]) for name in ("classes", "minority")}
            manifest = cls(**known)
            intact = value["hash"] == manifest.hash
        except DataError:
            raise
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise DataError(f"{path} is not a split manifest ({type(error).__name__}: {error})") from error
        if not intact:
            raise DataError(f"{path} was changed after it was saved (its hash differs); make the split again")
        return manifest

    def apply(self, dataset: ImageDataset) -> ImageDataset:
        """Return `dataset` with the three splits of this manifest; DataError if it was made for other images."""
        if dataset.fingerprint != self.fingerprint:
            raise DataError(
                f"this split was made for dataset {self.dataset!r} ({self.fingerprint[:12]}), but "
                f"{dataset.name!r} is {dataset.fingerprint[:12]}: images, labels or names differ; "
                "use the same data or split again"
            )
        available = dataset.splits
        chosen = {name: available[self.sources[name]].subset(getattr(self, name)) for name in _SPLITS}
        return replace(dataset, **chosen)  # type: ignore[arg-type]

    def moved(self, dataset: ImageDataset, keys: Mapping[str, np.ndarray]) -> SplitManifest | None:
        """Return the same split of the same images in another place, under other names or in another order.

        `keys` are the content keys of the images of each split, in its order. None if one is not in the split of
        `dataset` that it was taken from, or classes differ.
        """
        if dataset.classes != self.classes or not dataset.splits.keys() >= set(self.sources.values()):
            return None
        places: dict[tuple[str, bytes], list[int]] = {}
        for source in set(self.sources.values()):
            for place, key in enumerate(dataset.splits[source].content_keys().tolist()):
                places.setdefault((source, key), []).append(place)
        chosen: dict[str, Any] = {}
        for name in _SPLITS:
            source = self.sources[name]
            found = [places.get((source, key), []) for key in keys[name].tolist()]
            rows = np.array([each.pop(0) for each in found if each], dtype=np.int64)
            counts = np.bincount(dataset.splits[source].labels[rows], minlength=dataset.num_classes)
            if len(rows) < len(found) or counts.tolist() != self.counts[name]:
                return None
            chosen[name] = rows
        return replace(self, dataset=dataset.name, fingerprint=dataset.fingerprint, **chosen)

    def _to_dict(self) -> dict[str, Any]:
        return {
            "format": _FORMAT,
            "dataset": self.dataset,
            "fingerprint": self.fingerprint,
            "classes": list(self.classes),
            "profile": self.profile,
            "minority": list(self.minority),
            "counts": self.counts,
            "sources": self.sources,
            **{name: getattr(self, name).tolist() for name in _SPLITS},
        }


def make_splits(
    dataset: ImageDataset,
    *,
    profile: ImbalanceProfile | None = None,
    validation_fraction: float = 0.1,
    test_fraction: float = 0.2,
    minority_ratio: float = 2.0,
    random_state: RandomState = 0,
) -> SplitManifest:
    """Split a dataset into training, validation and test images, and thin the training images.

    A test split is drawn from the training images only if the dataset has none, a validation split likewise. Both are
    stratified: every class gives round(fraction * n_c) images, at least one if it has three or more, and keeps at
    least one for training. The profile then thins the remaining training images; removed images are in no split. Images
    of one group stay together.

    Parameters
    ----------
    validation_fraction, test_fraction : float
        Shares of the training images and of all images, below 1; 0 makes an empty split.
    minority_ratio : float
        See `find_minority`. A step profile's own minority classes take precedence.
    random_state : int, Generator, RandomState or None
        The test and validation images do not depend on the profile.

    Examples
    --------
    >>> from counterpoise.datasets import StepImbalance, dataset_from_arrays
    >>> data = dataset_from_arrays(np.zeros((200, 4, 4), np.uint8), np.repeat([0, 1], 100))
    >>> make_splits(data, profile=StepImbalance(8, minority=[1])).counts
    {'train': [72, 9], 'validation': [8, 8], 'test': [20, 20]}
    """
    _check(dataset, validation_fraction, test_fraction, minority_ratio)
    test_rng, validation_rng, thinning_rng = generator(random_state).spawn(3)
    sources = {name: name if name in dataset.splits else "train" for name in _SPLITS}
    chosen = {name: np.arange(len(split)) for name, split in dataset.splits.items()}
    if dataset.test is None:
        keep = 2 if dataset.validation is None and validation_fraction > 0 else 1
        chosen["train"], chosen["test"] = _carve(dataset, chosen["train"], test_fraction, keep, test_rng)
    if dataset.validation is None:
        chosen["train"], chosen["validation"] = _carve(
            dataset, chosen["train"], validation_fraction, 1, validation_rng
        )
    labels = dataset.train.labels[chosen["train"]]
    profile = NaturalImbalance() if profile is None else profile
    kept, minority = thin(labels, profile, thinning_rng, dataset.num_classes)
    chosen["train"] = chosen["train"][kept]
    counts = {}
    for name in _SPLITS:
        part = dataset.splits[sources[name]].labels[chosen[name]]
        counts[name] = np.bincount(part, minlength=dataset.num_classes).tolist()
    return SplitManifest(
        dataset.name,
        dataset.fingerprint,
        dataset.classes,
        sources,
        minority=find_minority(np.array(counts["train"]), minority_ratio) if minority is None else minority,
        profile=profile.to_dict(),
        counts=counts,
        **{name: chosen[name].astype(np.int64) for name in _SPLITS},
    )


def find_minority(counts: np.ndarray, minority_ratio: float = 2.0) -> tuple[int, ...]:
    """Return the classes with n_c <= n_max / minority_ratio and n_c < n_max (thesis Definition 1.3).

    Examples
    --------
    >>> find_minority(np.array([100, 50, 51]))
    (1,)
    """
    counts = np.asarray(counts)
    largest = counts.max(initial=0)
    return tuple(np.flatnonzero((counts <= largest / minority_ratio) & (counts < largest)).tolist())


def _check(
    dataset: ImageDataset, validation_fraction: float, test_fraction: float, minority_ratio: float
) -> None:
    if not 0 <= validation_fraction < 1:
        raise InputError(
            f"`validation_fraction` is {validation_fraction!r}; expected a share from 0 to below 1"
        )
    if not 0 <= test_fraction < 1:
        raise InputError(f"`test_fraction` is {test_fraction!r}; expected a share from 0 to below 1")
    if not minority_ratio >= 1:
        raise InputError(f"`minority_ratio` is {minority_ratio!r}; expected a number of at least 1")
    check_classes(dataset)
    counts = dataset.train.class_counts(dataset.num_classes)
    if counts.min() < 2:
        raise DataError(
            f"class {dataset.classes[int(np.argmin(counts))]!r} of {dataset.name} has one training image; at least 2 "
            "are needed, and 3 to also validate and test: add images, or `exclude` or `merge` the class"
        )


def _carve(
    dataset: ImageDataset, available: np.ndarray, fraction: float, keep: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Divide `available` indices into those that stay, at least `keep` groups per class, and a share."""
    labels = dataset.train.labels
    groups = np.arange(len(labels)) if dataset.train.groups is None else dataset.train.groups
    if not _are_uniform(labels, groups):
        share = _carve_groups(labels, groups, available, fraction, keep, rng)
        return np.setdiff1d(available, share, assume_unique=True), share
    taken = []
    for index in range(dataset.num_classes):
        members = available[labels[available] == index]
        candidates = np.unique(groups[members])
        at_least = 1 if len(np.unique(groups[labels == index])) >= 3 else 0
        wanted = max(math.floor(len(candidates) * fraction + 0.5), at_least) if fraction > 0 else 0
        count = max(0, min(wanted, len(candidates) - keep))
        taken.append(members[np.isin(groups[members], rng.permutation(candidates)[:count])])
    share = np.sort(np.concatenate(taken)).astype(np.int64)
    return np.setdiff1d(available, share, assume_unique=True), share


def _are_uniform(labels: np.ndarray, groups: np.ndarray) -> bool:
    """Return whether the groups of a class have one size and no other class: their share is that of images."""
    (classes, _), sizes = np.unique(np.stack([labels, groups]), axis=1, return_counts=True)
    return len(classes) == len(np.unique(groups)) and len(set(zip(classes, sizes, strict=True))) == len(
        np.unique(classes)
    )


def _carve_groups(
    labels: np.ndarray,
    groups: np.ndarray,
    available: np.ndarray,
    fraction: float,
    keep: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """Return images of whole groups, so that the share of each class is as near to `fraction` as groups allow."""
    _, inverse = np.unique(groups, return_inverse=True)
    whole = np.zeros((inverse.max() + 1, labels.max() + 1))
    np.add.at(whole, (inverse, labels), 1)
    table = np.zeros_like(whole)
    np.add.at(table, (inverse[available], labels[available]), 1)
    present = table > 0
    sizes = np.maximum(table.sum(axis=0), 1)
    wanted = np.floor(table.sum(axis=0) * fraction + 0.5)
    # As many groups of a class may leave as `keep` allows; one of at least three should.
    allowed, least = present.sum(axis=0) - keep, ((whole > 0).sum(axis=0) >= 3) * (fraction > 0)
    out = np.zeros(len(table), dtype=bool)
    counts, left = np.zeros_like(wanted), np.zeros_like(allowed)

    def distance(counts: np.ndarray) -> float:
        # Classes count alike, whatever their size; one without any image counts more than any deviation.
        lacking = (least > 0) & (counts == 0)
        return float((np.abs(counts - wanted) / sizes).sum() + 2 * len(sizes) * lacking.sum())

    # Groups of rare classes first, since others can make up for them.
    rarest = np.where(present, sizes, np.inf).min(axis=1)
    for _ in range(_PASSES if fraction > 0 else 0):
        before = distance(counts)
        for group in sorted(rng.permutation(np.flatnonzero(present.any(axis=1))), key=rarest.__getitem__):
            sign = -1 if out[group] else 1
            fewer = left + sign * present[group]
            possible = sign < 0 or bool((fewer <= np.maximum(allowed, 0)).all())
            if possible and distance(counts + sign * table[group]) < distance(counts) - 1e-12:
                out[group], left, counts = sign > 0, fewer, counts + sign * table[group]
        if distance(counts) == before:
            break
    chosen = available[out[inverse[available]]]
    return np.sort(chosen).astype(np.int64)
