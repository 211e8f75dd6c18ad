"""Methods are records: which counter-measure acts at which place, with its defaults and its paper.

Listing the records imports no torch; a piece is imported when it is built.
"""

from counterpoise.methods.piece import Piece
from counterpoise.methods.record import CROSS_ENTROPY, Method
from counterpoise.methods.registry import all_methods, get_method, parse_methods

__all__ = ["CROSS_ENTROPY", "Method", "Piece", "all_methods", "get_method", "parse_methods"]
