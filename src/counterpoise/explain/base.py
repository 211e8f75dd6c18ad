"""Base class of all explainers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from counterpoise.exceptions import InputError
from counterpoise.explain.hooks import network_device, preserve_state


class Explainer(ABC):
    """Saliency maps: how much each pixel counts for a target class.

    `explain` checks the input, chooses the target classes, and restores the network's modes, hooks and gradients, also
    after an error. A subclass implements ``_explain``.

    Parameters
    ----------
    network : torch.nn.Module
        From images (N, C, H, W), floats, to logits (N, classes); of any library.

    Attributes
    ----------
    name, title, meaning, source : str
        Name in the catalog; name and meaning of a value, for display; paper.
    signed : bool
        Whether negative values count against the class; otherwise there are none.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    signed: ClassVar[bool] = False
    meaning: ClassVar[str]
    source: ClassVar[str] = ""

    def __init__(self, network: nn.Module) -> None:
        self.network = network

    @abstractmethod
    def _explain(self, images: Tensor, targets: Tensor) -> Tensor:
        """Return the maps (N, H, W) of checked images; the network is in evaluation mode."""

    def explain(self, images: Tensor, targets: int | Sequence[int] | Tensor | None = None) -> Tensor:
        """Return the saliency maps (N, H, W) of images (N, C, H, W), as float32 on the network's device.

        Parameters
        ----------
        targets : int or sequence of int of length N, optional
            Class to explain, for all images or for each. Default: the predicted class.

        Raises
        ------
        InputError
            If the images have another shape or are not floats, or the network has no such class.
        """
        if images.ndim != 4 or not images.is_floating_point():
            kind = str(images.dtype).removeprefix("torch.")
            raise InputError(
                f"got {kind} images of shape {tuple(images.shape)}; expected floats (N, C, H, W)"
                " (divide uint8 by 255)"
            )
        images = images.detach().to(network_device(self.network))
        with preserve_state(self.network), torch.inference_mode(False):
            # Inference tensors cannot take part in a graph; their copies can.
            images = images.clone() if images.is_inference() else images
            maps = self._explain(images, self._targets(images, targets))
        return maps.detach().float()

    def _targets(self, images: Tensor, targets: int | Sequence[int] | Tensor | None) -> Tensor:
        if not len(images):
            raise InputError("got no images; give at least one")
        with torch.no_grad():
            logits = self.network(images if targets is None else images[:1])
        if targets is None:
            return logits.argmax(dim=1)
        chosen = torch.as_tensor(targets, device=images.device)
        if chosen.is_floating_point() or chosen.shape not in ((), (len(images),)):
            raise InputError(
                f"got targets of shape {tuple(chosen.shape)} for {len(images)} images; expected one class index,"
                " or one for each image"
            )
        count = logits.shape[1]
        if not bool(((chosen >= 0) & (chosen < count)).all()):
            raise InputError(f"targets hold {chosen.max().item()}; expected class indices 0 to {count - 1}")
        return chosen.long().expand(len(images))

    def _probabilities(self, images: Tensor, targets: Tensor) -> Tensor:
        """Return the probability (N,) of each image's target class."""
        with torch.no_grad():
            return self.network(images).softmax(dim=1).gather(1, targets[:, None])[:, 0]


def mean_colors(images: Tensor) -> Tensor:
    """Return images filled with the mean color of each: the content of covered pixels."""
    return images.mean(dim=(2, 3), keepdim=True).expand_as(images).contiguous()
