"""Finding the records of networks; imports no torch."""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from collections.abc import Mapping
from types import MappingProxyType

from counterpoise.exceptions import UnknownNameError
from counterpoise.networks.record import NetworkRecord

LARGE_IMAGE_DEFAULT = "resnet18"  # timm's


def _find_records() -> Mapping[str, NetworkRecord]:
    package = importlib.import_module("counterpoise.networks.records")
    modules = [
        importlib.import_module(f"{package.__name__}.{m.name}")
        for m in pkgutil.iter_modules(package.__path__)
    ]
    records = sorted((module.RECORD for module in modules), key=lambda record: record.order)
    return MappingProxyType({record.name: record for record in records})


#: The package's own networks by name. Any name of timm works as well.
NETWORKS: Mapping[str, NetworkRecord] = _find_records()


def get_network_record(name: str) -> NetworkRecord:
    """Return the record that `name` stands for: one of ours, or one made for a name of timm or torchvision.

    Parameters
    ----------
    name : str
        A key of `NETWORKS`, or a model name of timm (``"resnet18"``, also ``"timm:vgg16"`` where we have one
        of that name), or one of torchvision's classifiers (``"alexnet"``, ``"torchvision:resnet18"``).

    Returns
    -------
    NetworkRecord
        Its record.

    Raises
    ------
    UnknownNameError
        If nobody has a network of that name; the nearest one is suggested.

    Examples
    --------
    >>> get_network_record("lenet").smallest_image
    12
    """
    if name in NETWORKS:
        return NETWORKS[name]
    # Imported here: timm and torchvision bring torch with them, which listing our own names must not.
    from counterpoise.networks import timm, torchvision

    if timm.is_known(name):
        return NetworkRecord(
            name=name, description="timm's", paper="see timm", build="counterpoise.networks.timm:TimmNetwork"
        )
    if torchvision.is_known(name):
        return NetworkRecord(
            name=name,
            description="torchvision's",
            paper="see torchvision",
            build="counterpoise.networks.torchvision:TorchvisionNetwork",
        )
    # Of the more than a thousand names elsewhere, only the nearest are worth showing.
    elsewhere = difflib.get_close_matches(name, [*timm.names(), *torchvision.names()], n=5)
    raise UnknownNameError("network", name, {*NETWORKS, *elsewhere})


def default_network_name(channels: int, image_size: tuple[int, int]) -> str:
    """Return the network to take when the user names none.

    Parameters
    ----------
    channels : int
        1 for grey, 3 for colour.
    image_size : tuple of int
        Height and width in pixels.

    Returns
    -------
    str
        A name that :func:`create_network` knows and that is built for images of this size.

    Examples
    --------
    >>> default_network_name(1, (8, 8)), default_network_name(1, (28, 28))
    ('tinynet', 'lenet')
    >>> default_network_name(3, (32, 32)), default_network_name(3, (224, 224))
    ('convnet', 'resnet18')
    """
    if min(image_size) < 16:
        return "tinynet"
    if channels == 1 and max(image_size) <= 32:
        return "lenet"
    return "convnet" if max(image_size) <= 48 else LARGE_IMAGE_DEFAULT
