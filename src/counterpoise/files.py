"""Writing files so that a reader sees the old content or the new, never half of it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from counterpoise.exceptions import InputError, RunFolderError

Json = None | bool | int | float | str | Sequence["Json"] | Mapping[str, "Json"]
"""What a JSON file can hold."""


@contextmanager
def _system_errors(action: str, advice: str) -> Iterator[None]:
    """Turn errors of the operating system into RunFolderError."""
    try:
        yield
    except OSError as error:
        raise RunFolderError(f"cannot {action}: {error.strerror or error}; {advice}") from error


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` that replaces it when the block ends without an error.

    RunFolderError is raised if the file cannot be written (no permission, no space left).
    """
    path = Path(path)
    with _system_errors(f"write {path}", "choose another `out` folder"):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        with _system_errors(f"write {path}", "free some space or choose another `out`"):
            yield temporary
            temporary.chmod(0o644)
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` atomically, in UTF-8."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write `value` to `path` atomically as indented JSON (NaN and infinity are refused)."""
    write_text(path, json.dumps(value, indent=1, allow_nan=False, ensure_ascii=False) + "\n")


def copy_file(source: Path, target: Path) -> None:
    """Copy a file atomically."""
    with atomic_path(target) as temporary:
        shutil.copyfile(source, temporary)


def read_json(path: Path) -> Any:
    """Read JSON; RunFolderError is raised if the file is missing or is not JSON."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise RunFolderError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise RunFolderError(f"{path} is not valid JSON ({error})") from error


def content_hash(value: Any) -> str:
    """Return the SHA-256 (64 hex digits) of `value` written as canonical JSON.

    Examples
    --------
    >>> content_hash({"a": 1, "b": 2}) == content_hash({"b": 2, "a": 1})
    True
    """
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def read_object(path: Path) -> dict[str, Any]:
    """Read a JSON object from a file of a run folder; RunFolderError is raised if it is missing or damaged."""
    value = read_json(path)
    if not isinstance(value, dict):
        raise RunFolderError(f"{path} is damaged (no JSON object); run it again into another `out`")
    return value


@contextmanager
def locked_folder(path: Path, *, timeout: float = 0) -> Iterator[None]:
    """Make a folder and lock it for this process; if nothing was written into a new one, remove it.

    RunFolderError is raised if another process holds it for longer than `timeout` seconds, or it cannot be written.
    """
    made = not path.exists()
    lock = FileLock(path / ".lock", timeout=timeout)
    try:
        with _system_errors(f"write {path}", "choose another `out` folder"):
            path.mkdir(parents=True, exist_ok=True)
            try:
                lock.acquire()
            except Timeout:
                raise RunFolderError(f"{path} is in use by another process; choose another `out`") from None
        yield
    finally:
        lock.release()
        if made and path.is_dir() and {p.name for p in path.iterdir()} <= {".lock"}:
            (path / ".lock").unlink(missing_ok=True)
            path.rmdir()


def is_locked(path: Path) -> bool:
    """Return whether a process holds the folder, see `locked_folder`."""
    if not (path / ".lock").exists():
        return False
    try:
        with FileLock(path / ".lock", timeout=0):
            return False
    except Timeout:
        return True
    except OSError:
        return False  # a folder that this user may not write


def refuse_unexpected(path: Path, kind: str) -> None:
    """Refuse a folder in which there is anything; `kind` is what it could have held."""
    for name in _others(path, {".lock"}):
        raise RunFolderError(
            f"{path} is not empty ({name} is in it) and holds no {kind}; choose another `out`"
        )


def _others(path: Path, known: Set[str]) -> list[str]:
    with _system_errors(f"use {path}", "choose another `out` folder"):
        return sorted({p.name for p in path.iterdir()} - known) if path.exists() else []


@contextmanager
def replacing_folder(path: Path, contents: Set[str], *, kind: str) -> Iterator[Path]:
    """Yield a new folder beside `path` that takes its place when the block ends without an error.

    An earlier folder of its `kind` is replaced; one that holds anything but `contents` raises RunFolderError. When the
    block fails, the new folder is removed with all parents made for it.

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
    for name in _others(path, contents):
        found = f"holds more than an earlier {kind} ({name} is in it)"
        raise RunFolderError(f"{path} {found}; choose another `out`")
    given, path = path, Path(path).absolute()
    new_parents = [parent for parent in path.parents if not parent.exists()]
    with _system_errors(f"write {given}", "choose another `out` folder"):
        path.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent))
    try:
        with _system_errors(f"write {given}", "free some space or choose another `out`"):
            yield folder
            folder.chmod(0o755)
            # The old one steps aside first: a folder cannot be renamed onto one that holds something.
            with tempfile.TemporaryDirectory(
                prefix=f".{path.name}.", suffix=".old", dir=path.parent
            ) as aside:
                if path.exists():
                    path.rename(Path(aside) / "old")
                folder.rename(path)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        for parent in new_parents:
            if parent.is_dir() and not any(parent.iterdir()):
                parent.rmdir()


def file_hash(path: Path | None) -> str | None:
    """Return the SHA-256 of a file, or None without one; InputError is raised if it cannot be read."""
    if path is None:
        return None
    try:
        digest = hashlib.sha256()
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
        return digest.hexdigest()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error


def copy_folder(source: Path, target: Path) -> None:
    """Copy a run folder so that `target` is at every moment a whole run folder, or (for an instant) absent."""
    staging = Path(tempfile.mkdtemp(prefix=".best-", dir=target.parent))
    try:
        ignored = shutil.ignore_patterns(".lock", "checkpoints")
        shutil.copytree(source, staging / "new", ignore=ignored)
        if target.exists():
            target.replace(staging / "old")
        (staging / "new").replace(target)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
