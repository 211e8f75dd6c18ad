"""Networks: an embedding and a head.

A :class:`Network` normalizes its images, floats in [0, 1], itself; ``embed(x)`` returns the embedding and ``head(z)``
the logits. `create_network` accepts the names in `NETWORKS`, and those of timm and torchvision.

Examples
--------
>>> from counterpoise.networks import create_network
>>> network = create_network("lenet", num_classes=10, in_channels=1, image_size=(28, 28), seed=0)
>>> network.embedding_dim, network.config["parameters"]
(120, 52186)
"""

from typing import TYPE_CHECKING

from counterpoise.catalogs import lazy_exports

if TYPE_CHECKING:
    from counterpoise.networks.adapters import ADAPTERS as ADAPTERS
    from counterpoise.networks.adapters import add_adapters as add_adapters
    from counterpoise.networks.base import Network as Network
    from counterpoise.networks.base import NetworkConfig as NetworkConfig
    from counterpoise.networks.catalog import NETWORKS as NETWORKS
    from counterpoise.networks.catalog import NetworkEntry as NetworkEntry
    from counterpoise.networks.catalog import default_network_name as default_network_name
    from counterpoise.networks.catalog import get_network_entry as get_network_entry
    from counterpoise.networks.catalog import has_stages as has_stages
    from counterpoise.networks.enhanced import EnhancedNetwork as EnhancedNetwork
    from counterpoise.networks.enhanced import Enhancer as Enhancer
    from counterpoise.networks.ensemble import EnsembleNetwork as EnsembleNetwork
    from counterpoise.networks.factory import create_network as create_network
    from counterpoise.networks.freezing import LearnedLayer as LearnedLayer
    from counterpoise.networks.freezing import cut as cut
    from counterpoise.networks.freezing import freeze as freeze
    from counterpoise.networks.freezing import is_chain as is_chain
    from counterpoise.networks.freezing import learned_layers as learned_layers
    from counterpoise.networks.pretrained import BACKBONES as BACKBONES
    from counterpoise.networks.pretrained import BackboneEntry as BackboneEntry
    from counterpoise.networks.pretrained import Pretrained as Pretrained
    from counterpoise.networks.pretrained import find_pretrained as find_pretrained
    from counterpoise.networks.pretrained import packaged_weights as packaged_weights
    from counterpoise.networks.saving import load_network as load_network
    from counterpoise.networks.saving import save_network as save_network
    from counterpoise.networks.speed import embedding_speed as embedding_speed
    from counterpoise.networks.unet import UNet as UNet
    from counterpoise.networks.weights import load_weights as load_weights

_MODULES = {
    "adapters": ("ADAPTERS", "add_adapters"),
    "base": ("Network", "NetworkConfig"),
    "catalog": ("NETWORKS", "NetworkEntry", "default_network_name", "get_network_entry", "has_stages"),
    "enhanced": ("EnhancedNetwork", "Enhancer"),
    "ensemble": ("EnsembleNetwork",),
    "factory": ("create_network",),
    "freezing": ("LearnedLayer", "cut", "freeze", "is_chain", "learned_layers"),
    "pretrained": ("BACKBONES", "BackboneEntry", "Pretrained", "find_pretrained", "packaged_weights"),
    "saving": ("load_network", "save_network"),
    "speed": ("embedding_speed",),
    "unet": ("UNet",),
    "weights": ("load_weights",),
}

__getattr__, __dir__, __all__ = lazy_exports(
    __name__, {name: f"{__name__}.{module}" for module, names in _MODULES.items() for name in names}
)
