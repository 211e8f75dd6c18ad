"""Open a torchvision dataset, downloading what is missing."""

from __future__ import annotations

import contextlib
import inspect
import io
import os
import shutil
import socket
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from counterpoise.exceptions import DataError

_TIMEOUT_SECONDS = 15.0


def open_torchvision(class_name: str, data_dir: Path, where: str, *, train: bool) -> Any:
    """Return the training or the test split of ``torchvision.datasets.<class_name>``.

    If the files are missing and cannot be downloaded, a `DataError` names them by `where`.
    """
    import torchvision.datasets

    kind = getattr(torchvision.datasets, class_name)
    by_flag = "train" in inspect.signature(kind).parameters
    option: dict[str, Any] = {"train": train} if by_flag else {"split": "train" if train else "test"}
    try:
        with _quiet():
            return kind(str(data_dir), download=False, **option)
    except Exception:  # missing, incomplete or damaged: each class raises another exception
        pass
    try:
        with _quiet(), _short_timeout(), _staging(data_dir) as staging:
            kind(str(staging), download=True, **option)
        with _quiet():
            return kind(str(data_dir), download=False, **option)
    except Exception as error:  # urllib, http, ssl, tarfile, zipfile and torchvision each have their own
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise DataError(
            f"{class_name} is not in {data_dir} (or damaged there) and could not be downloaded ({reason}); "
            f"put {where} there, or point `data_dir` (or COUNTERPOISE_DATA) to its folder"
        ) from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep torchvision's prints off stdout, where a JSON may be written; its progress bar uses stderr."""
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextlib.contextmanager
def _short_timeout() -> Iterator[None]:
    """Raise on a silent network, on which torchvision waits forever."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_TIMEOUT_SECONDS)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


@contextlib.contextmanager
def _staging(data_dir: Path) -> Iterator[Path]:
    """Yield a temporary folder whose content moves to `data_dir` only after success."""
    made = [folder for folder in (data_dir, *data_dir.parents) if not folder.exists()]
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(
            prefix=".download-", dir=data_dir, ignore_cleanup_errors=True
        ) as name:
            yield Path(name)
            shutil.copytree(name, data_dir, dirs_exist_ok=True, copy_function=os.replace)
    finally:
        for folder in made:
            with contextlib.suppress(OSError):
                folder.rmdir()  # only succeeds if nothing was put there
