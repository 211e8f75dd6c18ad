"""The residual network of He et al. 2016 for 32x32 images."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from counterpoise.networks.base import Network

_WIDTHS = (16, 32, 64)
_BLOCKS_PER_STAGE = 5  # 6n + 2 = 32 layers


class ResNet32(Network):
    """conv 16@3x3; three stages of five residual blocks (16, 32, 64); global average = embedding of width 64.

    Shortcuts have no parameters (option A): at the start of a stage they subsample by 2 and pad the new channels with
    zeros (He et al. 2016, section 4.2). 464,154 trainable parameters for ten classes of color images.
    """

    fixed_size = False

    def _build(self) -> int:
        layers: list[nn.Module] = [
            nn.Conv2d(self.in_channels, _WIDTHS[0], 3, padding=1, bias=False),
            nn.BatchNorm2d(_WIDTHS[0]),
            nn.ReLU(),
        ]
        width = _WIDTHS[0]
        for stage_width in _WIDTHS:
            for _ in range(_BLOCKS_PER_STAGE):
                layers.append(_ResidualBlock(width, stage_width))
                width = stage_width
        self.backbone = nn.Sequential(*layers)
        for module in self.backbone.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        return width

    def _pool(self, features: Tensor) -> Tensor:
        return features.mean(dim=(2, 3))


class _ResidualBlock(nn.Module):
    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.stride = 1 if in_channels == out_channels else 2
        self.new_channels = out_channels - in_channels
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride=self.stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        residual = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.new_channels:
            before = self.new_channels // 2
            x = x[:, :, :: self.stride, :: self.stride]
            x = F.pad(x, (0, 0, 0, 0, before, self.new_channels - before))
        return F.relu(residual + x)
