"""A small network for thumbnails, such as scikit-learn's 8x8 digits."""

from __future__ import annotations

from torch import Tensor, nn

from counterpoise.networks.base import Network
from counterpoise.networks.blocks import conv_block, dense_block, flattened_size


class TinyNet(Network):
    """conv 16@3x3, pool; conv 32@3x3, pool; dense 64 = embedding; each with batch norm and ReLU."""

    def _build(self) -> int:
        flat = flattened_size(self.image_size, 32, (0, 0), self.name)
        self.backbone = nn.Sequential(
            conv_block(self.in_channels, 16, 3, padding=1), conv_block(16, 32, 3, padding=1)
        )
        self.top = nn.Sequential(nn.Flatten(), dense_block(flat, 64))
        return 64

    def _features(self, x: Tensor) -> Tensor:
        return self.backbone(x)

    def _pool(self, features: Tensor) -> Tensor:
        return self.top(features)
