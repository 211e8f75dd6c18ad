"""Sharpness-aware minimization (SAM)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from counterpoise.balance.steps.base import Backward, GradientStep
from counterpoise.exceptions import InputError

# As in the paper's Eq. 2, without a division by 0 where the gradient vanishes.
_LEAST_NORM = 1e-12


class SAM(GradientStep):
    """Sharpness-aware minimization (Foret et al. 2021, Algorithm 1).

    Parameters
    ----------
    radius : float, default=0.05
        rho, the distance of the weights at which the gradient is taken.
    defer_epochs : int or float, default=0
        First epoch of it, or a share of `epochs` in (0, 1).
    epochs : int, optional
        Number of epochs; needed where `defer_epochs` is a share.

    Notes
    -----
    The optimizer follows the gradient at ``w + rho * g / ||g||`` with g the gradient at the weights w, over all
    trainable parameters. A minimum must then be flat. Both gradients are of the same images with the same random
    changes, and batch norm learns its statistics from the first pass alone.

    Helps: weighted classes with few images, whose loss otherwise ends at a saddle point (Rangwani et al. 2022).

    Hurts: a step takes twice the time.

    Examples
    --------
    At w = 3 the gradient of ``w ** 2`` is 6; half a unit further up it is 7:

    >>> layer = nn.Linear(1, 1, bias=False)
    >>> _ = nn.init.constant_(layer.weight, 3.0)
    >>> def backward():
    ...     loss = layer.weight.square().sum()
    ...     loss.backward()
    ...     return loss.detach()
    >>> SAM(radius=0.5).backward(layer, backward)
    tensor(9.)
    >>> layer.weight.grad.item(), layer.weight.item()
    (7.0, 3.0)
    """

    def __init__(
        self, *, radius: float = 0.05, defer_epochs: int | float = 0, epochs: int | None = None
    ) -> None:
        super().__init__(defer_epochs=defer_epochs, epochs=epochs)
        if not 0 < radius < float("inf"):
            raise InputError(f"radius is {radius}; expected a finite number above 0")
        self.radius = radius

    def _backward(self, module: nn.Module, backward: Backward) -> Tensor:
        loss = backward()
        moved = [parameter for parameter in module.parameters() if parameter.grad is not None]
        buffers = list(module.buffers())
        with torch.no_grad():
            norm = torch.stack([parameter.grad.norm() for parameter in moved]).norm()  # type: ignore[union-attr]
            scale = self.radius / (norm + _LEAST_NORM)
            saved = [tensor.clone() for tensor in (*moved, *buffers)]
            for parameter in moved:
                parameter.add_(parameter.grad * scale)
                parameter.grad = None
        try:
            backward()
        finally:
            with torch.no_grad():
                for tensor, before in zip((*moved, *buffers), saved, strict=True):
                    tensor.copy_(before)
        return loss
