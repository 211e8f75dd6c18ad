"""Any network of timm, under our contract."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import timm
from torch import Tensor

from counterpoise.exceptions import InputError
from counterpoise.networks.base import Network, probed_width

_PREFIX = "timm:"


def names() -> list[str]:
    """Return the names of timm's models."""
    return timm.list_models()


def is_known(name: str) -> bool:
    """Return whether timm has a model of that name, with or without ``timm:`` and a tag (``.a1_in1k``)."""
    return timm.is_model(name.removeprefix(_PREFIX))


class TimmNetwork(Network):
    """timm's model of the given name without its classifier; the embedding is what that classifier would see.

    Parameters
    ----------
    **arguments
        As for :class:`Network`. Without `mean` and `std` there is no normalisation.
    """

    fixed_size = False

    def _build(self) -> int:
        model_name = self.name.removeprefix(_PREFIX)
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
            self.pretrained_normalisation = (pretrained.mean, pretrained.std)
        return probed_width(self)

    def convert_weights(self, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Return weights as timm itself reads them: names of DINOv2 or CLIP, positions resampled to the image size."""
        convert = getattr(sys.modules[type(self.backbone).__module__], "checkpoint_filter_fn", None)
        if convert is None:
            return tensors
        try:
            return convert(dict(tensors), self.backbone)
        except Exception:  # it takes what it gets for a file of this architecture
            return tensors

    def _features(self, x: Tensor) -> Tensor:
        return self._to_map(self.backbone.forward_features(x))

    def _embed(self, x: Tensor) -> Tensor:
        return self.backbone.forward_head(self.backbone.forward_features(x), pre_logits=True).flatten(1)

    def _to_map(self, features: Tensor) -> Tensor:
        """Return timm's features as (N, c, h, w), whatever layout the model keeps them in."""
        if features.ndim == 4:
            channels_last = getattr(self.backbone, "output_fmt", "NCHW") == "NHWC"
            return features.permute(0, 3, 1, 2) if channels_last else features
        grid = getattr(getattr(self.backbone, "patch_embed", None), "grid_size", None)
        if features.ndim != 3 or grid is None:
            raise InputError(f"{self.name} has no spatial map")
        tokens = features[:, getattr(self.backbone, "num_prefix_tokens", 0) :]
        return tokens.transpose(1, 2).reshape(len(tokens), -1, *grid)
