"""Whether JSON is what its typed dictionary says."""

from types import NoneType, UnionType
from typing import Union, get_args, get_origin, get_type_hints

import typing_extensions


def faults(value, kind, place="it"):
    """Every place at which a JSON value is not of a type: a wrong type, a missing or an unknown key."""
    if typing_extensions.is_typeddict(kind):
        if not isinstance(value, dict):
            return [f"{place} is no object"]
        hints = get_type_hints(kind)
        names = {f"{place} lacks {name}" for name in kind.__required_keys__ - value.keys()}
        names |= {f"{place} has {name}" for name in value.keys() - hints.keys()}
        return sorted(names) + [
            fault for key in value.keys() & hints.keys() for fault in faults(value[key], hints[key], key)
        ]
    origin, parts = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        found = [faults(value, part, place) for part in parts]
        return [] if [] in found else found[0]
    if origin is dict and isinstance(value, dict):
        return [fault for key in value for fault in faults(value[key], parts[1], f"{place}.{key}")]
    if origin in (list, tuple) and isinstance(value, list):
        return [fault for item in value for fault in faults(item, parts[0], place)]
    right = isinstance(value, (int, float) if kind is float else kind if kind is not NoneType else NoneType)
    return (
        []
        if origin is None and right and (kind is bool or not isinstance(value, bool))
        else [f"{place}: {value!r}"]
    )
