"""Networks: an embedding, and a linear head on top of it, under one contract.

A :class:`Network` takes images as floats in [0, 1] and normalises them itself; ``embed(x)`` gives its deep
features, ``head(z)`` the logits. Names come from the records of ``counterpoise.networks.records``, and from
timm.

Examples
--------
>>> from counterpoise.networks import create_network
>>> network = create_network("lenet", num_classes=10, in_channels=1, image_size=(28, 28), seed=0)
>>> network.embedding_dim, network.config["parameters"]
(120, 52186)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from counterpoise.networks.base import Network
    from counterpoise.networks.enhanced import EnhancedNetwork, Enhancer
    from counterpoise.networks.factory import create_network
    from counterpoise.networks.freezing import LearnedLayer, cut, freeze, is_chain, learned_layers
    from counterpoise.networks.record import NetworkRecord
    from counterpoise.networks.registry import NETWORKS, default_network_name, get_network_record
    from counterpoise.networks.unet import UNet
    from counterpoise.networks.weights import load_network, load_weights, save_network

__all__ = [
    "NETWORKS",
    "EnhancedNetwork",
    "Enhancer",
    "LearnedLayer",
    "Network",
    "NetworkRecord",
    "UNet",
    "create_network",
    "cut",
    "default_network_name",
    "freeze",
    "get_network_record",
    "is_chain",
    "learned_layers",
    "load_network",
    "load_weights",
    "save_network",
]

# Where each public name lives. Imported on first use, so that listing the names imports no torch.
_HOMES = {
    "EnhancedNetwork": "enhanced",
    "Enhancer": "enhanced",
    "LearnedLayer": "freezing",
    "NETWORKS": "registry",
    "Network": "base",
    "NetworkRecord": "record",
    "UNet": "unet",
    "create_network": "factory",
    "cut": "freezing",
    "default_network_name": "registry",
    "freeze": "freezing",
    "get_network_record": "registry",
    "is_chain": "freezing",
    "learned_layers": "freezing",
    "load_network": "weights",
    "load_weights": "weights",
    "save_network": "weights",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
