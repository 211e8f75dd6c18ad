"""One counter-measure of a method: where its class lives, and its settings."""

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

# What training hands to a piece that asks for it by name; never a user's option.
CONTEXT = ("class_counts", "class_names", "epochs", "n_jobs", "random_state", "reduction")


@dataclass(frozen=True)
class Piece:
    """A class of ``counterpoise.balance`` and the options it is built with.

    Parameters
    ----------
    folder : str
        The place under ``counterpoise.balance``, such as ``"losses"``.
    class_name : str
        A public name of that folder.
    options : mapping of str to Any
        Keyword arguments of the class that differ from its own defaults.

    Examples
    --------
    >>> Piece("losses", "BalancedSoftmax").name
    'balanced-softmax'
    """

    folder: str
    class_name: str
    options: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def name(self) -> str:
        """The class name as users type it, ``"cross-entropy"`` for ``CrossEntropy``."""
        return kebab_case(self.class_name)

    def load(self) -> type:
        """Import and return the class."""
        return getattr(importlib.import_module(f"counterpoise.balance.{self.folder}"), self.class_name)

    def defaults(self) -> dict[str, Any]:
        """Return every option of the piece with the value it will be built with."""
        parameters = _parameters(self.load())
        values = {name: p.default for name, p in parameters.items() if name not in CONTEXT}
        return values | dict(self.options)

    def identity(self) -> dict[str, Any]:
        """Return what the piece's results depend on: its options, with the content of a file that one names."""
        contents = {
            f"content of {option}": hashlib.sha256(Path(value).read_bytes()).hexdigest()
            for option, value in self.options.items()
            if isinstance(value, str) and Path(value).is_file()
        }
        return {"name": self.name, **self.defaults(), **contents}

    def with_option(self, option: str, value: Any) -> Piece:
        """Return a copy with one option set.

        Raises
        ------
        UnknownNameError
            If the class has no such option.
        """
        known = self.defaults()
        if option not in known:
            raise UnknownNameError(f"option of {self.name}", option, known)
        return replace(self, options=MappingProxyType({**self.options, option: value}))

    def build(self, **context: Any) -> Any:
        """Return an instance, given those entries of `context` that its constructor asks for.

        Raises
        ------
        InputError
            If an option's value is refused.
        """
        accepted = _parameters(self.load())
        arguments = {name: value for name, value in context.items() if name in accepted}
        try:
            return self.load()(**arguments, **self.options)
        except (TypeError, ValueError) as error:
            raise InputError(f"{self.name} cannot be built with {dict(self.options)}: {error}") from error

    def __reduce__(self) -> tuple[type, tuple[str, str, dict[str, Any]]]:
        return Piece, (self.folder, self.class_name, dict(self.options))


def pieces_in(folder: str) -> dict[str, str]:
    """Return what fits one place, name as typed -> class name: the classes that fill the folder's abstract base."""
    module = importlib.import_module(f"counterpoise.balance.{folder}")
    classes = {
        name: getattr(module, name) for name in module.__all__ if inspect.isclass(getattr(module, name))
    }
    bases = tuple(cls for cls in classes.values() if inspect.isabstract(cls))
    return {kebab_case(n): n for n, cls in classes.items() if issubclass(cls, bases) and cls not in bases}


def kebab_case(class_name: str) -> str:
    """Return a class name in lower case with hyphens.

    Examples
    --------
    >>> kebab_case("WeightedCrossEntropy"), kebab_case("FSSMOTE")
    ('weighted-cross-entropy', 'fssmote')
    """
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", class_name).lower()


def _parameters(cls: type) -> dict[str, inspect.Parameter]:
    return {name: p for name, p in inspect.signature(cls).parameters.items() if p.kind is not p.VAR_KEYWORD}
