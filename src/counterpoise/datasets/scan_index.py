"""Index in the user's cache of facts about files that were read; without it everything is computed."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from hashlib import blake2b
from pathlib import Path

# A file system may give one time to two changes that follow each other at once.
_SETTLED_NS = 2 * 10**9


def cache_folder() -> Path:
    """Return the folder of counterpoise in the user's cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "counterpoise"


def file_version(path: Path) -> str | None:
    """Return a text that every change of a file changes; None if it changed a moment ago."""
    try:
        state = path.stat()
    except OSError:
        return None
    if time.time_ns() - max(state.st_mtime_ns, state.st_ctime_ns) < _SETTLED_NS:
        return None
    return f"{path}|{state.st_size}|{state.st_mtime_ns}|{state.st_ctime_ns}|{state.st_ino}"


def recall(names: Iterable[str | None]) -> dict[str | None, bytes]:
    """Return the facts that are known, by name."""
    keys = {_key(name): name for name in names if name}
    query, values = (
        "SELECT * FROM facts WHERE key IN (SELECT value FROM json_each(?))",
        json.dumps(list(keys)),
    )
    return {keys[key]: fact for key, fact in _use(lambda index: index.execute(query, [values]).fetchall())}


def remember(facts: Mapping[str, bytes]) -> None:
    """Store facts by name."""
    rows = [(_key(name), fact) for name, fact in facts.items()]
    _use(lambda index: index.executemany("INSERT OR REPLACE INTO facts VALUES (?, ?)", rows).fetchall())


def _use(function: Callable[[sqlite3.Connection], list[tuple[str, bytes]]]) -> list[tuple[str, bytes]]:
    path = cache_folder() / "scan-index.sqlite"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(path, timeout=2)) as index, index:
            index.execute("CREATE TABLE IF NOT EXISTS facts (key TEXT PRIMARY KEY, fact BLOB) WITHOUT ROWID")
            return function(index)
    except (sqlite3.Error, OSError) as error:
        if type(error) is sqlite3.DatabaseError:  # its subclasses, such as that of a lock, are no damage
            path.unlink(missing_ok=True)
        return []


def _key(name: str) -> str:
    return blake2b(name.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
