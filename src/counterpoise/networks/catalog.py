"""The networks that can be built by name; listing them imports no torch."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass

from counterpoise.catalogs import Catalog, Entry
from counterpoise.exceptions import UnknownNameError

_LARGE_IMAGE_DEFAULT = "resnet18"  # timm's
_SMALL = "counterpoise.networks.small"


@dataclass(frozen=True, kw_only=True)
class NetworkEntry(Entry):
    """Entry of the catalog of networks.

    Parameters
    ----------
    smallest_image : int
        Smallest height and width in pixels; `create_network` refuses smaller images.
    is_default : callable, optional
        Whether this is the default network, from channels, shorter and longer side. The first entry that agrees wins.
    """

    smallest_image: int = 1
    is_default: Callable[[int, int, int], bool] | None = None


#: The networks of this package and of others that add entries. Names of timm and torchvision work, too.
NETWORKS: Catalog[NetworkEntry] = Catalog(
    "network",
    (
        NetworkEntry(
            name="tinynet",
            target=f"{_SMALL}:TinyNet",
            title="TinyNet",
            summary="Two 3x3 convolutions (16, 32), dense 64: for thumbnails.",
            source="none; two blocks in the manner of LeCun et al. 1998",
            smallest_image=4,
            is_default=lambda channels, shorter, longer: shorter < 16,
        ),
        NetworkEntry(
            name="lenet",
            target=f"{_SMALL}:LeNet",
            title="LeNet",
            summary="Two 5x5 convolutions (6, 16), dense 120: the thesis's network for grayscale images.",
            source="thesis, section 6.1; LeCun et al. 1998",
            smallest_image=12,
            is_default=lambda channels, shorter, longer: channels == 1 and longer <= 32,
        ),
        NetworkEntry(
            name="convnet",
            target=f"{_SMALL}:ConvNet",
            title="ConvNet",
            summary="Two 5x5 convolutions (20, 50), dense 500 and 120: the thesis's network for color images.",
            source="thesis, section 6.2",
            smallest_image=16,
            is_default=lambda channels, shorter, longer: longer <= 48,
        ),
        NetworkEntry(
            name="resnet32",
            target="counterpoise.networks.resnet32:ResNet32",
            title="ResNet-32",
            summary="32 layers in three stages of five residual blocks (16, 32, 64), identity shortcuts.",
            source="He et al. 2016, section 4.2",
        ),
        NetworkEntry(
            name="vgg16",
            target="counterpoise.networks.vgg16:VGG16",
            title="VGG-16",
            summary="Thirteen 3x3 convolutions in five blocks, the last ones trainable; dense 1024.",
            source="thesis, section 6.3; Simonyan and Zisserman 2015",
            smallest_image=32,
        ),
        NetworkEntry(
            name="alexnet8",
            target=f"{_SMALL}:AlexNet8",
            title="AlexNet-8",
            summary="Five convolutions (32 to 96 channels), dense 256 twice: AlexNet's eight layers for small images.",
            source="lecture, transfer learning; Krizhevsky et al. 2012",
            smallest_image=8,
        ),
    ),
    entry_point="counterpoise.networks",
)


def get_network_entry(name: str) -> NetworkEntry:
    """Return the entry of a network of the catalog, else of timm, else of torchvision.

    A prefix chooses the library: ``"timm:vgg16"``, ``"torchvision:resnet18"``.

    Raises
    ------
    UnknownNameError
        If there is no such network; the message suggests the nearest name.

    Examples
    --------
    >>> get_network_entry("lenet").smallest_image
    12
    """
    if name in NETWORKS:
        return NETWORKS[name]
    # Imported here because timm and torchvision import torch.
    from counterpoise.networks.libraries import find_class, library_names

    found = find_class(name)
    if found is None:
        # The libraries have over a thousand names; the message lists only the nearest.
        nearest = difflib.get_close_matches(name, library_names(), n=5)
        raise UnknownNameError("network", name, {*NETWORKS.names, *nearest})
    return NetworkEntry(name=name, target=f"{found.__module__}:{found.__name__}")


def default_network_name(channels: int, image_size: tuple[int, int]) -> str:
    """Return the name of the default network for images of this size, (height, width) in pixels.

    Examples
    --------
    >>> default_network_name(1, (8, 8)), default_network_name(1, (28, 28))
    ('tinynet', 'lenet')
    >>> default_network_name(3, (32, 32)), default_network_name(3, (224, 224))
    ('convnet', 'resnet18')
    """
    for entry in NETWORKS:
        if entry.is_default is not None and entry.is_default(channels, min(image_size), max(image_size)):
            return entry.name
    return _LARGE_IMAGE_DEFAULT


def has_stages(name: str) -> bool:
    """Return whether a network can return features of several stages: whether it is one of timm's."""
    if name in NETWORKS:
        return False
    from counterpoise.networks.libraries import TimmNetwork, find_class

    return find_class(name) is TimmNetwork
