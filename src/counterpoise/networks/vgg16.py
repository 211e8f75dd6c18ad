"""VGG-16 with a narrow top, as the thesis fine-tunes it."""

from __future__ import annotations

from torch import Tensor, nn
from torchvision.models import vgg

from counterpoise.exceptions import InputError
from counterpoise.networks.base import Network
from counterpoise.networks.blocks import dense_block

_BLOCKS = 5
_SMALLEST = 2**_BLOCKS
_EMBEDDING_DIM = 1024


class VGG16(Network):
    """torchvision's thirteen convolutions; global average; dense 1024, batch norm, ReLU = embedding.

    The thesis (section 6.3) keeps most blocks of a pretrained VGG-16 frozen and gives it a new top with an
    embedding of width 1024; its 14,473,516 trainable parameters cannot be derived from the text, whose figure
    is lost. With ``trainable_blocks=2`` there are 13,609,060 here for its 100 classes.

    Parameters
    ----------
    trainable_blocks : int, default=5
        How many of the five convolution blocks are trained, counted from the last one; the others are frozen.
        Use 1 or 2 with pretrained weights; frozen random weights learn nothing.
    **arguments
        As for :class:`Network`.
    """

    fixed_size = False
    pretrained_normalisation = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))  # ImageNet's

    def _build(self, trainable_blocks: int = _BLOCKS) -> int:
        if trainable_blocks not in range(_BLOCKS + 1):
            raise InputError(f"trainable_blocks is {trainable_blocks}; vgg16 has blocks 0 to {_BLOCKS}")
        if min(self.image_size) < _SMALLEST:
            found = f"{self.image_size[0]}x{self.image_size[1]}"
            raise InputError(
                f"vgg16 needs images of at least {_SMALLEST}x{_SMALLEST}, found {found}; resize them"
            )
        self.backbone = vgg.make_layers(vgg.cfgs["D"], batch_norm=False)
        if self.in_channels != 3:
            self.backbone[0] = nn.Conv2d(self.in_channels, 64, 3, padding=1)
        for layer in self.backbone:
            if (
                isinstance(layer, nn.Conv2d) and layer.bias is not None
            ):  # as torchvision's own constructor does
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
                nn.init.zeros_(layer.bias)
        self._freeze_blocks(_BLOCKS - trainable_blocks)
        self.top = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), dense_block(512, _EMBEDDING_DIM))
        return _EMBEDDING_DIM

    def _freeze_blocks(self, count: int) -> None:
        block = 0
        for layer in self.backbone:
            layer.requires_grad_(block >= count)
            block += isinstance(layer, nn.MaxPool2d)

    def _features(self, x: Tensor) -> Tensor:
        return self.backbone(x)

    def _pool(self, features: Tensor) -> Tensor:
        return self.top(features)
