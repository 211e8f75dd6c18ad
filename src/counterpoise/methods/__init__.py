"""Methods: records of which component fills which slot, with defaults and paper.

Listing them imports no torch; a component's class is imported on use.
"""

from counterpoise.methods.catalog import METHODS, all_methods, get_method, parse_methods, read_value
from counterpoise.methods.method import CROSS_ENTROPY, SLOTS, Component, Method
