"""Building a network by name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from counterpoise.exceptions import InputError
from counterpoise.networks.base import Network
from counterpoise.networks.registry import get_network_record
from counterpoise.networks.weights import load_weights


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
        One of `NETWORKS`, or a name of timm or torchvision.
    num_classes : int
        Width of the logits.
    in_channels : int
        Channels of the images: 1 for grey, 3 for colour.
    image_size : tuple of int
        Height and width of the images in pixels.
    mean, std : sequence of float, optional
        Normalisation per channel, in units of [0, 1]. Default: none (0 and 1), or, with `weights`, that of
        the file.
    weights : path, optional
        A local file of pretrained weights, see :func:`load_weights`. Nothing is ever downloaded.
    seed : int, optional
        Where the random initial weights come from. With a seed, torch's global generator is left as it was;
        without one, the weights are drawn from it.
    head_layer : {"linear", "one-vs-rest", "cosine", "prototype"}, default="linear"
        What kind of head it has.
    **options : Any
        What the network offers besides, such as ``trainable_blocks`` of ``vgg16``.

    Returns
    -------
    Network
        In training mode, on the CPU, float32.

    Raises
    ------
    UnknownNameError
        If there is no such network; the nearest name is suggested.
    InputError
        If the network cannot take such images or options, or the weights do not fit.

    Examples
    --------
    >>> import torch
    >>> network = create_network("tinynet", num_classes=3, in_channels=1, image_size=(8, 8), seed=0)
    >>> network(torch.zeros(5, 1, 8, 8)).shape
    torch.Size([5, 3])
    """
    record = get_network_record(name)
    arguments: dict[str, Any] = {
        "name": name,
        "num_classes": num_classes,
        "in_channels": in_channels,
        "image_size": tuple(image_size),
        "mean": mean,
        "std": std,
        "head_layer": head_layer,
    }
    if seed is None:
        network = _build(record.load(), arguments, options)
    else:
        # The weights are drawn on the CPU; the list of devices is empty so that no GPU is woken for it.
        with torch.random.fork_rng(devices=[]):
            torch.random.default_generator.manual_seed(seed)
            network = _build(record.load(), arguments, options)
    if weights is not None:
        load_weights(network, weights, keep_normalisation=mean is not None or std is not None)
    return network


def _build(network_class: type, arguments: dict[str, Any], options: dict[str, Any]) -> Network:
    try:
        return network_class(**arguments, **options)
    except TypeError as error:
        unexpected = str(error).rpartition("unexpected keyword argument ")[2]
        if not options or unexpected == str(error):
            raise
        raise InputError(f"network {arguments['name']!r} has no option {unexpected}") from error
