"""Random states and the generators made of them."""

from __future__ import annotations

import numbers

import numpy as np

from counterpoise.exceptions import InputError

#: Accepted values of ``random_state``.
RandomState = int | np.random.Generator | np.random.RandomState | None


def generator(random_state: RandomState) -> np.random.Generator:
    """Return a NumPy generator for a random state; a generator is returned as it is."""
    if random_state is None or isinstance(random_state, np.random.Generator):
        return np.random.default_rng(random_state)
    if isinstance(random_state, np.random.RandomState):
        return np.random.default_rng(random_state.randint(2**31))
    integer = isinstance(random_state, numbers.Integral) and not isinstance(random_state, bool)
    if not integer or random_state < 0:
        raise InputError(
            f"random_state is {random_state!r}; expected a seed of 0 or more, a generator or None"
        )
    return np.random.default_rng(int(random_state))
