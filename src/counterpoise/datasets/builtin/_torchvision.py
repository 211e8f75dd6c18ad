"""Get a torchvision data set from the disk, or else from the net, or else say what is missing."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import socket
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from counterpoise.datasets.images import ImageDataset, ImageSplit, numbered_paths
from counterpoise.exceptions import DataError

_TIMEOUT_SECONDS = 15.0


def open_torchvision(class_name: str, data_dir: Path, where: str, **options: Any) -> Any:
    """Return ``torchvision.datasets.<class_name>(data_dir, **options)``, downloading only what is missing.

    Raises
    ------
    DataError
        If the files are missing and cannot be downloaded; the message says what to put where.
    """
    import torchvision.datasets

    kind = getattr(torchvision.datasets, class_name)
    try:
        with _quiet():
            return kind(str(data_dir), download=False, **options)
    except Exception:  # not there, incomplete or damaged: each set raises another kind
        pass
    try:
        with _quiet(), _short_timeout(), _staging(data_dir) as staging:
            kind(str(staging), download=True, **options)
        with _quiet():
            return kind(str(data_dir), download=False, **options)
    except Exception as error:  # urllib, http, ssl, tarfile, zipfile and torchvision each have their own
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise DataError(
            f"{class_name} is not in {data_dir} (or damaged there) and could not be downloaded ({reason}); "
            f"put {where} there, or point `data_dir` (or COUNTERPOISE_DATA) to where it lies"
        ) from error


def array_split(prefix: str, images: np.ndarray, labels: Any) -> ImageSplit:
    """Return a split of uint8 images of shape (N, H, W) or (N, C, H, W)."""
    images = np.ascontiguousarray(images, dtype=np.uint8)
    if images.ndim == 3:
        images = images[:, None]
    return ImageSplit(images, np.asarray(labels, dtype=np.int64), numbered_paths(prefix, len(images)))


def array_dataset(
    name: str, classes: tuple[str, ...], train: ImageSplit, test: ImageSplit | None
) -> ImageDataset:
    """Return a data set of splits in memory."""
    _, channels, height, width = train.images.shape
    return ImageDataset(name, classes, channels, (height, width), train, test=test)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep torchvision's prints off stdout, which may be a user's JSON; its progress bar writes to stderr."""
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextlib.contextmanager
def _short_timeout() -> Iterator[None]:
    """Make a silent network an error; torchvision itself would wait for ever."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_TIMEOUT_SECONDS)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


@contextlib.contextmanager
def _staging(data_dir: Path) -> Iterator[Path]:
    """Yield a folder beside the target; what it holds is moved there only if all went well."""
    made = [folder for folder in (data_dir, *data_dir.parents) if not folder.exists()]
    staging = None
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=".download-", dir=data_dir))
        yield staging
        shutil.copytree(staging, data_dir, dirs_exist_ok=True, copy_function=os.replace)
    finally:
        if staging is not None:
            shutil.rmtree(staging, ignore_errors=True)
        for folder in made:
            with contextlib.suppress(OSError):
                folder.rmdir()  # only succeeds where nothing was put
