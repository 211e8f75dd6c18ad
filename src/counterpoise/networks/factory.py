"""Building a network by name."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from counterpoise.exceptions import InputError
from counterpoise.networks.base import Network
from counterpoise.networks.catalog import default_network_name, get_network_entry
from counterpoise.networks.weights import load_weights
from counterpoise.seeding import torch_seed


def create_network(
    name: str,
    *,
    num_classes: int,
    in_channels: int,
    image_size: tuple[int, int],
    mean: Sequence[float] | float | None = None,
    std: Sequence[float] | float | None = None,
    weights: str | Path | None = None,
    seed: int | None = None,
    head_layer: str = "linear",
    **options: Any,
) -> Network:
    """Build a network by name.

    Parameters
    ----------
    name : str
        Name in `NETWORKS`, or of timm or torchvision.
    in_channels : int
        1 for grayscale, 3 for color.
    image_size : tuple of int
        Height and width of the images in pixels.
    mean, std : sequence of float, optional
        Normalization per channel, in units of [0, 1]. Default: 0 and 1, or, with `weights`, that of the file.
    weights : path, optional
        Local file of pretrained weights, see :func:`load_weights`. Nothing is downloaded.
    seed : int, optional
        Seed of the initial weights. Default: draw them from torch's global generator, which a seed leaves unchanged.
    head_layer : {"linear", "one-vs-rest", "cosine", "experts", "unit-length", "prototype"}, default="linear"
        Kind of head.
    **options : Any
        Options of that network, such as ``trainable_blocks`` of ``vgg16``.

    Returns
    -------
    Network
        In training mode, on the CPU, float32.

    Raises
    ------
    UnknownNameError
        If there is no such network; the message suggests the nearest name.
    InputError
        If the network does not support such images or options, or the weights do not fit.

    Examples
    --------
    >>> import torch
    >>> network = create_network("tinynet", num_classes=3, in_channels=1, image_size=(8, 8), seed=0)
    >>> network(torch.zeros(5, 1, 8, 8)).shape
    torch.Size([5, 3])
    """
    entry = get_network_entry(name)
    if min(image_size) < entry.smallest_image:
        smallest, (height, width) = entry.smallest_image, image_size
        raise InputError(
            f"{name} needs images of at least {smallest}x{smallest}, found {height}x{width}; resize them, or use"
            f" {default_network_name(in_channels, image_size)}"
        )
    with nullcontext() if seed is None else torch_seed(seed):
        try:
            network = entry.load()(
                name=name,
                num_classes=num_classes,
                in_channels=in_channels,
                image_size=tuple(image_size),
                mean=mean,
                std=std,
                head_layer=head_layer,
                **options,
            )
        except TypeError as error:
            unexpected = str(error).rpartition("unexpected keyword argument ")[2]
            if not options or unexpected == str(error):
                raise
            raise InputError(f"network {name!r} has no option {unexpected}") from error
    if weights is not None:
        load_weights(network, weights, keep_normalization=mean is not None or std is not None)
    return network
