"""Light packages for the slots: a catalog, and names that load on first use."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from counterpoise.catalogs import Catalog, Entry, lazy_exports


def open_slot(
    package: str, kind: str, entries: Sequence[Entry], others: Mapping[str, str]
) -> tuple[Catalog[Entry], Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """Return a slot's catalog, and ``__getattr__``, ``__dir__`` and ``__all__`` of its package.

    The last part of `package` names the group of entry points that add entries from other packages, such as
    ``counterpoise.losses``. `kind` is the noun for an entry in error messages; `others` are other public names, such as
    base classes, and their modules.
    """
    group = f"counterpoise.{package.rpartition('.')[2]}"
    homes = {entry.attribute: entry.target.partition(":")[0] for entry in entries}
    return Catalog(kind, entries, entry_point=group), *lazy_exports(package, {**homes, **others})
