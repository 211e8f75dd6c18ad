"""Layers that several networks share."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from counterpoise.exceptions import InputError


def conv_block(in_channels: int, out_channels: int, kernel_size: int, *, padding: int) -> nn.Sequential:
    """Return convolution, batch norm, ReLU and 2x2 max pooling."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel_size, padding=padding),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(),
        nn.MaxPool2d(2),
    )


def dense_block(in_features: int, out_features: int) -> nn.Sequential:
    """Return dense layer, batch norm and ReLU."""
    return nn.Sequential(nn.Linear(in_features, out_features), nn.BatchNorm1d(out_features), nn.ReLU())


def flattened_size(image_size: tuple[int, int], channels: int, shrinks: Sequence[int], name: str) -> int:
    """Return how many values a stack of convolution blocks gives per image.

    Parameters
    ----------
    image_size : tuple of int
        Height and width in pixels.
    channels : int
        Channels of the last block.
    shrinks : sequence of int
        By how many pixels each block's convolution narrows its input; pooling then halves it.
    name : str
        The network, for the message.

    Raises
    ------
    InputError
        If nothing is left of the image; the message names the smallest size.

    Examples
    --------
    >>> flattened_size((28, 28), 16, (0, 4), "lenet")
    400
    """
    height, width = image_size
    for shrink in shrinks:
        height, width = (height - shrink) // 2, (width - shrink) // 2
    if min(height, width) < 1:
        least = 1
        for shrink in reversed(shrinks):
            least = 2 * least + shrink
        found = f"{image_size[0]}x{image_size[1]}"
        raise InputError(
            f"{name} needs images of at least {least}x{least}, found {found}; use 'tinynet' or resize them"
        )
    return channels * height * width
