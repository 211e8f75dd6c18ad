"""A network behind a learned enhancement of its images."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from counterpoise.exceptions import RunFolderError
from counterpoise.files import check_file
from counterpoise.networks.base import Network
from counterpoise.networks.unet import UNet
from counterpoise.networks.weights import save_state
from counterpoise.seeding import torch_seed

if TYPE_CHECKING:
    from typing import Self


class Enhancer(nn.Module):
    """Learned change of images, to be put before any classifier.

    Examples
    --------
    Before a classifier of another library:

    >>> enhancer = Enhancer(UNet(3, width=4))
    >>> classifier = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 10))
    >>> nn.Sequential(enhancer, classifier)(torch.zeros(2, 3, 20, 20)).shape
    torch.Size([2, 10])
    """

    def __init__(self, unet: UNet) -> None:
        super().__init__()
        self.unet = unet

    def forward(self, x: Tensor) -> Tensor:
        """Return the enhanced images, floats in [0, 1], of images (N, C, H, W), floats in [0, 1]."""
        return self.unet(x)

    @property
    def config(self) -> dict[str, int]:
        """Configuration from which it can be rebuilt."""
        unet = self.unet
        config = {"in_channels": unet.in_channels, "width": unet.width, "depth": unet.depth}
        return config | ({"residual": True} if unet.residual else {})

    @classmethod
    def from_config(cls, config: Mapping[str, int]) -> Enhancer:
        """Return an enhancer of this configuration, with other weights; the global generator is unchanged."""
        with torch_seed(0):
            return cls(UNet(**{"residual": False, **config}))  # type: ignore[arg-type]

    def save(self, path: str | Path) -> None:
        """Write weights and configuration to a safetensors file, atomically; `RunFolderError` if that fails."""
        save_state(self, path, {"enhancer": json.dumps(self.config)})

    @classmethod
    def load(cls, path: str | Path) -> Enhancer:
        """Load what `save` wrote, in evaluation mode on the CPU; `RunFolderError` for any other file."""
        try:
            with safe_open(check_file(path), framework="pt") as file:
                config = json.loads(file.metadata()["enhancer"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            enhancer = cls.from_config(config)
            enhancer.load_state_dict(tensors)
        except (OSError, SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
            reason = str(error).splitlines()[0]
            raise RunFolderError(
                f"{path} holds no enhancer ({reason}); give the enhancer.safetensors of a run"
            ) from error
        return enhancer.eval()


class EnhancedNetwork(Network):
    """Classifier of enhanced images: ``embed(x)`` is ``network.embed(enhancer(x))``.

    A `frozen` classifier stays frozen: its parameters get no gradient, and its batch norms keep their statistics.

    Examples
    --------
    >>> from counterpoise.networks import create_network
    >>> classifier = create_network("tinynet", num_classes=3, in_channels=1, image_size=(8, 8), seed=0)
    >>> network = EnhancedNetwork(Enhancer(UNet(1, width=4)), classifier).train()
    >>> network(torch.zeros(5, 1, 8, 8)).shape, network.enhancer.training, network.network.training
    (torch.Size([5, 3]), True, False)
    """

    #: Its name in a configuration; `create_network` does not accept it.
    NAME = "enhanced"

    def __init__(self, enhancer: Enhancer, network: Network, *, frozen: bool = True) -> None:
        # The constructor of Network would create a head, but the head is the classifier's.
        nn.Module.__init__(self)
        self.name = self.NAME
        self.enhancer = enhancer
        self.network = network
        self.frozen = frozen
        self.fixed_size = network.fixed_size
        self.num_classes = network.num_classes
        self.in_channels = network.in_channels
        self.image_size = network.image_size
        self.embedding_dim = network.embedding_dim
        self.register_buffer("mean", torch.zeros(1, network.in_channels, 1, 1))
        self.register_buffer("std", torch.ones(1, network.in_channels, 1, 1))
        if frozen:
            network.requires_grad_(False).eval()

    @property
    def classifier(self) -> nn.Module:  # type: ignore[override]
        """The classifier's head."""
        return self.network.classifier

    @property
    def head_layer(self) -> str:  # type: ignore[override]
        """Kind of the classifier's head."""
        return self.network.head_layer

    @property
    def options(self) -> dict[str, Any]:  # type: ignore[override]
        """Configurations of both parts."""
        return {"enhancer": self.enhancer.config, "network": self.network.config, "frozen": self.frozen}

    def train(self, mode: bool = True) -> Self:
        """Set the mode of the enhancer, and of a classifier that is not frozen."""
        super().train(mode)
        if self.frozen:
            self.network.eval()
        return self

    def features(self, x: Tensor) -> Tensor:
        """Return the classifier's last spatial map of the enhanced images, see :meth:`Network.features`."""
        return self.network.features(self.enhancer(x))

    def embed(self, x: Tensor) -> Tensor:
        """Return the classifier's embedding (N, d) of the enhanced images, see :meth:`Network.embed`."""
        return self.network.embed(self.enhancer(x))

    def reset_head(self, num_classes: int | None = None, *, generator: torch.Generator | None = None) -> None:
        """Replace the classifier's head, see :meth:`Network.reset_head`."""
        self.network.reset_head(num_classes, generator=generator)
        self.num_classes = self.network.num_classes

    def set_prototypes(self, centers: Tensor, labels: Tensor, *, neighbors: int = 1) -> None:
        """Replace the classifier's head, see :meth:`Network.set_prototypes`."""
        self.network.set_prototypes(centers, labels, neighbors=neighbors)
