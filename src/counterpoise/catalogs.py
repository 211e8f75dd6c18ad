"""Catalogs: named entries that are cheap to list and load what they name on first use."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any, Generic, Protocol, TypeVar

from counterpoise.exceptions import InputError, UnknownNameError


@dataclass(frozen=True, kw_only=True)
class Entry:
    """Description of something that can be chosen by name, as typed by users and written to files.

    `target` is ``"module:attribute"``, `source` the paper, with equation or section, and `needs` are optional packages.
    The name is not derived from that of a class, so that a class can be renamed.
    """

    name: str
    target: str
    title: str = ""
    summary: str = ""
    source: str = ""
    needs: tuple[str, ...] = ()

    @property
    def attribute(self) -> str:
        """Name of the class or function in its module."""
        return self.target.partition(":")[2]

    def load(self) -> Any:
        """Import and return what the entry names."""
        module, _, attribute = self.target.partition(":")
        return getattr(importlib.import_module(module), attribute)


class Named(Protocol):
    """Anything with a name."""

    @property
    def name(self) -> str:
        """Name as typed by users."""


T = TypeVar("T", bound=Named)


class Catalog(Generic[T]):
    """Entries of one kind by unique name, in the order in which they were added.

    Other packages add entries through the group `entry_point`: each entry point names one entry or an iterable of
    entries. They are loaded on the first look-up.

    Examples
    --------
    >>> colors = Catalog("color", [Entry(name="red", target="colors:Red"), Entry(name="blue", target="colors:Blue")])
    >>> colors.names, "red" in colors, colors.get("blue").target
    (('red', 'blue'), True, 'colors:Blue')
    >>> colors.get("rde")
    Traceback (most recent call last):
    ...
    counterpoise.exceptions.UnknownNameError: unknown color 'rde'; did you mean 'red'? (known: blue, red)
    """

    def __init__(self, kind: str, entries: Iterable[T] = (), *, entry_point: str | None = None) -> None:
        self.kind = kind
        self._entries: dict[str, T] = {}
        self._entry_point = entry_point
        for entry in entries:
            self.add(entry)

    def add(self, entry: T) -> T:
        """Add an entry and return it; InputError is raised if its name is taken."""
        if entry.name in self._entries:
            raise InputError(f"{self.kind} {entry.name!r} exists already; choose another name")
        self._entries[entry.name] = entry
        return entry

    def get(self, name: str) -> T:
        """Return the entry of that name, or raise UnknownNameError, which suggests the nearest name."""
        entries = self._loaded()
        if name not in entries:
            raise UnknownNameError(self.kind, str(name), entries)
        return entries[name]

    @property
    def names(self) -> tuple[str, ...]:
        """All names, in order."""
        return tuple(self._loaded())

    __getitem__ = get

    def __contains__(self, name: object) -> bool:
        return name in self._loaded()

    def __iter__(self) -> Iterator[T]:
        return iter(self._loaded().values())

    def __len__(self) -> int:
        return len(self._loaded())

    def _loaded(self) -> dict[str, T]:
        group, self._entry_point = self._entry_point, None
        for point in entry_points(group=group) if group else ():
            found = point.load()
            for entry in [found] if hasattr(found, "name") else found:
                self.add(entry)
        return self._entries


def lazy_exports(
    package: str, exports: Mapping[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """Return ``__getattr__``, ``__dir__`` and ``__all__`` of a package that imports its modules on first use.

    `exports` maps each public name to the full name of the module that defines it.

    Examples
    --------
    >>> getattribute, names, exported = lazy_exports("example", {"sqrt": "math"})
    >>> getattribute("sqrt")(9.0), exported
    (3.0, ['sqrt'])
    """

    def getattribute(name: str) -> Any:
        if name not in exports:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(exports[name]), name)

    return getattribute, lambda: sorted(exports), list(exports)
