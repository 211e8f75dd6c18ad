"""Images that a run learned from, recognized by their contents wherever they lie."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from counterpoise.datasets import ImageDataset, ImageSplit, SplitManifest
from counterpoise.exceptions import InputError
from counterpoise.runs import UNKNOWN, RunFolder, SeenImages


def run_of_weights(weights: str | None) -> RunFolder | None:
    """Return the finished run in whose folder a file of weights lies, or None."""
    run = RunFolder(Path(weights or "").parent)
    return run if weights and run.is_complete() else None


def seen_images(splits: ImageDataset, weights: str | None) -> SeenImages:
    """Return the keys of the images of a run's `splits`, and of those that its initial weights learned from."""
    keys = {name: split.content_keys() for name, split in splits.splits.items()}
    for name, split in splits.splits.items():
        if name != "test" and split.facts is not None:  # else the content is the pixels
            keys[f"{name} pixels"] = split.pixel_keys()
    start = run_of_weights(weights)
    if start is not None and start.seen is not None:
        keys["weights"] = np.unique(start.seen.learned())
    if start is not None and (start.seen is None or UNKNOWN in start.seen.keys):
        keys[UNKNOWN] = np.empty(0, "S16")
    return SeenImages(keys)


def find_seen(run: RunFolder, dataset: ImageDataset) -> SeenImages | None:
    """Return the keys of a run; None if it is of an earlier version and not of this dataset."""
    if run.seen is not None or run.record.dataset.fingerprint != dataset.fingerprint:
        return run.seen
    own = SplitManifest.load(run.path / "manifest.json").apply(dataset)
    return seen_images(own, run.record.start.weights)


def image_roles(seen: SeenImages, split: ImageSplit) -> np.ndarray:
    """Return `SeenImages.roles` of images by their contents, or else by their pixels."""
    roles = seen.roles(split.content_keys())
    rest = np.flatnonzero(roles == "")
    roles[rest] = seen.roles(split.subset(rest).pixel_keys())
    return roles


def own_split(run: RunFolder, dataset: ImageDataset) -> SplitManifest | None:
    """Return the split of a run if `dataset` holds its images, under whatever names; None if it holds others."""
    manifest, contents = SplitManifest.load(run.path / "manifest.json"), run.record.dataset.contents
    if contents not in (None, dataset.contents):
        return None
    if dataset.fingerprint == manifest.fingerprint:
        return manifest
    return None if contents is None or run.seen is None else manifest.moved(dataset, run.seen.keys)


def check_unseen(run: RunFolder, dataset: ImageDataset, manifests: Iterable[SplitManifest]) -> str | None:
    """Raise `InputError` if another run learned from images held out in any repeat: their scores would be too good.

    Where that cannot be avoided, is of validation images of another dataset, or is unknown, the warning is returned.
    """
    seen, own = find_seen(run, dataset), own_split(run, dataset)
    if seen is None:
        return f"{run.path} does not tell which images it learned from: test images may be among them"
    copies = 0
    for repeat, manifest in enumerate(manifests):
        splits = manifest.apply(dataset).splits
        for name in ("test", "validation"):
            roles = image_roles(seen, splits[name])
            # Validation images may be so again; test images must be new.
            shared = int(((roles != "") & (roles != name)).sum())
            avoidable = own is not None and any(
                not np.array_equal(getattr(own, n), getattr(manifest, n)) for n in splits
            )
            if shared and (avoidable or (own is None and name == "test")):
                raise InputError(
                    f"{run.path} learned from {shared:,} of the {name} images of repeat {repeat}, and scores on "
                    f"them would be too good; use its split (`split_file` {run.path / 'manifest.json'}) or other images"
                )
            copies += shared
    return f"{copies:,} held-out images are copies of images that {run.path} learned from" if copies else None
