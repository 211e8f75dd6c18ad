"""Small networks: convolution blocks, then dense blocks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import nn

from counterpoise.networks.base import Network


class Convolution(NamedTuple):
    """Convolution with batch norm and ReLU, and 2x2 max pooling where `pooled`."""

    channels: int
    kernel_size: int
    padding: int = 0
    stride: int = 1
    pooled: bool = True

    def block(self, in_channels: int) -> nn.Sequential:
        """Return the layers."""
        convolution = nn.Conv2d(
            in_channels, self.channels, self.kernel_size, stride=self.stride, padding=self.padding
        )
        layers = [convolution, nn.BatchNorm2d(self.channels), nn.ReLU()]
        return nn.Sequential(*layers, *([nn.MaxPool2d(2)] if self.pooled else []))

    def output_side(self, side: int) -> int:
        """Return the height or width of the output, for that of the input."""
        side = (side + 2 * self.padding - self.kernel_size) // self.stride + 1
        return side // 2 if self.pooled else side


def dense_block(in_features: int, out_features: int) -> nn.Sequential:
    """Return a dense layer with batch norm and ReLU."""
    return nn.Sequential(nn.Linear(in_features, out_features), nn.BatchNorm1d(out_features), nn.ReLU())


class SmallNetwork(Network):
    """Stack of convolution blocks and dense blocks; the output of the last one is the embedding."""

    convolutions: Sequence[Convolution]
    dense: Sequence[int]

    def _build(self) -> int:
        self.backbone = nn.Sequential()
        width, sides = self.in_channels, self.image_size
        for convolution in self.convolutions:
            self.backbone.append(convolution.block(width))
            width = convolution.channels
            sides = (convolution.output_side(sides[0]), convolution.output_side(sides[1]))
        self.top = nn.Sequential(nn.Flatten())
        width *= sides[0] * sides[1]
        for features in self.dense:
            self.top.append(dense_block(width, features))
            width = features
        return width


class TinyNet(SmallNetwork):
    """Network for thumbnails, such as scikit-learn's 8x8 digits."""

    convolutions = (Convolution(16, 3, padding=1), Convolution(32, 3, padding=1))
    dense = (64,)


class LeNet(SmallNetwork):
    """The thesis's network for MNIST-rb and Fashion-MNIST (section 6.1).

    52,186 trainable parameters for ten classes of 28x28 grayscale images.
    """

    convolutions = (Convolution(6, 5, padding=2), Convolution(16, 5))
    dense = (120,)


class ConvNet(SmallNetwork):
    """The thesis's network for CIFAR-10 and SVHN (section 6.2).

    714,780 trainable parameters for ten classes of 32x32 color images.
    """

    convolutions = (Convolution(20, 5), Convolution(50, 5))
    dense = (500, 120)


class AlexNet8(SmallNetwork):
    """The eight learned layers of AlexNet (Krizhevsky et al. 2012, Figure 2), a third as wide, for small images.

    The head is the eighth layer. The first convolution is 5x5 with a stride of 1 pixel for images up to 63 pixels, 2
    up to 127 and 4 above (AlexNet: 11x11, 4); the others are 3x3; pooling is 2x2. Batch norm replaces AlexNet's local
    response normalization and dropout. 547,210 trainable parameters for ten classes of 32x32 color images.
    """

    dense = (256, 256)

    def _build(self) -> int:
        shorter = min(self.image_size)
        self.convolutions = (
            Convolution(32, 5, padding=2, stride=1 if shorter < 64 else 2 if shorter < 128 else 4),
            Convolution(64, 3, padding=1),
            Convolution(96, 3, padding=1, pooled=False),
            Convolution(96, 3, padding=1, pooled=False),
            Convolution(64, 3, padding=1),
        )
        return super()._build()
