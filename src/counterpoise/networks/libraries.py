"""Networks of timm and torchvision."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import timm
import torch
import torchvision
from torch import Tensor, nn

from counterpoise.exceptions import InputError, UnknownNameError
from counterpoise.networks.adapters import add_adapters
from counterpoise.networks.base import Network, probe_width

IMAGENET_NORMALIZATION = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))

FEATURES = ("last", "multi")
_STAGES = 3
_TIMM, _TORCHVISION = "timm:", "torchvision:"
# In training mode they return no tensor of logits, or their classifier is not linear.
_UNSUITABLE = ("googlenet", "inception_v3", "squeezenet1_0", "squeezenet1_1")


def library_names() -> list[str]:
    """Return the names of all models of timm, and of torchvision's classifiers that can be used."""
    return [*timm.list_models(), *_torchvision_names()]


def find_class(name: str) -> type[Network] | None:
    """Return the class for a model of timm, else of torchvision; names of timm may have a tag (``.a1_in1k``)."""
    if timm.is_model(name.removeprefix(_TIMM)):
        try:
            timm.get_pretrained_cfg(name.removeprefix(_TIMM))
        except RuntimeError:  # no such tag
            return None
        return TimmNetwork
    return TorchvisionNetwork if name.removeprefix(_TORCHVISION) in _torchvision_names() else None


def _torchvision_names() -> list[str]:
    known = torchvision.models.list_models(module=torchvision.models)
    return [name for name in known if name not in _UNSUITABLE]


class TimmNetwork(Network):
    """Model of timm without its classifier.

    The embedding is the input of that classifier. With ``features="multi"`` the channel means and maxima of the last
    three stages follow it: early stages show texture, which few images of a rare class are enough to learn from.
    """

    fixed_size = False

    def _build(
        self, features: str = "last", adapter: str | None = None, adapter_dim: int | None = None
    ) -> int:
        if features not in FEATURES:
            raise UnknownNameError("features", features, FEATURES)
        self.multi_level = features == "multi"
        model_name = self.name.removeprefix(_TIMM)
        settings: dict[str, Any] = {}
        pretrained = timm.get_pretrained_cfg(model_name)
        if pretrained is not None and pretrained.fixed_input_size:
            settings["img_size"] = self.image_size
            self.fixed_size = True
        self.backbone: Any
        try:
            self.backbone = timm.create_model(
                model_name, pretrained=False, num_classes=0, in_chans=self.in_channels, **settings
            )
        except (AssertionError, RuntimeError, TypeError, ValueError, ZeroDivisionError) as error:
            height, width = self.image_size
            raise InputError(
                f"timm cannot build {model_name} for {height}x{width} images of {self.in_channels} channels"
                f" ({error}); choose another `backbone`, or resize the images"
            ) from error
        if pretrained is not None:
            self.pretrained_normalization = (pretrained.mean, pretrained.std)
        if self.multi_level and not hasattr(self.backbone, "forward_intermediates"):
            raise InputError(f"{self.name} does not return its stages; use `features` last")
        if adapter is not None:
            add_adapters(self.backbone, adapter, dim=adapter_dim)
        return probe_width(self)

    def convert_weights(self, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Return weights as timm reads them: names of DINOv2 or CLIP, position embeddings of this image size."""
        convert = getattr(sys.modules[type(self.backbone).__module__], "checkpoint_filter_fn", None)
        if convert is None:
            return tensors
        try:
            return convert(dict(tensors), self.backbone)
        except Exception:  # timm assumes a file of this architecture; for another it raises any kind of error
            return tensors

    def _features(self, x: Tensor) -> Tensor:
        """Return timm's features as (N, c, h, w), from channels first, channels last or tokens."""
        features = self.backbone.forward_features(x)
        if features.ndim == 4:
            channels_last = getattr(self.backbone, "output_fmt", "NCHW") == "NHWC"
            return features.permute(0, 3, 1, 2) if channels_last else features
        grid = getattr(getattr(self.backbone, "patch_embed", None), "grid_size", None)
        if features.ndim != 3 or grid is None:
            raise InputError(f"{self.name} has no spatial map")
        tokens = features[:, getattr(self.backbone, "num_prefix_tokens", 0) :]
        return tokens.transpose(1, 2).reshape(len(tokens), -1, *grid)

    def _embed(self, x: Tensor) -> Tensor:
        if not self.multi_level:
            return self.backbone.forward_head(self.backbone.forward_features(x), pre_logits=True).flatten(1)
        last, stages = self.backbone.forward_intermediates(x, indices=_STAGES, output_fmt="NCHW")
        pooled = [pool for stage in stages for pool in (stage.mean((2, 3)), stage.amax((2, 3)))]
        return torch.cat([self.backbone.forward_head(last, pre_logits=True).flatten(1), *pooled], dim=1)


class TorchvisionNetwork(Network):
    """Model of torchvision without its last linear layer; the embedding is the input of that layer."""

    fixed_size = False
    pretrained_normalization = IMAGENET_NORMALIZATION

    def _build(self) -> int:
        self.backbone = torchvision.models.get_model(self.name.removeprefix(_TORCHVISION), weights=None)
        last = [name for name, module in self.backbone.named_modules() if isinstance(module, nn.Linear)][-1]
        self.backbone.set_submodule(last, nn.Identity())
        if self.in_channels != 3:
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
        return probe_width(self)

    def _features(self, x: Tensor) -> Tensor:
        layers = getattr(self.backbone, "features", None)
        if not isinstance(layers, nn.Module):
            raise InputError(
                f"{self.name}: torchvision's model has no spatial map; use timm's of the same name"
            )
        return layers(x)

    def _embed(self, x: Tensor) -> Tensor:
        return self.backbone(x)
