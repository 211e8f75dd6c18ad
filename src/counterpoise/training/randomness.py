"""Random generators, each derived from the seed of the run and the name of its purpose.

Epoch 7 does not depend on whether epochs 0-6 ran in this process, so an interrupted run resumes to the same bits.
"""

from __future__ import annotations

import zlib

import numpy as np


def generator_for(seed: int, *names: str | int) -> np.random.Generator:
    """Return the generator for one named purpose of a run.

    Examples
    --------
    >>> a, b = generator_for(0, "order", 1), generator_for(0, "order", 1)
    >>> bool(a.random() == b.random())
    True
    """
    numbers = (name if isinstance(name, int) else zlib.crc32(name.encode()) for name in names)
    return np.random.default_rng([seed, *numbers])


def seed_for(seed: int, *names: str | int) -> int:
    """Return a seed (0 to 2**31 - 1) for one named purpose of a run."""
    return int(generator_for(seed, *names).integers(2**31))
