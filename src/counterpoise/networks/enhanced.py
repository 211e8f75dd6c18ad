"""A network with a learned change of its images before it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from counterpoise.exceptions import RunFolderError
from counterpoise.files import atomic_path
from counterpoise.networks.base import Network
from counterpoise.networks.unet import UNet

if TYPE_CHECKING:
    from typing import Self


class Enhancer(nn.Module):
    """A learned change of images, to be put before any classifier.

    Parameters
    ----------
    unet : UNet
        What changes them.

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
        """Return the changed images, floats in (0, 1), of images (N, C, H, W), floats in [0, 1]."""
        return self.unet(x)

    @property
    def config(self) -> dict[str, Any]:
        """What it takes to build it again, as plain JSON values."""
        return self.unet.config

    @classmethod
    def from_config(cls, config: Mapping[str, int]) -> Enhancer:
        """Return an enhancer of this configuration, with other weights; no global generator moves."""
        with torch.random.fork_rng(devices=[]):
            return cls(UNet(config["in_channels"], width=config["width"], depth=config["depth"]))

    def save(self, path: str | Path) -> None:
        """Write the weights to a safetensors file, atomically, with the configuration in its metadata.

        Raises
        ------
        RunFolderError
            If the file cannot be written.
        """
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in self.state_dict().items()}
        with atomic_path(Path(path)) as temporary:
            temporary.write_bytes(save(tensors, metadata={"enhancer": json.dumps(self.config)}))

    @classmethod
    def load(cls, path: str | Path) -> Enhancer:
        """Return the enhancer that `save` wrote, in evaluation mode on the CPU.

        Raises
        ------
        RunFolderError
            If the file is missing, damaged, or holds something else.
        """
        try:
            with safe_open(path, framework="pt") as file:
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
    """A network that sees its images through an enhancer: ``embed(x)`` is ``network.embed(enhancer(x))``.

    Parameters
    ----------
    enhancer : Enhancer
        Comes first.
    network : Network
        The classifier; its head is the head of the whole.
    frozen : bool, default=True
        Whether the classifier stays as it is: its parameters take no gradient (they keep none afterwards, either),
        and it remains in evaluation mode, so that its batch-norm statistics do not move.

    Examples
    --------
    >>> from counterpoise.networks import create_network
    >>> classifier = create_network("tinynet", num_classes=3, in_channels=1, image_size=(8, 8), seed=0)
    >>> network = EnhancedNetwork(Enhancer(UNet(1, width=4)), classifier).train()
    >>> network(torch.zeros(5, 1, 8, 8)).shape, network.enhancer.training, network.network.training
    (torch.Size([5, 3]), True, False)
    """

    #: What stands for it in a configuration; it is built around a network, not by this name.
    NAME = "enhanced"

    def __init__(self, enhancer: Enhancer, network: Network, *, frozen: bool = True) -> None:
        # Not the base's constructor, which makes a head: the head is the classifier's.
        nn.Module.__init__(self)
        self.name = self.NAME
        self.enhancer = enhancer
        self.network = network
        self.frozen = frozen
        self.head_layer = network.head_layer
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

    def train(self, mode: bool = True) -> Self:
        """Set the mode of the enhancer, and of a classifier that is not frozen."""
        super().train(mode)
        if self.frozen:
            self.network.eval()
        return self

    def features(self, x: Tensor) -> Tensor:
        """Return the classifier's last spatial map of the changed images, see :meth:`Network.features`."""
        return self.network.features(self.enhancer(x))

    def embed(self, x: Tensor) -> Tensor:
        """Return the classifier's embedding (N, d) of the changed images, see :meth:`Network.embed`."""
        return self.network.embed(self.enhancer(x))

    def head(self, z: Tensor) -> Tensor:
        """Return the logits (N, num_classes) of embedded points (N, d)."""
        return self.network.head(z)

    def reset_head(self, num_classes: int | None = None, *, generator: torch.Generator | None = None) -> None:
        """Replace the classifier's head, see :meth:`Network.reset_head`."""
        self.network.reset_head(num_classes, generator=generator)
        self.num_classes = self.network.num_classes

    def set_prototypes(self, centres: Tensor, labels: Tensor) -> None:
        """Replace the classifier's head, see :meth:`Network.set_prototypes`."""
        self.network.set_prototypes(centres, labels)

    def take_pretrained_normalisation(self) -> None:
        """Leave the classifier's normalisation as it is: it came with its weights."""

    @property
    def config(self) -> dict[str, Any]:
        """What it takes to build both again, as plain JSON values; ``parameters`` counts the trainable ones."""
        return {
            "name": self.name,
            "num_classes": self.num_classes,
            "in_channels": self.in_channels,
            "image_size": list(self.image_size),
            "embedding_dim": self.embedding_dim,
            "parameters": sum(p.numel() for p in self.parameters() if p.requires_grad),
            "mean": self.mean.flatten().tolist(),
            "std": self.std.flatten().tolist(),
            "head": self.network.config["head"],
            "options": {
                "enhancer": self.enhancer.config,
                "network": self.network.config,
                "frozen": self.frozen,
            },
        }
