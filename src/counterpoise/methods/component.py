"""Component of a method: an entry of a slot's catalog and its options."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from counterpoise.balance.catalog import SLOT_CATALOGS
from counterpoise.exceptions import InputError, UnknownNameError

# Arguments that training passes to a component that asks for them by name; never a user's option.
CONTEXT = ("class_counts", "class_names", "epochs", "n_jobs", "random_state", "reduction")


@dataclass(frozen=True)
class Component:
    """Component that fills a slot of a method, and the options it is built with.

    Parameters
    ----------
    folder : str
        Folder of the slot under ``counterpoise.balance``, such as ``"losses"``.
    name : str
        Name in the catalog of that folder.
    options : mapping of str to Any
        Keyword arguments of the class that differ from its own defaults.

    Examples
    --------
    >>> Component("losses", "balanced-softmax").load().__name__
    'BalancedSoftmax'
    """

    folder: str
    name: str
    options: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))

    def load(self) -> type:
        """Import and return the class."""
        return SLOT_CATALOGS[self.folder][self.name].load()

    def defaults(self) -> dict[str, Any]:
        """Return every option with the value that the component will be built with."""
        parameters = _parameters(self.load())
        values = {name: p.default for name, p in parameters.items() if name not in CONTEXT}
        return values | dict(self.options)

    def identity(self) -> dict[str, Any]:
        """Return what the component's results depend on: its options, and the content of a file that one names."""
        contents = {
            f"content of {option}": hashlib.sha256(Path(value).read_bytes()).hexdigest()
            for option, value in self.options.items()
            if isinstance(value, str) and Path(value).is_file()
        }
        return {"name": self.name, **self.defaults(), **contents}

    def with_option(self, option: str, value: Any) -> Component:
        """Return a copy with one option set; an unknown one raises UnknownNameError."""
        known = self.defaults()
        if option not in known:
            raise UnknownNameError(f"option of {self.name}", option, known)
        return replace(self, options=MappingProxyType({**self.options, option: value}))

    def build(self, **context: Any) -> Any:
        """Return an instance, given those entries of `context` that its constructor asks for.

        A refused value of an option raises InputError.
        """
        accepted = _parameters(self.load())
        arguments = {name: value for name, value in context.items() if name in accepted}
        try:
            return self.load()(**arguments, **self.options)
        except (TypeError, ValueError) as error:
            raise InputError(f"{self.name} cannot be built with {dict(self.options)}: {error}") from error

    def __reduce__(self) -> tuple[type, tuple[str, str, dict[str, Any]]]:
        return Component, (self.folder, self.name, dict(self.options))


def _parameters(cls: type) -> dict[str, inspect.Parameter]:
    return {name: p for name, p in inspect.signature(cls).parameters.items() if p.kind is not p.VAR_KEYWORD}
