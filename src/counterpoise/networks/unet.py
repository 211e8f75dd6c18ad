"""A U-Net from images to images of the same size."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from counterpoise.exceptions import InputError
from counterpoise.networks.base import check_floats


class UNet(nn.Module):
    """Encoder and decoder with skips at every scale (Ronneberger et al. 2015); the output is an image again.

    Each of `depth` scales has one 3x3 convolution with batch norm and ReLU on the way down, and (except the coarsest)
    one on the way up. Ronneberger et al. have two; one halves the time on a CPU. Pooling rounds up, and the way up
    crops to the size of the skip, so images can have any size.

    Parameters
    ----------
    in_channels : int
        Channels of the images and of the output.
    width : int, default=16
        Channels of the finest scale; they double with every coarser one.
    depth : int, default=3
        Number of scales.
    residual : bool, default=False
        Whether the output is ``clip(x + u(x), 0, 1)`` instead of ``sigmoid(u(x))``. The last layer of u starts at zero,
        so that the untrained U-Net returns its images, to the bit.

    Examples
    --------
    >>> unet = UNet(3, width=4)
    >>> unet(torch.zeros(2, 3, 17, 31)).shape
    torch.Size([2, 3, 17, 31])
    >>> images = torch.rand(2, 3, 8, 8)
    >>> torch.equal(UNet(3, width=4, residual=True)(images), images)
    True
    """

    def __init__(self, in_channels: int, *, width: int = 16, depth: int = 3, residual: bool = False) -> None:
        super().__init__()
        for name, value in (("in_channels", in_channels), ("width", width), ("depth", depth)):
            if value < 1:
                raise InputError(f"{name} is {value}; a U-Net needs at least 1")
        self.in_channels = in_channels
        self.width = width
        self.depth = depth
        self.residual = residual
        widths = [width * 2**scale for scale in range(depth)]
        inputs = [in_channels, *widths[:-1]]
        self.down = nn.ModuleList(_convolution(i, o) for i, o in zip(inputs, widths, strict=True))
        pairs = list(pairwise(widths))
        self.narrow = nn.ModuleList(nn.Conv2d(coarse, fine, 1) for fine, coarse in pairs)
        self.up = nn.ModuleList(_convolution(2 * fine, fine) for fine, _ in pairs)
        self.last = nn.Conv2d(width, in_channels, 1)
        if residual:
            nn.init.zeros_(self.last.weight)
            nn.init.zeros_(self.last.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """Return images (N, C, H, W) in (0, 1), float32, of images (N, C, H, W), floats in [0, 1].

        Those of a residual U-Net are in [0, 1].

        Raises
        ------
        InputError
            If `x` is not of floats, or has another number of channels.
        """
        if x.ndim != 4 or x.shape[1] != self.in_channels:
            raise InputError(
                f"the U-Net got images of shape {tuple(x.shape)}; expected (N, {self.in_channels}, height, width)"
            )
        check_floats(x, "the U-Net")
        images, skips = x, list[Tensor]()
        for down in self.down:
            # Rounding up keeps the last row and column of an odd size.
            x = down(F.max_pool2d(x, 2, ceil_mode=True) if skips else x)
            skips.append(x)
        x = skips.pop()
        for narrow, up in zip(reversed(self.narrow), reversed(self.up), strict=True):
            skip = skips.pop()
            enlarged = F.interpolate(narrow(x), scale_factor=2.0)[..., : skip.shape[2], : skip.shape[3]]
            x = up(torch.cat([skip, enlarged], dim=1))
        change = self.last(x).float()
        if self.residual:
            return (images + change).clamp(0, 1)
        # In half precision the sigmoid would round bright pixels to 1, where the cross entropy has no gradient.
        return torch.sigmoid(change)


def _convolution(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )
