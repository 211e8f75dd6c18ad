"""Small random shifts, rotations and zooms."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from counterpoise.balance.perturb.base import (
    Loss,
    Normalization,
    Perturbation,
    PerturbedBatch,
    Randomness,
    check_images,
    laid_out_like,
)
from counterpoise.exceptions import InputError

_FLIPS = ("auto", "none", "horizontal")


class RandomAffine(Perturbation):
    """Small random rotations, zooms and shifts, different for each image of a batch.

    Parameters
    ----------
    degrees : float in [0, 180], default=10.0
        Each image is rotated by an angle from [-degrees, degrees].
    translate : float in [0, 1), default=0.1
        Largest shift, as a share of width and of height; a shift by whole pixels reaches at least one pixel. 0: none.
    scale : float in [0, 1), default=0.1
        Each image is zoomed by a factor from [1 - scale, 1 + scale].
    flip : {"auto", "none", "horizontal"}, default="auto"
        Whether images are mirrored, left to right, with probability 1/2. ``"auto"``: color images only. Use ``"none"``
        for color images with another meaning in a mirror, such as house numbers and traffic signs.
    p : float in [0, 1], default=1.0
        Probability that an image is rotated, zoomed and shifted; mirroring has its own. Below 1 the network also sees
        unchanged images.
    mean, std : float or sequence of float, optional
        Normalization of the images, one value or one per channel, where they are not in [0, 1].

    Notes
    -----
    Pixels from outside the image repeat its border: black corners would reveal rotated photographs. With ``degrees=0``
    and ``scale=0`` shifts are by whole pixels, which is cheaper and does not blur.

    Helps: the few images of a rare class hardly ever look the same twice.

    Hurts: images that change their meaning when mirrored or rotated.

    Examples
    --------
    >>> images = torch.arange(9.0).reshape(1, 1, 3, 3) / 8
    >>> augment = RandomAffine(degrees=0, translate=0.4, scale=0)
    >>> (augment(images, generator=torch.Generator().manual_seed(11)) * 8)[0, 0]
    tensor([[1., 2., 2.],
            [4., 5., 5.],
            [7., 8., 8.]])
    """

    def __init__(
        self,
        *,
        degrees: float = 10.0,
        translate: float = 0.1,
        scale: float = 0.1,
        flip: str = "auto",
        p: float = 1.0,
        mean: Normalization = None,
        std: Normalization = None,
    ) -> None:
        if not 0 <= degrees <= 180:
            raise InputError(f"degrees is {degrees}; expected an angle in [0, 180]")
        for name, value in (("translate", translate), ("scale", scale)):
            if not 0 <= value < 1:
                raise InputError(f"{name} is {value}; expected a share from 0 to below 1")
        if flip not in _FLIPS:
            raise InputError(f"flip is {flip!r}; expected one of {', '.join(_FLIPS)}")
        if not 0 <= p <= 1:
            raise InputError(f"p is {p}; expected a probability in [0, 1]")
        self.degrees = degrees
        self.translate = translate
        self.scale = scale
        self.flip = flip
        self.p = p
        self.mean, self.std = mean, std

    def __call__(self, images: Tensor, *, generator: Randomness = None) -> Tensor:
        """Return the changed images, without classes, network or loss."""
        check_images(images)
        return self._moved(images, generator)

    def _perturb(
        self, images: Tensor, targets: Tensor, network: nn.Module, loss: Loss, generator: Randomness
    ) -> PerturbedBatch:
        return PerturbedBatch(self._moved(images, generator), targets)

    def _moved(self, images: Tensor, generator: Randomness) -> Tensor:
        # torchvision's v2 transforms draw one set of parameters per call, the same for a whole batch.
        u = torch.rand(5, len(images), generator=generator, device=images.device)
        mirrored = u[4] < 0.5 if self._flips(images) else torch.zeros_like(u[4], dtype=torch.bool)
        if self.degrees == 0 and self.scale == 0:
            height, width = images.shape[2:]
            across, down = self._whole_pixels(u[0], width), self._whole_pixels(u[1], height)
            moved = _shifted(images, across, down, mirrored)
        else:
            moved = self._sampled(images, u, mirrored)
        if self.p < 1:
            changed = torch.rand(len(images), generator=generator, device=images.device) < self.p
            unmoved = torch.where(mirrored[:, None, None, None], images.flip(3), images)
            moved = torch.where(changed[:, None, None, None], moved, unmoved)
        return laid_out_like(images, moved)

    def _flips(self, images: Tensor) -> bool:
        return self.flip == "horizontal" or (self.flip == "auto" and images.shape[1] > 1)

    def _whole_pixels(self, u: Tensor, size: int) -> Tensor:
        most = max(1, round(self.translate * size)) if self.translate else 0
        return (u * (2 * most + 1)).long() - most

    def _sampled(self, images: Tensor, u: Tensor, mirrored: Tensor) -> Tensor:
        """Return the images mirrored, rotated and zoomed about their centers, and shifted, interpolated bilinearly."""
        across, down, angle, zoom = 2 * u[:4] - 1
        across, down = self.translate * across, self.translate * down
        grid = _sampling_grid(
            images, across, down, math.radians(self.degrees) * angle, 1 + self.scale * zoom, mirrored
        )
        working = self._pixels(images if images.dtype in (torch.float32, torch.float64) else images.float())
        grid = grid.to(working.dtype)
        moved = F.grid_sample(working, grid, mode="bilinear", padding_mode="border", align_corners=False)
        # The weights of the four neighbors sum to 1 up to rounding, and devices round differently.
        return self._normalized(moved.clamp_(0, 1)).to(images.dtype)


def _sampling_grid(
    images: Tensor, across: Tensor, down: Tensor, angle: Tensor, zoom: Tensor, mirrored: Tensor
) -> Tensor:
    """Return the source of each pixel, (N, H, W, 2), for `grid_sample`: the image spans -1 to 1.

    Shifts to the right and down are shares of width and height; angles are in radians, clockwise. It equals
    `affine_grid` of the inverse motion; sums of rows and columns are several times faster than its matrix products.
    """
    height, width = images.shape[2:]
    x = torch.arange(width, device=images.device) - (width - 1) / 2 - width * across[:, None]
    y = torch.arange(height, device=images.device) - (height - 1) / 2 - height * down[:, None]
    cos = (torch.cos(angle) / zoom)[:, None]
    sin = (torch.sin(angle) / zoom)[:, None]
    side = torch.where(mirrored, -2 / width, 2 / width)[:, None]
    grid = torch.empty(len(images), height, width, 2, device=images.device)
    torch.add((side * cos * x)[:, None, :], (side * sin * y)[:, :, None], out=grid[..., 0])
    torch.add((-2 / height * sin * x)[:, None, :], (2 / height * cos * y)[:, :, None], out=grid[..., 1])
    return grid


def _shifted(images: Tensor, across: Tensor, down: Tensor, mirrored: Tensor) -> Tensor:
    """Return the images mirrored where `mirrored` is true, then shifted by whole pixels to the right and down."""
    n, channels, height, width = images.shape
    rows = torch.arange(height, device=images.device) - down[:, None]
    columns = torch.arange(width, device=images.device) - across[:, None]
    columns = torch.where(mirrored[:, None], width - 1 - columns, columns)
    rows, columns = rows.clamp_(0, height - 1), columns.clamp_(0, width - 1)
    source = (rows[:, :, None] * width + columns[:, None, :]).reshape(n, 1, height * width)
    return images.flatten(2).gather(2, source.expand(n, channels, height * width)).view(images.shape)
