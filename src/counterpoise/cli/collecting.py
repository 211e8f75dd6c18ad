"""Commands that take groups of options."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from functools import wraps
from typing import Any, get_type_hints


def collects_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give `command`, in place of each parameter that is a dataclass, one keyword per field.

    Typer reads a command's options off its signature, so that several commands with the same options would
    have to repeat them all.

    Examples
    --------
    >>> from dataclasses import dataclass
    >>> @dataclass
    ... class Size:
    ...     height: int = 1
    ...     width: int = 1
    >>> @collects_options
    ... def show(name: str, *, size: Size) -> None:
    ...     print(name, size)
    >>> show(name="box", height=2, width=3)
    box Size(height=2, width=3)
    >>> list(inspect.signature(show).parameters)
    ['name', 'height', 'width']
    """
    hints = get_type_hints(command, include_extras=True)
    groups = {name: kind for name, kind in hints.items() if isinstance(kind, type) and is_dataclass(kind)}

    def parameters() -> Iterator[inspect.Parameter]:
        for parameter in inspect.signature(command).parameters.values():
            if parameter.name in groups:
                yield from _as_parameters(groups[parameter.name])
            else:
                yield parameter.replace(annotation=hints[parameter.name], kind=inspect.Parameter.KEYWORD_ONLY)

    @wraps(command)
    def collected(**values: Any) -> None:
        made = {
            name: kind(**{field.name: values.pop(field.name) for field in fields(kind)})
            for name, kind in groups.items()
        }
        command(**values, **made)

    signature = inspect.Signature(list(parameters()))
    collected.__signature__ = signature  # type: ignore[attr-defined]
    collected.__annotations__ = {
        name: parameter.annotation for name, parameter in signature.parameters.items()
    }
    return collected


def _as_parameters(group: type[Any]) -> Iterator[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    for field in fields(group):
        yield inspect.Parameter(
            field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=hints[field.name]
        )
