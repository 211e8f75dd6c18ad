"""`load_dataset`: one function for every source of labeled images."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np

from counterpoise.datasets.builtin import DATASETS
from counterpoise.datasets.decoding import Fit, OnProgress, ValueRange, check_fit, resize_images
from counterpoise.datasets.groups import group_images
from counterpoise.datasets.images import Duplicates, ImageDataset, ImageFiles, check_classes
from counterpoise.datasets.listing import Listing, classes_of, list_folder, list_zip, readable_name
from counterpoise.datasets.scan_index import cache_folder
from counterpoise.datasets.scanning import build_dataset, load_into_memory
from counterpoise.datasets.tables import TABLES, list_table
from counterpoise.exceptions import DataError, InputError, UnknownNameError
from counterpoise.files import check_file, expand_user

_LARGEST_IMAGE_SIDE = 16384
_Columns = tuple[str | None, Mapping[str, str | None], bool]


def load_dataset(
    source: str | Path,
    *,
    data_dir: str | Path | None = None,
    image_size: int | tuple[int, int] | None = None,
    fit: Fit = "stretch",
    strict: bool = False,
    in_memory: bool | Literal["auto"] = "auto",
    value_range: ValueRange | Literal["auto"] | None = "auto",
    group: str | None = None,
    duplicates: Duplicates = "keep",
    exclude: str | None = None,
    merge: Sequence[str] = (),
    path_column: str | None = None,
    label_column: str | None = None,
    channels: int | None = None,
    partial: bool = False,
    progress: OnProgress | None = None,
) -> ImageDataset:
    """Load labeled images.

    Parameters
    ----------
    source : str or Path
        Built-in name (see `DATASETS`; write ``./name`` for a folder of that name), folder of class folders
        (optionally below ``train/`` and ``test/`` or ``val/``), zip of one, or CSV or parquet table with the columns
        ``path,label[,split]``.
    data_dir : str or Path, optional
        Folder of the built-in datasets, in torchvision's layout, and of relative sources that do not exist in the
        current folder. Default: the environment variable ``COUNTERPOISE_DATA``, else ``~/.cache/counterpoise``.
    image_size : int or (int, int), optional
        Side of a square, or (height, width), in pixels. Default: the size of most images, or a square, see
        `choose_image_size`.
    fit : {"stretch", "pad", "crop"}
        Treatment of images of another shape: stretched to it, padded with black, or center-cropped, which loses their
        edges; see `decode_image`.
    strict : bool
        Whether an unreadable file is an error rather than left out and named in ``dataset.skipped``.
    in_memory : bool or "auto"
        Whether files are decoded now rather than on every access; "auto" decodes up to 256 MiB.
    value_range : (int, int), "auto" or None
        Values of 16-bit grayscale files that become black and white; None: 0 and 65535. "auto": the range of the
        training images' values, so that images of 12 bits in files of 16 are not nearly black.
    group, duplicates : str
        Images that stay together in every split, and treatment of copies, see `group_images`.
    exclude, merge : str, sequence of str
        Classes that are left out, and classes that become one, see `map_classes`.
    path_column, label_column, channels : str, str, int
        Columns of a table, by default those of a common name; 1 or 3, to which images are converted.
    partial : bool
        Whether classes of `exclude` and `merge`, and columns, may be missing: those of a model need not be in new data.

    Raises
    ------
    DataError
        If the source is missing, empty, damaged, has one class only, or has a test class without training images.

    Examples
    --------
    >>> digits = load_dataset("digits")
    >>> digits.train.images.shape, digits.classes[:3]
    ((1797, 1, 8, 8), ('0', '1', '2'))
    """
    size = _check_image_size(image_size)
    check_fit(fit)
    if in_memory not in (True, False, "auto"):
        raise InputError(f"in_memory is {in_memory!r}; expected True, False or 'auto'")
    folder = resolve_data_dir(data_dir)
    if str(source) in DATASETS:
        dataset = DATASETS[str(source)].build(folder)
        if exclude or merge:
            dataset = rename_classes(dataset, map_classes(dataset.classes, exclude, merge, partial))
        dataset = _convert_channels(dataset, channels or dataset.channels)
        dataset = resize_dataset(dataset, size or dataset.image_size, fit=fit)
        if isinstance(dataset.train.images, ImageFiles):
            dataset = load_into_memory(dataset, in_memory, strict=strict, progress=progress)
        elif in_memory is False:
            raise InputError(f"{source} is held in memory always; in_memory=False is for datasets of files")
    else:
        anywhere = data_dir is not None or "COUNTERPOISE_DATA" in os.environ
        columns: _Columns = (group, {"path": path_column, "label": label_column}, partial)
        listing = _list(source, folder if anywhere else None, columns)
        if exclude or merge:
            names = map_classes(listing.classes, exclude, merge, partial)
            entries = [e._replace(label=names[e.label]) for e in listing.entries if e.label in names]
            listing = replace(listing, entries=tuple(entries), classes=classes_of(entries))
        dataset = build_dataset(
            listing,
            image_size=size,
            fit=fit,
            strict=strict,
            in_memory=in_memory,
            value_range=value_range,
            channels=channels,
            progress=progress,
        )
    return dataset if group is None and duplicates == "keep" else group_images(dataset, group, duplicates)


def resolve_data_dir(data_dir: str | Path | None = None) -> Path:
    """Return the folder of the built-in datasets: `data_dir`, ``COUNTERPOISE_DATA``, or the user's cache."""
    given = (os.environ.get("COUNTERPOISE_DATA") or None) if data_dir is None else data_dir
    if given is not None:
        return expand_user(given)
    return cache_folder()


def _list(source: str | Path, data_dir: Path | None, columns: _Columns) -> Listing:
    given = expand_user(source)
    try:
        path = given if data_dir is None or given.exists() else data_dir / given
        if not path.exists():
            if len(given.parts) > 1 or given.suffix or not str(source).strip():
                raise DataError(f"no such file or folder: {str(source)!r}")
            raise UnknownNameError("dataset or path", str(source), DATASETS.names)
        if readable_name(str(path)) != str(path):
            raise DataError(f"the name of {readable_name(str(path))} is not valid UTF-8; rename it")
        if path.is_dir():
            return list_folder(path)
        if check_file(path).suffix.lower() in TABLES:
            return list_table(path, *columns)
        if path.suffix.lower() == ".zip" or zipfile.is_zipfile(path):
            return list_zip(path)
    except OSError as error:
        raise DataError(f"cannot read {given}: {error.strerror}") from error
    kinds = f"neither a folder nor a .zip nor a table ({', '.join(TABLES)})"
    raise DataError(f"{path} is {kinds}; expected class folders, or a list")


def _check_image_size(image_size: int | tuple[int, int] | None) -> tuple[int, int] | None:
    if image_size is None:
        return None
    size = (image_size, image_size) if isinstance(image_size, int) else tuple(image_size)
    if len(size) != 2 or not all(1 <= side <= _LARGEST_IMAGE_SIDE for side in size):
        raise InputError(f"`image_size` is {image_size!r}; expected one or two sides of 1 to 16384 pixels")
    return int(size[0]), int(size[1])


def map_classes(
    classes: Sequence[str], exclude: str | None, merge: Sequence[str], partial: bool = False
) -> dict[str, str]:
    """Return the new name of each class that stays.

    `exclude` names classes, separated by commas; each of `merge` names some and what becomes of them, as in
    ``bike+car=vehicle``. An unknown class raises InputError with the nearest name, unless `partial`.

    Examples
    --------
    >>> map_classes(["bike", "car", "cat", "dog"], "dog", ["bike+car=vehicle"])
    {'bike': 'vehicle', 'car': 'vehicle', 'cat': 'cat'}
    """
    names: dict[str, str] = dict(zip(classes, classes, strict=True))

    def known(text: str, separator: str, setting: str) -> list[str]:
        given = [text] if text in names else [part.strip() for part in text.split(separator)]
        for name in given:
            if name not in names and not partial:
                raise UnknownNameError(f"class of `{setting}`", name, names)
        return [name for name in given if name in names]

    for text in merge:
        parts, equals, new = text.rpartition("=")
        if not equals or not parts or not new.strip():
            raise InputError(f"`merge` {text}: expected classes and their new name, as in bike+car=vehicle")
        names.update(dict.fromkeys(known(parts, "+", "merge"), new.strip()))
    for name in known(exclude, ",", "exclude") if exclude else ():
        del names[name]
    if not names:
        raise InputError(f"`exclude` {exclude} leaves no class; leave some")
    return names


