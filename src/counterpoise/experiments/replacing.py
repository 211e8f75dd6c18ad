"""Folders that are there whole or not at all."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Set
from contextlib import contextmanager
from pathlib import Path

from counterpoise.exceptions import RunFolderError


@contextmanager
def replacing_folder(path: Path, contents: Set[str], *, kind: str) -> Iterator[Path]:
    """Yield a new folder beside `path` that takes its place when the block ends without an error.

    Parameters
    ----------
    path : Path
        Where the finished folder shall stand. An earlier one of its kind is replaced.
    contents : set of str
        The names that such a folder may hold; one that holds anything else is refused.
    kind : str
        What it holds, in words.

    Yields
    ------
    Path
        Where to write; gone, with all folders made for it, when the block fails.

    Raises
    ------
    RunFolderError
        If `path` holds anything else, or cannot be written.

    Examples
    --------
    >>> target = Path(tempfile.mkdtemp()) / "results" / "map"
    >>> with replacing_folder(target, {"map.txt"}, kind="map") as folder:
    ...     _ = (folder / "map.txt").write_text("x")
    ...     target.exists()
    False
    >>> [p.name for p in target.iterdir()]
    ['map.txt']
    """
    _refuse_others(path, contents, kind)
    given, path = path, Path(path).absolute()
    new_parents = [parent for parent in path.parents if not parent.exists()]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent))
    except OSError as error:
        raise RunFolderError(
            f"cannot write {given}: {error.strerror}; choose another `out` folder"
        ) from error
    try:
        yield folder
        folder.chmod(0o755)
        _put_in_place(folder, path)
    except OSError as error:
        raise RunFolderError(
            f"cannot write {given}: {error.strerror or error}; free some space or choose another `out`"
        ) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        for parent in new_parents:
            if parent.is_dir() and not any(parent.iterdir()):
                parent.rmdir()


def _put_in_place(folder: Path, path: Path) -> None:
    if not path.exists():
        folder.rename(path)
        return
    # The old one steps aside first: a folder cannot be renamed onto one that holds something.
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", suffix=".old", dir=path.parent) as aside:
        path.rename(Path(aside) / "old")
        folder.rename(path)


def _refuse_others(path: Path, contents: Set[str], kind: str) -> None:
    try:
        strangers = sorted(p.name for p in path.iterdir() if p.name not in contents) if path.exists() else []
    except OSError as error:
        raise RunFolderError(f"cannot use {path}: {error.strerror}; choose another `out` folder") from error
    if strangers:
        raise RunFolderError(
            f"{path} holds more than an earlier {kind} ({strangers[0]} is in it); choose another `out`"
        )
