"""What single layers make of an image."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from counterpoise.explain.base import network_device
from counterpoise.explain.layers import find_map_layer
from counterpoise.explain.watching import untouched, watching


def feature_maps(network: nn.Module, images: Tensor, layer: str | None = None) -> Tensor:
    """Return the maps of one layer.

    Parameters
    ----------
    network : torch.nn.Module
        From images to logits; it is left as it was.
    images : Tensor of shape (N, C, H, W)
        Floats, as the network takes them.
    layer : str, optional
        As ``network.named_modules()`` has it, see also `find_convolutions`. Default: the last one with a spatial
        map.

    Returns
    -------
    Tensor of shape (N, c, h, w)
        float32, on the network's device.

    Raises
    ------
    InputError
        If no layer of that name has a spatial map.

    Examples
    --------
    >>> from counterpoise.explain import find_convolutions
    >>> from counterpoise.networks import create_network
    >>> network = create_network("lenet", num_classes=10, in_channels=1, image_size=(28, 28), seed=0)
    >>> first, second = find_convolutions(network, (1, 28, 28))
    >>> feature_maps(network, torch.rand(2, 1, 28, 28), first).shape
    torch.Size([2, 6, 28, 28])
    """
    shape = (images.shape[1], images.shape[2], images.shape[3])
    found = find_map_layer(network, shape, layer, reaching=False)
    module = network.get_submodule(found.name)
    with untouched(network), watching(module) as watched, torch.no_grad():
        network(images.to(network_device(network)))
    assert watched.output is not None
    return found.to_map(watched.output.detach()).float()
