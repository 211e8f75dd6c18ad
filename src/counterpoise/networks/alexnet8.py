"""Eight learned layers after AlexNet, sized for the input."""

from __future__ import annotations

from torch import Tensor, nn

from counterpoise.networks.base import Network
from counterpoise.networks.blocks import dense_block, flattened_size

_CHANNELS = (32, 64, 96, 96, 64)
_POOLED = (0, 1, 4)  # after the first, second and fifth convolution, as in AlexNet
_DENSE = 256


class AlexNet8(Network):
    """Five convolutions (32, 64, 96, 96, 64), pool after the 1st, 2nd and 5th; dense 256, dense 256 = embedding.

    The order of AlexNet's eight learned layers (Krizhevsky et al. 2012, Figure 2), of which the head is the eighth,
    a third as wide and for small images: the first convolution is 5x5 with a stride of 1 pixel up to images of 63
    pixels, 2 up to 127 and 4 beyond (AlexNet: 11x11, 4), the others are 3x3, and pooling is 2x2. Each layer has batch
    norm in place of AlexNet's local response normalisation and dropout. 547,210 trainable parameters for ten classes
    of 32x32 colour images.
    """

    def _build(self) -> int:
        shorter = min(self.image_size)
        stride = 1 if shorter < 64 else 2 if shorter < 128 else 4
        size = (-(-self.image_size[0] // stride), -(-self.image_size[1] // stride))
        flat = flattened_size(size, _CHANNELS[-1], (0, 0, 0), self.name)
        layers: list[nn.Module] = []
        width = self.in_channels
        for number, channels in enumerate(_CHANNELS):
            kernel, step = (5, stride) if number == 0 else (3, 1)
            layers.append(_convolution(width, channels, kernel, stride=step, pooled=number in _POOLED))
            width = channels
        self.backbone = nn.Sequential(*layers)
        self.top = nn.Sequential(nn.Flatten(), dense_block(flat, _DENSE), dense_block(_DENSE, _DENSE))
        return _DENSE

    def _features(self, x: Tensor) -> Tensor:
        return self.backbone(x)

    def _pool(self, features: Tensor) -> Tensor:
        return self.top(features)


def _convolution(
    in_channels: int, out_channels: int, kernel_size: int, *, stride: int, pooled: bool
) -> nn.Sequential:
    layers = [
        nn.Conv2d(in_channels, out_channels, kernel_size, stride=stride, padding=kernel_size // 2),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(),
    ]
    return nn.Sequential(*layers, *([nn.MaxPool2d(2)] if pooled else []))