def fewer_images(dataset: ImageDataset, per_class: int) -> ImageDataset:
    """Return a dataset with at most `per_class` training images of each class, always the same ones.

    Examples
    --------
    >>> digits = load_dataset("digits")
    >>> fewer_images(digits, 20).train.class_counts(10).tolist()
    [20, 20, 20, 20, 20, 20, 20, 20, 20, 20]
    """
    generator = np.random.default_rng(0)
    kept = [
        generator.permutation(np.flatnonzero(dataset.train.labels == index))[:per_class]
        for index in range(dataset.num_classes)
    ]
    return replace(dataset, train=dataset.train.subset(np.sort(np.concatenate(kept))))


def rename_classes(dataset: ImageDataset, names: Mapping[str, str]) -> ImageDataset:
    """Return a dataset without the classes that `names` lacks, and with its names of the others.

    Examples
    --------
    >>> rename_classes(load_dataset("digits"), {"8": "eight", "1": "one"}).classes
    ('eight', 'one')
    """
    classes = tuple(dict.fromkeys(names.values()))
    index = np.array([classes.index(names[name]) if name in names else -1 for name in dataset.classes])
    splits = {n: s.subset(np.flatnonzero(index[s.labels] >= 0)) for n, s in dataset.splits.items()}
    splits = {n: replace(s, labels=index[s.labels]) for n, s in splits.items()}
    dataset = replace(dataset, classes=classes, **splits)  # type: ignore[arg-type]
    check_classes(dataset)
    return dataset


def _convert_channels(dataset: ImageDataset, channels: int) -> ImageDataset:
    """Return arrays in grayscale (ITU-R 601, as Pillow rounds it) or color; files are decoded so."""
    if dataset.channels == channels or not dataset.train.in_memory:
        return dataset
    splits, luma = {}, np.array([19595, 38470, 7471], np.uint32)
    for name, split in dataset.splits.items():
        images = np.asarray(split.images)
        gray = (np.tensordot(images, luma[: images.shape[1]], (1, 0)) + 0x8000 >> 16).astype(np.uint8)
        images = gray[:, None] if channels == 1 else np.repeat(images, 3, axis=1)
        splits[name] = replace(split, images=images, keys=split.content_keys())
    return replace(dataset, channels=channels, **splits)  # type: ignore[arg-type]


def resize_dataset(
    dataset: ImageDataset, image_size: tuple[int, int], *, fit: Fit | None = None
) -> ImageDataset:
    """Return a dataset whose images have another size, (height, width) in pixels; files are decoded at that size.

    `fit` tells how images of another shape fit it, by default as before. Arrays that have the size already never
    depend on it.
    """
    fit = fit or (dataset.fit if isinstance(dataset.train.images, ImageFiles) else "stretch")
    if dataset.train.in_memory and dataset.image_size == image_size:
        return dataset

    def resize(images: np.ndarray | ImageFiles) -> np.ndarray | ImageFiles:
        if isinstance(images, ImageFiles):
            return replace(images, image_size=image_size, fit=fit)
        return resize_images(images, image_size, fit=fit)

    # The content of an array is its pixels as they were.
    splits = {
        n: replace(s, images=resize(s.images), keys=s.content_keys()) for n, s in dataset.splits.items()
    }
    return replace(dataset, image_size=image_size, fit=fit, **splits)  # type: ignore[arg-type]
