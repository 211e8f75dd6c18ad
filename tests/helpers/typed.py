"""Whether JSON is what its typed dictionary says."""

from types import NoneType, UnionType
from typing import Literal, Union, get_args, get_origin, get_type_hints, is_typeddict


def faults(value, kind, place="it"):
    """Every place at which a JSON value is not of a type: a wrong type, a missing or an unknown key."""
    origin, parts = get_origin(kind), get_args(kind)
    if is_typeddict(kind) and isinstance(value, dict):
        hints = get_type_hints(kind)
        found = [f"{place} lacks {name}" for name in kind.__required_keys__ - value.keys()]
        found += [f"{place} has {name}" for name in value.keys() - hints.keys()]
        common = value.keys() & hints.keys()
        return sorted(found) + [fault for key in common for fault in faults(value[key], hints[key], key)]
    if origin is Literal:
        return [] if value in parts else [f"{place}: {value!r}"]
    if origin in (Union, UnionType):
        found = [faults(value, part, place) for part in parts]
        return [] if [] in found else found[0]
    if origin is dict and isinstance(value, dict):
        return [fault for key in value for fault in faults(value[key], parts[1], f"{place}.{key}")]
    if origin in (list, tuple) and isinstance(value, list):
        return [fault for item in value for fault in faults(item, parts[0], place)]
    plain = {int: (int,), float: (int, float), str: (str,), bool: (bool,), NoneType: (NoneType,)}
    right = type(value) in plain.get(kind, ())
    return [] if right else [f"{place}: {value!r}"]
