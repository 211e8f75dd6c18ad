"""Classifiers of torchvision that timm does not have, under our contract."""

from __future__ import annotations

import torchvision
from torch import Tensor, nn

from counterpoise.exceptions import InputError
from counterpoise.networks.base import Network, probed_width

_PREFIX = "torchvision:"
# Their training output is not a tensor of logits, or their classifier is not linear.
_UNSUITED = ("googlenet", "inception_v3", "squeezenet1_0", "squeezenet1_1")


def names() -> list[str]:
    """Return the names of torchvision's classifiers that fit the contract."""
    return [
        name for name in torchvision.models.list_models(module=torchvision.models) if name not in _UNSUITED
    ]


def is_known(name: str) -> bool:
    """Return whether torchvision has a fitting classifier of that name, with or without ``torchvision:``."""
    return name.removeprefix(_PREFIX) in names()


class TorchvisionNetwork(Network):
    """torchvision's model of the given name; the embedding is what its last linear layer would see.

    Parameters
    ----------
    **arguments
        As for :class:`Network`. Without `mean` and `std` there is no normalisation.
    """

    fixed_size = False
    pretrained_normalisation = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))  # ImageNet's

    def _build(self) -> int:
        self.backbone = torchvision.models.get_model(self.name.removeprefix(_PREFIX), weights=None)
        linear_name, _ = [(n, m) for n, m in self.backbone.named_modules() if isinstance(m, nn.Linear)][-1]
        self.backbone.set_submodule(linear_name, nn.Identity())
        if self.in_channels != 3:
            self._adapt_first_layer()
        return probed_width(self)

    def _adapt_first_layer(self) -> None:
        name, old = next((n, m) for n, m in self.backbone.named_modules() if isinstance(m, nn.Conv2d))
        new = nn.Conv2d(
            self.in_channels,
            old.out_channels,
            old.kernel_size,  # type: ignore[arg-type]
            stride=old.stride,  # type: ignore[arg-type]
            padding=old.padding,  # type: ignore[arg-type]
            bias=old.bias is not None,
        )
        self.backbone.set_submodule(name, new)

    def _features(self, x: Tensor) -> Tensor:
        layers = getattr(self.backbone, "features", None)
        if not isinstance(layers, nn.Module):
            raise InputError(
                f"{self.name}: torchvision's model keeps no spatial map; use timm's of the same name"
            )
        return layers(x)

    def _embed(self, x: Tensor) -> Tensor:
        return self.backbone(x)
