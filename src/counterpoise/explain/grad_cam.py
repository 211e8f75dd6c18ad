"""Grad-CAM (Selvaraju et al. 2017)."""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from counterpoise.exceptions import InputError
from counterpoise.explain.base import Explainer
from counterpoise.explain.hooks import capture_output, network_device, preserve_state
from counterpoise.explain.layers import MapLayer, find_map_layer


class GradCAM(Explainer):
    """Feature maps weighted by their mean gradient (Selvaraju et al. 2017, Eq. 1 and 2).

    With the maps A_k of a layer and the logit y, alpha_k is the mean of dy/dA_k over the positions, and the saliency
    map is ``max(0, sum_k alpha_k A_k)``, upsampled bilinearly to the image size. It is zero where nothing raises the
    logit. The maps are the activations of the last convolution, before pooling (section 3 of the paper). Features that
    a head takes from earlier stages, beside this layer, are no part of them.

    Parameters
    ----------
    layer : str, optional
        Name as in ``network.named_modules()``. Default: the last map before the last pooling, see `find_map_layer`.

    Examples
    --------
    The logit of class 1 is the mean brightness; the second half of the image is white:

    >>> convolution, head = nn.Conv2d(1, 1, 1, bias=False), nn.Linear(1, 2, bias=False)
    >>> _ = nn.init.ones_(convolution.weight), nn.init.ones_(head.weight)
    >>> network = nn.Sequential(convolution, nn.AdaptiveAvgPool2d(1), nn.Flatten(), head)
    >>> GradCAM(network).explain(torch.tensor([[[[0.0, 0.0, 1.0, 1.0]]]]), targets=1).tolist()
    [[[0.0, 0.0, 0.25, 0.25]]]
    """

    name: ClassVar[str] = "grad-cam"
    title: ClassVar[str] = "Grad-CAM"
    meaning: ClassVar[str] = "how strongly the features at a place raise the score of the class"
    source: ClassVar[str] = "Selvaraju et al. 2017"

    def __init__(self, network: nn.Module, *, layer: str | None = None) -> None:
        super().__init__(network)
        self.layer = layer
        self._found: dict[tuple[int, ...], MapLayer] = {}

    def layer_for(self, image_shape: tuple[int, int, int]) -> MapLayer:
        """Return the layer whose maps are used for images of shape (C, H, W); `InputError` if there is none."""
        if image_shape not in self._found:
            self._found[image_shape] = find_map_layer(self.network, image_shape, self.layer)
        return self._found[image_shape]

    def is_bypassed(self, images: Tensor) -> bool:
        """Return whether logits of images (N, C, H, W) also depend on features beside the layer, which no map shows."""
        _, channels, height, width = images.shape
        layer = self.network.get_submodule(self.layer_for((channels, height, width)).name)
        with preserve_state(self.network), capture_output(layer), torch.enable_grad():
            pixels = images.detach().clone().requires_grad_()
            # Squares, because the sum of probabilities is constant.
            score = self.network(pixels.to(network_device(self.network))).square().sum()
            (gradient,) = torch.autograd.grad(score, pixels, materialize_grads=True)
        return bool((gradient != 0).any())

    def _explain(self, images: Tensor, targets: Tensor) -> Tensor:
        _, channels, height, width = images.shape
        layer = self.layer_for((channels, height, width))
        with capture_output(self.network.get_submodule(layer.name)) as outputs, torch.enable_grad():
            logits = self.network(images)
            if not outputs:
                raise InputError(f"layer {layer.name} returned no tensor; choose another `layer`")
            score = logits.gather(1, targets[:, None]).sum()
            (gradient,) = torch.autograd.grad(score, outputs[-1], materialize_grads=True)
        maps, gradients = layer.to_map(outputs[-1].detach()), layer.to_map(gradient)
        coarse = F.relu((gradients.mean(dim=(2, 3), keepdim=True) * maps).sum(dim=1, keepdim=True))
        return F.interpolate(coarse.float(), size=(height, width), mode="bilinear", align_corners=False)[:, 0]
