"""Images of a table: where they are, loading, and subsets for rehearsals."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from counterpoise.config import Fit
from counterpoise.datasets import ImageDataset, fewer_images, load_dataset, resolve_data_dir
from counterpoise.exceptions import DataError, InputError


@cache
def _sources() -> dict[str, Any]:
    return yaml.safe_load((files(__package__) / "sources.yaml").read_text(encoding="utf-8"))


def find_source(name: str, data_dir: Path | None) -> str:
    """Return the source of the images called `name`: a path, or the name of a built-in dataset.

    If they are absent, the message of the `DataError` says what to put where.
    """
    folder = resolve_data_dir(data_dir)
    entry = _sources()[name]
    for source in entry["sources"]:
        if "." not in source and not source.endswith("/"):
            return source
        if (folder / source).exists():
            return str(folder / source)
    raise DataError(
        f"{name} is not in {folder}; put {entry['put']} there, or point `data_dir` (or COUNTERPOISE_DATA) to "
        "where it lies"
    )


def load_images(
    name: str,
    *,
    data_dir: Path | None = None,
    image_size: int | None = None,
    fit: Fit = "crop",
    subset: int | None = None,
    load: Callable[..., ImageDataset] = load_dataset,
) -> tuple[str, ImageDataset]:
    """Return the source of the images called `name`, and the images, at most `subset` of each class.

    `load` is `load_dataset`, or a version that shows its progress. Raises `DataError` if they are absent or damaged.
    """
    if subset is not None and subset < 2:
        raise InputError(f"`subset` {subset}: at least 2 training images of each class are needed")
    source = find_source(name, data_dir)
    dataset = load(source, data_dir=data_dir, image_size=image_size, fit=fit)
    dataset = without_images(dataset, _sources()[name].get("leave_out", ()))
    return source, dataset if subset is None else fewer_images(dataset, subset)


def stands_in(name: str, dataset: ImageDataset, *, subset: int | None = None) -> str | None:
    """Describe how a dataset differs from the real one called `name`; None if it does not.

    Examples
    --------
    >>> stands_in("mnist", load_dataset("digits"))
    'mnist is not the real one here: 1797 training images of 10 classes, not 60000 of 10'
    """
    train, classes = (_sources()[name].get(key) for key in ("train", "classes"))
    found = len(dataset.train)
    # A subset has fewer images in any case.
    if classes is None or (dataset.num_classes == classes and (subset is not None or found == train)):
        return None
    return (
        f"{name} is not the real one here: {found} training images of {dataset.num_classes} classes, "
        f"not {train} of {classes}"
    )


def without_images(dataset: ImageDataset, names: Collection[str]) -> ImageDataset:
    """Return a dataset without the images whose paths end in one of `names`, ``split/class/file``."""
    if not names:
        return dataset
    changed: dict[str, Any] = {}
    for name, split in dataset.splits.items():
        ends = ["/".join(path.replace("\\", "/").split("/")[-3:]) for path in split.paths]
        kept = np.flatnonzero([end not in names for end in ends])
        changed[name] = split.subset(kept)
    return replace(dataset, **changed)
