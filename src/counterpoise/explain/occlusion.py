"""Occlusion (Zeiler and Fergus 2014), with captum."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from counterpoise.exceptions import InputError
from counterpoise.explain.base import Explainer, mean_colors


class Occlusion(Explainer):
    """Loss of a class's probability where a square is covered (Zeiler and Fergus 2014, section 4.2).

    A square of the image's mean color moves over the image by half its side. A pixel's value is the mean loss over
    the squares that cover it.

    Parameters
    ----------
    window : int, optional
        Side of the square in pixels. Default: a quarter of the image's shorter side.
    batch_size : int, default=64
        Covered versions per forward pass, at least one for each image.
    """

    name: ClassVar[str] = "occlusion"
    title: ClassVar[str] = "Occlusion"
    signed: ClassVar[bool] = True
    meaning: ClassVar[str] = "how much probability of the class is lost when a place is covered"
    source: ClassVar[str] = "Zeiler and Fergus 2014, section 4.2"

    def __init__(self, network: nn.Module, *, window: int | None = None, batch_size: int = 64) -> None:
        super().__init__(network)
        self.window = window
        self.batch_size = batch_size

    def _explain(self, images: Tensor, targets: Tensor) -> Tensor:
        from captum.attr import Occlusion as CaptumOcclusion

        count, channels, height, width = images.shape
        side = max(1, min(height, width) // 4) if self.window is None else self.window
        if not 1 <= side <= min(height, width):
            raise InputError(f"occlusion got window={side}; expected 1 to {min(height, width)} pixels")
        step = max(1, side // 2)
        lost = CaptumOcclusion(
            lambda versions: self._probabilities(versions, targets.repeat(len(versions) // count))
        ).attribute(
            images,
            sliding_window_shapes=(channels, side, side),
            strides=(channels, step, step),
            baselines=mean_colors(images),
            perturbations_per_eval=max(1, self.batch_size // count),
        )
        return lost[:, 0]
