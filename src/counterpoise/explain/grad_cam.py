"""Grad-CAM (Selvaraju et al. 2017)."""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from counterpoise.exceptions import InputError
from counterpoise.explain.base import Explainer
from counterpoise.explain.layers import MapLayer, find_map_layer
from counterpoise.explain.watching import watching


class GradCAM(Explainer):
    """Where the features that raise the logit of a class lie (Selvaraju et al. 2017, Eq. 1 and 2).

    With A the maps of a layer and y the logit, alpha_k is the mean of dy/dA_k over the places, and the map is
    ``max(0, sum_k alpha_k A_k)``, enlarged bilinearly to the size of the image. An image without a place that
    speaks for the class has a map of zeros.

    Parameters
    ----------
    network : torch.nn.Module
        From images (N, C, H, W), floats, to logits.
    layer : str, optional
        As ``network.named_modules()`` has it. Default: the last one with a spatial map, see `find_map_layer`.

    Examples
    --------
    The network sees the mean brightness, which speaks for class 1; the second half of the image is white:

    >>> convolution, head = nn.Conv2d(1, 1, 1, bias=False), nn.Linear(1, 2, bias=False)
    >>> _ = nn.init.ones_(convolution.weight), nn.init.ones_(head.weight)
    >>> network = nn.Sequential(convolution, nn.AdaptiveAvgPool2d(1), nn.Flatten(), head)
    >>> GradCAM(network).explain(torch.tensor([[[[0.0, 0.0, 1.0, 1.0]]]]), targets=1).tolist()
    [[[0.0, 0.0, 0.25, 0.25]]]
    """

    name: ClassVar[str] = "grad-cam"
    title: ClassVar[str] = "Grad-CAM"
    meaning: ClassVar[str] = "how strongly the features at a place raise the score of the class"

    def __init__(self, network: nn.Module, *, layer: str | None = None) -> None:
        super().__init__(network)
        self.layer = layer
        self._found: dict[tuple[int, ...], MapLayer] = {}

    def layer_for(self, image_shape: tuple[int, int, int]) -> MapLayer:
        """Return the layer whose map is used for images of shape (C, H, W).

        Raises
        ------
        InputError
            If the layer is unknown, or no layer has a spatial map.
        """
        if image_shape not in self._found:
            self._found[image_shape] = find_map_layer(self.network, image_shape, self.layer)
        return self._found[image_shape]

    def _explain(self, images: Tensor, targets: Tensor) -> Tensor:
        layer = self.layer_for((images.shape[1], images.shape[2], images.shape[3]))
        with watching(self.network.get_submodule(layer.name)) as watched, torch.enable_grad():
            logits = self.network(images)
            output = watched.output
            if output is None:
                raise InputError(f"layer {layer.name} gave no tensor; choose another `layer`")
            score = logits.gather(1, targets[:, None]).sum()
            (gradient,) = torch.autograd.grad(score, output, materialize_grads=True)
        maps, gradients = layer.to_map(output.detach()), layer.to_map(gradient)
        coarse = F.relu((gradients.mean(dim=(2, 3), keepdim=True) * maps).sum(dim=1, keepdim=True))
        size = (images.shape[2], images.shape[3])
        return F.interpolate(coarse.float(), size=size, mode="bilinear", align_corners=False)[:, 0]
