"""Fits that take seconds: without a learning curve, and with few epochs of fine-tuning."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest


@contextmanager
def short_fits(epochs: int) -> Iterator[None]:
    """Leave out the 60 small trainings of a learning curve inside the block, and fine-tune for so many epochs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("counterpoise.studies.fit.learning_curve.SHARE", -1.0)
        patch.setattr("counterpoise.studies.fit.plan.MOST_EPOCHS", epochs)
        yield
