"""The contract of all explainers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from counterpoise.exceptions import InputError
from counterpoise.explain.watching import untouched


class Explainer(ABC):
    """Says of each place of an image how much it counts for a class.

    The base checks the input, chooses the class, and leaves the network as it found it, also after an error: its
    modes, hooks, gradients and which parameters are trained. An explainer fills ``_explain``.

    Parameters
    ----------
    network : torch.nn.Module
        From images (N, C, H, W), floats, to logits (N, classes): one of ours, of timm or of torchvision.

    Attributes
    ----------
    name, title : str
        On the command line, and in words.
    signed : bool
        Whether a negative value speaks against the class; otherwise there are none.
    meaning : str
        What a value says, in words.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    signed: ClassVar[bool] = False
    meaning: ClassVar[str]

    def __init__(self, network: nn.Module) -> None:
        self.network = network

    @abstractmethod
    def _explain(self, images: Tensor, targets: Tensor) -> Tensor:
        """Return the maps (N, H, W) of checked images, with the network in evaluation mode."""

    def explain(self, images: Tensor, targets: int | Sequence[int] | Tensor | None = None) -> Tensor:
        """Explain the logits of one class per image.

        Parameters
        ----------
        images : Tensor of shape (N, C, H, W)
            Floats, as the network takes them.
        targets : int or sequence of int of length N, optional
            The class to explain, for all or for each image. Default: the class with the largest logit.

        Returns
        -------
        Tensor of shape (N, H, W)
            float32, on the network's device.

        Raises
        ------
        InputError
            If the images have another shape or are not floats, or a class is not one of the network's.
        """
        if images.ndim != 4 or not images.is_floating_point():
            kind = str(images.dtype).removeprefix("torch.")
            raise InputError(
                f"got {kind} images of shape {tuple(images.shape)}; expected floats (N, C, H, W)"
                " (divide uint8 by 255)"
            )
        images = images.detach().to(network_device(self.network))
        with untouched(self.network), torch.inference_mode(False):
            # What was made in inference mode can take no part in a graph; its copy can.
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
        """Return the probability, shape (N,), that each image is of its target class."""
        with torch.no_grad():
            return self.network(images).softmax(dim=1).gather(1, targets[:, None])[:, 0]


def network_device(network: nn.Module) -> torch.device:
    """Return the device that a network lies on."""
    return next((parameter.device for parameter in network.parameters()), torch.device("cpu"))


def mean_colours(images: Tensor) -> Tensor:
    """Return images of the same shape that are all of the mean colour of each: what a covered place shows.

    Examples
    --------
    >>> mean_colours(torch.tensor([[[[0.0, 1.0], [1.0, 0.0]]]])).tolist()
    [[[[0.5, 0.5], [0.5, 0.5]]]]
    """
    return images.mean(dim=(2, 3), keepdim=True).expand_as(images).contiguous()
