"""Checks that every method passes, for authors of methods in this package and in others."""

from counterpoise.testing.methods import METHOD_CHECKS as METHOD_CHECKS
from counterpoise.testing.methods import MethodBattery as MethodBattery
from counterpoise.testing.methods import check_method as check_method
from counterpoise.testing.methods import same_weights as same_weights
from counterpoise.testing.methods import stored_probabilities as stored_probabilities
from counterpoise.testing.methods import tiny_dataset as tiny_dataset
