"""Finding the records, and reading a method as users type it."""

from __future__ import annotations

import importlib
import json
import pkgutil
from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from typing import Any

from counterpoise.exceptions import InputError, UnknownNameError
from counterpoise.methods.record import Method


@cache
def all_methods() -> dict[str, Method]:
    """Return every record, by name: one per file of ``counterpoise.methods.records``.

    Examples
    --------
    >>> all_methods()["bl"].title
    'Baseline'
    """
    package = importlib.import_module("counterpoise.methods.records")
    names = sorted(module.name for module in pkgutil.iter_modules(package.__path__))
    records = [importlib.import_module(f"{package.__name__}.{name}").METHOD for name in names]
    return {record.name: record for record in sorted(records, key=lambda record: record.order)}


def get_method(spec: str) -> Method:
    """Return the method that `spec` names.

    Parameters
    ----------
    spec : str
        A name, or a name with changed options: ``ados:loss=cross-entropy:nu_max=30``.

    Returns
    -------
    Method
        The record, with the options changed.

    Raises
    ------
    UnknownNameError
        If the method, an option or a piece is unknown; the nearest name is suggested.
    InputError
        If an option is not written as ``name=value``.

    Examples
    --------
    >>> get_method("ados").features.class_name
    'ADOS'
    """
    name, *options = spec.split(":")
    records = all_methods()
    if name not in records:
        raise UnknownNameError("method", name, records)
    method = records[name]
    for option in options:
        key, equals, value = option.partition("=")
        if not (key and equals and value):
            raise InputError(f"method {spec!r}: {option!r} is not of the form option=value")
        method = method.with_option(key, read_value(value))
    return replace(method, spec=spec) if options else method


def parse_methods(specs: str | Iterable[str]) -> list[Method]:
    """Return the methods of a comma-separated list, in its order.

    Raises
    ------
    InputError
        If the list is empty or names a method twice.
    """
    names = specs.split(",") if isinstance(specs, str) else list(specs)
    names = [name.strip() for name in names if name.strip()]
    if not names:
        raise InputError(
            "no method given; name at least one, e.g. `methods` bl,bl-cw (see `counterpoise methods`)"
        )
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise InputError(f"method {repeated[0]!r} is named twice; name each method once")
    return [get_method(name) for name in names]


def read_value(text: str) -> Any:
    """Return the value of an option as typed: JSON where it is, ``None`` for ``none``, else the text.

    Examples
    --------
    >>> read_value("0.5"), read_value("none"), read_value("youden")
    (0.5, None, 'youden')
    """
    try:
        return json.loads(text)
    except ValueError:
        return None if text.lower() == "none" else text
