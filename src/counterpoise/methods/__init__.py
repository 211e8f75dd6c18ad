"""Methods: records of which component fills which slot, with defaults and paper.

Listing them imports no torch; a component's class is imported on use.
"""

from counterpoise.methods.catalog import METHODS, all_methods, get_method, parse_methods, read_value
from counterpoise.methods.component import Component
from counterpoise.methods.method import CROSS_ENTROPY, SLOTS, Method

__all__ = [
    "CROSS_ENTROPY",
    "METHODS",
    "SLOTS",
    "Component",
    "Method",
    "all_methods",
    "get_method",
    "parse_methods",
    "read_value",
]
