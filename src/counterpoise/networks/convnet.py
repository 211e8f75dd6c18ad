"""The thesis's network for CIFAR-10 and SVHN."""

from __future__ import annotations

from torch import Tensor, nn

from counterpoise.networks.base import Network
from counterpoise.networks.blocks import conv_block, dense_block, flattened_size


class ConvNet(Network):
    """conv 20@5x5, pool; conv 50@5x5, pool; dense 500; dense 120 = embedding; each with batch norm and ReLU.

    714,780 trainable parameters for ten classes of 32x32 colour images (thesis, section 6.2).
    """

    def _build(self) -> int:
        flat = flattened_size(self.image_size, 50, (4, 4), self.name)
        self.backbone = nn.Sequential(
            conv_block(self.in_channels, 20, 5, padding=0), conv_block(20, 50, 5, padding=0)
        )
        self.top = nn.Sequential(nn.Flatten(), dense_block(flat, 500), dense_block(500, 120))
        return 120

    def _features(self, x: Tensor) -> Tensor:
        return self.backbone(x)

    def _pool(self, features: Tensor) -> Tensor:
        return self.top(features)
