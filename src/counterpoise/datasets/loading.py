"""`load_dataset`: one function for every source of labeled images."""

from __future__ import annotations

import os
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np

from counterpoise.datasets.builtin import DATASETS
from counterpoise.datasets.decoding import Fit, OnProgress, check_fit, resize_images
from counterpoise.datasets.images import ImageDataset, ImageFiles
from counterpoise.datasets.listing import Listing, list_csv, list_folder, list_zip
from counterpoise.datasets.scanning import build_dataset, load_into_memory
from counterpoise.exceptions import DataError, InputError, UnknownNameError

_LARGEST_IMAGE_SIDE = 16384


def load_dataset(
    source: str | Path,
    *,
    data_dir: str | Path | None = None,
    image_size: int | tuple[int, int] | None = None,
    fit: Fit = "stretch",
    strict: bool = False,
    in_memory: bool | Literal["auto"] = "auto",
    progress: OnProgress | None = None,
) -> ImageDataset:
    """Load labeled images.

    Parameters
    ----------
    source : str or Path
        Built-in name (see `DATASETS`; write ``./name`` for a folder of that name), folder of class folders
        (optionally below ``train/`` and ``test/`` or ``val/``), zip of one, or CSV with the columns
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
        Whether files are decoded now rather than on every access; "auto" decodes up to 512 MiB.

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
        dataset = resize_dataset(dataset, size or dataset.image_size, fit=fit)
        if isinstance(dataset.train.images, ImageFiles):
            return load_into_memory(dataset, in_memory, strict=strict, progress=progress)
        if in_memory is False:
            raise InputError(f"{source} is held in memory always; in_memory=False is for datasets of files")
        return dataset
    anywhere = data_dir is not None or "COUNTERPOISE_DATA" in os.environ
    listing = _list(source, folder if anywhere else None)
    return build_dataset(
        listing, image_size=size, fit=fit, strict=strict, in_memory=in_memory, progress=progress
    )


def resolve_data_dir(data_dir: str | Path | None = None) -> Path:
    """Return the folder of the built-in datasets: `data_dir`, ``COUNTERPOISE_DATA``, or the user's cache."""
    given = (os.environ.get("COUNTERPOISE_DATA") or None) if data_dir is None else data_dir
    if given is not None:
        return Path(given).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "counterpoise"


def _list(source: str | Path, data_dir: Path | None) -> Listing:
    given = Path(source).expanduser()
    try:
        path = given if data_dir is None or given.exists() else data_dir / given
        if not path.exists():
            if len(given.parts) > 1 or given.suffix or not str(source).strip():
                raise DataError(f"no such file or folder: {str(source)!r}")
            raise UnknownNameError("dataset or path", str(source), DATASETS.names)
        if path.is_dir():
            return list_folder(path)
        if path.suffix.lower() == ".csv":
            return list_csv(path)
        if path.suffix.lower() == ".zip" or zipfile.is_zipfile(path):
            return list_zip(path)
    except OSError as error:
        raise DataError(f"cannot read {given}: {error.strerror}") from error
    raise DataError(f"{path} is neither a folder nor a .zip nor a .csv; expected class folders, or a list")


def _check_image_size(image_size: int | tuple[int, int] | None) -> tuple[int, int] | None:
    if image_size is None:
        return None
    size = (image_size, image_size) if isinstance(image_size, int) else tuple(image_size)
    if len(size) != 2 or not all(1 <= side <= _LARGEST_IMAGE_SIDE for side in size):
        raise InputError(f"`image_size` is {image_size!r}; expected one or two sides of 1 to 16384 pixels")
    return int(size[0]), int(size[1])


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

    splits = {name: replace(split, images=resize(split.images)) for name, split in dataset.splits.items()}
    return replace(dataset, image_size=image_size, fit=fit, **splits)  # type: ignore[arg-type]
