"""Component of a method: a class of ``counterpoise.balance`` and its options."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from counterpoise.exceptions import InputError, UnknownNameError

# Arguments that training passes to a component that asks for them by name; never a user's option.
CONTEXT = ("class_counts", "class_names", "epochs", "n_jobs", "random_state", "reduction")


@dataclass(frozen=True)
class Component:
    """Class that fills a slot of a method, and the options it is built with.

    Parameters
    ----------
    folder : str
        Folder of the slot under ``counterpoise.balance``, such as ``"losses"``.
    target : str
        Public name of that folder, or ``"module:Class"`` for a class of another package.
    options : mapping of str to Any
        Keyword arguments of the class that differ from its own defaults.

    Examples
    --------
    >>> Component("losses", "BalancedSoftmax").name
    'balanced-softmax'
    """

    folder: str
    target: str
    options: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def class_name(self) -> str:
        """Name of the class."""
        return self.target.rpartition(":")[2]

    @property
    def name(self) -> str:
        """Class name as users type it, ``"cross-entropy"`` for ``CrossEntropy``."""
        return kebab_case(self.class_name)

    def load(self) -> type:
        """Import and return the class."""
        module = self.target.rpartition(":")[0] or f"counterpoise.balance.{self.folder}"
        return getattr(importlib.import_module(module), self.class_name)

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
        return Component, (self.folder, self.target, dict(self.options))


def components_in(folder: str) -> dict[str, str]:
    """Return the components that fit a slot, name as typed -> class name: they fill the folder's abstract base."""
    module = importlib.import_module(f"counterpoise.balance.{folder}")
    classes = {
        name: getattr(module, name) for name in module.__all__ if inspect.isclass(getattr(module, name))
    }
    bases = tuple(cls for cls in classes.values() if inspect.isabstract(cls))
    return {kebab_case(n): n for n, cls in classes.items() if issubclass(cls, bases) and cls not in bases}


def kebab_case(class_name: str) -> str:
    """Return a class name in lower case with hyphens: ``FSSMOTE`` is ``fssmote``."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", class_name).lower()


def _parameters(cls: type) -> dict[str, inspect.Parameter]:
    return {name: p for name, p in inspect.signature(cls).parameters.items() if p.kind is not p.VAR_KEYWORD}
