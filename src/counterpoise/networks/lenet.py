"""The thesis's network for MNIST-rb and Fashion-MNIST."""

from __future__ import annotations

from torch import Tensor, nn

from counterpoise.networks.base import Network
from counterpoise.networks.blocks import conv_block, dense_block, flattened_size


class LeNet(Network):
    """conv 6@5x5 padding 2, pool; conv 16@5x5, pool; dense 120 = embedding; each with batch norm and ReLU.

    52,186 trainable parameters for ten classes of 28x28 grey images (thesis, section 6.1).
    """

    def _build(self) -> int:
        flat = flattened_size(self.image_size, 16, (0, 4), self.name)
        self.backbone = nn.Sequential(
            conv_block(self.in_channels, 6, 5, padding=2), conv_block(6, 16, 5, padding=0)
        )
        self.top = nn.Sequential(nn.Flatten(), dense_block(flat, 120))
        return 120

    def _features(self, x: Tensor) -> Tensor:
        return self.backbone(x)

    def _pool(self, features: Tensor) -> Tensor:
        return self.top(features)
