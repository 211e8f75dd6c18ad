"""VGG-16 with a narrow top, as the thesis fine-tunes it."""

from __future__ import annotations

from torch import nn
from torchvision.models import vgg

from counterpoise.exceptions import InputError
from counterpoise.networks.base import Network
from counterpoise.networks.libraries import IMAGENET_NORMALIZATION
from counterpoise.networks.small import dense_block

_BLOCKS = 5
_EMBEDDING_DIM = 1024


class VGG16(Network):
    """torchvision's thirteen convolutions; global average; dense 1024, batch norm, ReLU = embedding.

    The thesis (section 6.3) freezes most blocks of a pretrained VGG-16 and gives it a new top with an embedding of
    width 1024. Its 14,473,516 trainable parameters cannot be derived from the text, whose figure is lost. With
    ``trainable_blocks=2`` there are 13,609,060 here for its 100 classes.

    Parameters
    ----------
    trainable_blocks : int, default=5
        Number of trained convolution blocks, from the last; the others are frozen. Use 1 or 2 with pretrained
        weights.
    """

    fixed_size = False
    pretrained_normalization = IMAGENET_NORMALIZATION

    def _build(self, trainable_blocks: int = _BLOCKS) -> int:
        if trainable_blocks not in range(_BLOCKS + 1):
            raise InputError(f"trainable_blocks is {trainable_blocks}; vgg16 has blocks 0 to {_BLOCKS}")
        self.backbone = layers = vgg.make_layers(vgg.cfgs["D"], batch_norm=False)
        if self.in_channels != 3:
            layers[0] = nn.Conv2d(self.in_channels, 64, 3, padding=1)
        block = 0
        for layer in layers:
            if isinstance(layer, nn.Conv2d) and layer.bias is not None:
                # The initialization of torchvision's own constructor.
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
                nn.init.zeros_(layer.bias)
            layer.requires_grad_(block >= _BLOCKS - trainable_blocks)
            block += isinstance(layer, nn.MaxPool2d)
        self.top = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), dense_block(512, _EMBEDDING_DIM))
        return _EMBEDDING_DIM
