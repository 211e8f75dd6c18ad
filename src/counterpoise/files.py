"""Writing files so that a reader sees the old content or the new, never half of it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import secrets
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from counterpoise.exceptions import InputError, RunFolderError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

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

    A link is followed. RunFolderError is raised if there is anything but a regular file, or the file cannot be written
    (no permission, no space left).
    """
    target = Path(os.path.realpath(path))
    with _system_errors(f"write {path}", "choose another `out`"):
        if target.exists() and not target.is_file():
            raise RunFolderError(f"{path} is {_kind(target)}, expected a file; choose another `out`")
        target.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(target.parent, target.name)
        temporary = _temporary(target)
        handle = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)  # the umask applies
    _in_use(handle)
    try:
        with _system_errors(f"write {path}", "free some space or choose another `out`"):
            yield temporary
            if target.exists():
                shutil.copymode(target, temporary)
            temporary.replace(target)
    except BaseException:
        with contextlib.suppress(OSError):  # the first error is the one to tell
            temporary.unlink(missing_ok=True)
        raise
    finally:
        os.close(handle)


def _kind(path: Path) -> str:
    if path.is_dir():
        return "a folder"
    return "a pipe" if path.is_fifo() else "a socket" if path.is_socket() else "a device"


def check_file(path: str | Path) -> Path:
    """Return a path; InputError is raised if there is anything but a file.

    The reader of a pipe may wait forever. A missing file is left to whoever opens it.
    """
    path = Path(path)
    if path.exists() and not path.is_file():
        raise InputError(f"{path} is {_kind(path)}; expected a file")
    return path


def check_output(path: Path, *, overwrite: bool) -> None:
    """Raise InputError if there is a file already, unless it may be replaced."""
    if path.is_file() and not overwrite:
        raise InputError(f"{path} exists; choose another name, or `overwrite` it")


def _temporary(target: Path) -> Path:
    return target.with_name(f".{target.name[:200]}.{secrets.token_hex(4)}.part")


def is_leftover(name: str) -> bool:
    """Return whether a file or folder of this name is unfinished work of `atomic_path` or `replacing_folder`.

    Examples
    --------
    >>> is_leftover(".run.json.0a1b2c3d.part"), is_leftover("run.json")
    (True, False)
    """
    return re.fullmatch(r"\..+\.\w{8}\.(part|old)|\.best-\w{8}", name) is not None


def remove_leftovers(folder: Path, name: str | None = None) -> None:
    """Remove what killed processes left unfinished in a folder; with `name`, only of the file or folder of that name.

    Work of living processes stays.
    """
    prefix = "." if name is None else f".{name[:200]}."
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in [entry for entry in entries if entry.name.startswith(prefix)]:
            if is_leftover(entry.name) and _abandoned(Path(entry.path)):
                if entry.is_dir(follow_symlinks=False):
                    shutil.rmtree(entry.path, ignore_errors=True)
                else:
                    Path(entry.path).unlink(missing_ok=True)


def _in_use(handle: int) -> None:
    """Mark an open file or folder as in use by this process, until it is closed or the process ends."""
    if fcntl is not None:
        with contextlib.suppress(OSError):  # some network file systems have no locks
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _abandoned(path: Path) -> bool:
    if fcntl is None:
        return True  # Windows does not remove open files
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        finally:
            os.close(handle)
    except OSError:
        return False
    return True


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
        return json.loads(check_file(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise RunFolderError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise RunFolderError(f"{path} is not valid JSON ({error})") from error


def expand_user(path: str | Path) -> Path:
    """Return a path without a leading ``~``; InputError is raised if there is no such user, or a null character."""
    if "\0" in str(path):
        raise InputError("the name of a file holds a null character; leave it out")
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise InputError(f"{path}: there is no such user; write the folder without ~") from error


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
        remove_leftovers(path)
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
    """Refuse a folder in which there is anything but leftovers; `kind` is what it could have held."""
    for name in _others(path, {".lock"}):
        raise RunFolderError(
            f"{path} is not empty ({name} is in it) and holds no {kind}; choose another `out`"
        )


def _others(path: Path, known: Set[str]) -> list[str]:
    with _system_errors(f"use {path}", "choose another `out` folder"):
        names = {p.name for p in path.iterdir()} if path.exists() else set()
    return sorted(name for name in names - known if not is_leftover(name))


@contextmanager
def replacing_folder(path: Path, contents: Set[str], *, kind: str) -> Iterator[Path]:
    """Yield a new folder beside `path` that takes its place when the block ends without an error.

    An earlier folder of its `kind` is replaced; one that holds anything but `contents` raises RunFolderError. When the
    block fails, the new folder is removed with all parents made for it.

    Examples
    --------
    >>> import tempfile
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
    given, path = path, Path(os.path.realpath(path))
    new_parents = [parent for parent in path.parents if not parent.exists()]
    try:
        with _staged(given, path) as folder:
            yield folder
    finally:
        for parent in new_parents:
            if parent.is_dir() and not any(parent.iterdir()):
                parent.rmdir()


@contextmanager
def _staged(given: Path, target: Path) -> Iterator[Path]:
    """Yield a new folder that takes the place of `target` when the block ends without an error."""
    folder = _temporary(target)
    with _system_errors(f"write {given}", "choose another `out` folder"):
        target.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(target.parent, target.name)
        folder.mkdir()  # the umask applies
        handle = os.open(folder, os.O_RDONLY) if fcntl is not None else None
    if handle is not None:
        _in_use(handle)
    try:
        with _system_errors(f"write {given}", "free some space or choose another `out`"):
            yield folder
            _put_in_place(folder, target)
    finally:
        if handle is not None:
            os.close(handle)
        shutil.rmtree(folder, ignore_errors=True)


def _put_in_place(folder: Path, target: Path) -> None:
    """Rename `folder` to `target`; what was there has the name of `folder` afterwards, or is gone."""
    if not target.exists():
        folder.rename(target)
    elif not _exchange(folder, target):
        # The old one steps aside first: a folder cannot be renamed onto one that holds something.
        aside = folder.with_suffix(".old")
        target.rename(aside)
        folder.rename(target)
        shutil.rmtree(aside, ignore_errors=True)


def _exchange(first: Path, second: Path) -> bool:
    """Exchange two folders in one step, so that neither name is ever missing; False where the system cannot."""
    if not sys.platform.startswith("linux"):
        return False
    import ctypes

    here, exchange = -100, 2  # AT_FDCWD and RENAME_EXCHANGE of renameat2(2)
    rename = getattr(ctypes.CDLL(None), "renameat2", None)
    return rename is not None and rename(here, os.fsencode(first), here, os.fsencode(second), exchange) == 0


def file_hash(path: Path | None) -> str | None:
    """Return the SHA-256 of a file, or None without one; InputError is raised if it cannot be read."""
    if path is None:
        return None
    try:
        with check_file(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error


def copy_folder(source: Path, target: Path) -> None:
    """Copy a run folder so that `target` is at every moment a whole run folder."""
    with _staged(target, Path(os.path.realpath(target))) as folder:
        ignored = shutil.ignore_patterns(".lock", "checkpoints", ".*.part")
        shutil.copytree(source, folder, ignore=ignored, dirs_exist_ok=True)
