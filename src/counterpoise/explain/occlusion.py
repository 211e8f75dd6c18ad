"""Occlusion (Zeiler and Fergus 2014), through captum."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from counterpoise.exceptions import InputError
from counterpoise.explain.base import Explainer, mean_colours


class Occlusion(Explainer):
    """How much probability of a class is lost when a square is covered (Zeiler and Fergus 2014, section 4.2).

    A square of the image's mean colour moves over it by half its side; a pixel's value is the mean loss over the
    squares that covered it.

    Parameters
    ----------
    network : torch.nn.Module
        From images (N, C, H, W), floats, to logits.
    window : int, optional
        Side of the square in pixels. Default: a quarter of the image's shorter side.
    batch_size : int, default=64
        Covered versions that are sent through at a time, at least one for each image.

    Examples
    --------
    >>> import torch
    >>> network = nn.Sequential(nn.Flatten(), nn.Linear(4, 2, bias=False))
    >>> with torch.no_grad():
    ...     _ = network[1].weight.copy_(torch.tensor([[0.0, 0, 0, 0], [1.0, 0, 0, 0]]))
    >>> map = Occlusion(network, window=1).explain(torch.tensor([[[[1.0, 0.0], [0.0, 0.0]]]]), targets=1)
    >>> map[0, 0, 0].item()  # sigmoid(1) - sigmoid(1/4)
    0.168...
    """

    name: ClassVar[str] = "occlusion"
    title: ClassVar[str] = "Occlusion"
    signed: ClassVar[bool] = True
    meaning: ClassVar[str] = "how much probability of the class is lost when a place is covered"

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

        def probability(versions: Tensor) -> Tensor:
            return self._probabilities(versions, targets.repeat(len(versions) // count))

        lost = CaptumOcclusion(probability).attribute(
            images,
            sliding_window_shapes=(channels, side, side),
            strides=(channels, step, step),
            baselines=mean_colours(images),
            perturbations_per_eval=max(1, self.batch_size // count),
        )
        return lost[:, 0]
