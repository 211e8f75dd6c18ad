"""What the slides measured ("Accuracy Comparison")."""

from __future__ import annotations

from typing import NamedTuple


class Published(NamedTuple):
    """One line of the slides' table.

    Attributes
    ----------
    evaluated_on : str
        ``"test"``, or ``"train+test"``, which the slides call full.
    classifier, combined : float
        Accuracy of VGG-16 on the original images and on those that the U-Net changed, in [0, 1].
    """

    evaluated_on: str
    classifier: float
    combined: float


PUBLISHED: dict[str, tuple[Published, ...]] = {
    "stl10": (Published("test", 0.828, 0.855), Published("train+test", 0.828, 0.960)),
    "cifar10": (Published("test", 0.757, 0.796),),
    "intel": (Published("test", 0.906, 0.932), Published("train+test", 0.906, 0.990)),
}
"""By the name of the data set."""
