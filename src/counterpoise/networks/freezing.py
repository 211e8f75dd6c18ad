"""Freezing the first layers of a network, and cutting a network in two."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from counterpoise.exceptions import InputError
from counterpoise.networks.base import Network

# A normalization layer belongs to the learned layer before it.
_NORMS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.LocalResponseNorm)
# Names of torchvision's containers of layers.
_CONTAINERS = ("features", "classifier", "encoder", "layers")


@dataclass(frozen=True)
class LearnedLayer:
    """Learned layer of a network: a convolution or dense layer with its normalization, a block or a stage.

    `name` is the module of its first parameter, as in ``network.named_modules()``. `modules` are all modules up to the
    next learned layer, in order; there are none if the network is not a chain.
    """

    name: str
    parameters: tuple[nn.Parameter, ...]
    modules: tuple[nn.Module, ...] = ()


def learned_layers(network: Network, *, coarse: bool = True) -> list[LearnedLayer]:
    """Return the learned layers below the head, in order of execution.

    A layer is a convolution or dense layer with its batch norm, or a residual block, in the networks of this
    package; a stage or block, as timm groups them (`coarse` or not), in timm's; a top-level stage in torchvision's.

    Examples
    --------
    >>> from counterpoise.networks import create_network
    >>> network = create_network("convnet", num_classes=10, in_channels=3, image_size=(32, 32), seed=0)
    >>> [layer.name for layer in learned_layers(network)]
    ['backbone.0', 'backbone.1', 'top.1', 'top.2']
    """
    if hasattr(network.backbone, "group_matcher"):
        return _timm_layers(network.backbone, coarse=coarse)
    return _grouped(network)


def freeze(network: Network, n: int | Literal["all"]) -> int:
    """Freeze the first `n` learned layers of a network, in place.

    Their parameters get no gradient, and their batch norms use and keep their statistics even in training mode: the
    output of a frozen layer for an image does not depend on the rest of the batch. Frozen layers stay frozen.

    Parameters
    ----------
    n : int or "all"
        Number of layers as in :func:`learned_layers`, from 0, or everything below the head.

    Returns
    -------
    int
        Number of trainable parameters.

    Raises
    ------
    InputError
        If the network has fewer layers below its head.

    Examples
    --------
    >>> from counterpoise.networks import create_network
    >>> network = create_network("lenet", num_classes=10, in_channels=1, image_size=(28, 28), seed=0)
    >>> freeze(network, 1), freeze(network, "all")
    (52018, 1210)
    >>> network.train().backbone[0][1].training
    False
    """
    if n == "all":
        head = {id(parameter) for parameter in network.classifier.parameters()}
        frozen = [parameter for parameter in network.parameters() if id(parameter) not in head]
    else:
        frozen = [parameter for layer in _split(network, n)[0] for parameter in layer.parameters]
    for parameter in frozen:
        parameter.requires_grad_(False)
    # Network.train puts the frozen modules into evaluation mode.
    network.train(network.training)
    return sum(p.numel() for p in network.parameters() if p.requires_grad)


def cut(network: Network, n: int) -> tuple[nn.Module, nn.Module]:
    """Split a network into its first `n` learned layers and the remaining layers with the head.

    The network must be a chain: ``tinynet``, ``lenet``, ``convnet``, ``alexnet8`` or ``vgg16``.

    Returns
    -------
    (Module, Module)
        The first takes images, floats in [0, 1], and normalizes them; the second takes its output and returns the
        logits. Their composition equals ``network(x)``. Both share their modules with the network.

    Raises
    ------
    InputError
        If the network is not a chain, or has fewer layers.

    Examples
    --------
    >>> import torch
    >>> from counterpoise.networks import create_network
    >>> network = create_network("lenet", num_classes=10, in_channels=1, image_size=(28, 28), seed=0)
    >>> bottom, rest = cut(network, 2)
    >>> bottom(torch.rand(3, 1, 28, 28)).shape
    torch.Size([3, 400])
    """
    first, others = _split(network, n)
    if not is_chain(network):
        raise InputError(
            f"{network.name} is not a chain of layers and cannot be cut; use one that is, such as alexnet8"
        )
    bottom, top = ([module for layer in layers for module in layer.modules] for layers in (first, others))
    return nn.Sequential(_Normalize(network), *bottom), nn.Sequential(*top, network.classifier)


def is_chain(network: Network) -> bool:
    """Return whether the network is a sequence of modules, so that it can be cut anywhere."""
    return all(isinstance(getattr(network, name, None), nn.Sequential) for name in ("backbone", "top"))


class _Normalize(nn.Module):
    """The network's normalization of its images."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        # Inside a tuple, so that the network does not become a submodule.
        self._network = (network,)

    def forward(self, x: Tensor) -> Tensor:
        return self._network[0]._normalize(x)


def _split(network: Network, n: int | str) -> tuple[list[LearnedLayer], list[LearnedLayer]]:
    """Return the first `n` learned layers and the others."""
    layers = learned_layers(network)
    if isinstance(n, (str, bool)) or n not in range(len(layers) + 1):
        raise InputError(
            f"{n} layers of {network.name}: it has {len(layers)} below its head; give a number from 0 to {len(layers)}"
        )
    return layers[:n], layers[n:]


def _timm_layers(backbone: nn.Module, *, coarse: bool) -> list[LearnedLayer]:
    from timm.models import group_parameters

    matcher = backbone.group_matcher(coarse=coarse)  # type: ignore[operator]
    return [
        LearnedLayer(
            f"backbone.{names[0].rpartition('.')[0] or names[0]}",
            tuple(backbone.get_parameter(name) for name in names),
        )
        for _, names in sorted(group_parameters(backbone, matcher).items())
    ]


def _grouped(network: Network) -> list[LearnedLayer]:
    """Group the steps of a network into learned layers, each of which begins with a step that has weights."""
    chain = is_chain(network)
    names: list[str] = []
    groups: list[list[nn.Module | nn.Parameter]] = [[]]
    for name, step in _steps(network):
        has_weights = isinstance(step, nn.Module) and any(True for _ in step.parameters())
        if has_weights and not isinstance(step, _NORMS):
            if names:
                groups.append([])
            names.append(name)
        groups[-1].append(step)
    # Without any learned layer there is one group and no name.
    return [
        LearnedLayer(
            name,
            tuple(p for s in group for p in ([s] if isinstance(s, nn.Parameter) else s.parameters())),
            tuple(s for s in group if isinstance(s, nn.Module)) if chain else (),
        )
        for name, group in zip(names, groups, strict=False)
    ]


def _steps(container: nn.Module, prefix: str = "") -> Iterator[tuple[str, nn.Module | nn.Parameter]]:
    """Yield the parameters that a container of layers holds directly, then its layers, in order."""
    if prefix:
        yield from container.named_parameters(prefix[:-1], recurse=False)
    for name, child in container.named_children():
        if name in (_CONTAINERS if prefix else ("backbone", "top")):
            yield from _steps(child, f"{prefix}{name}.")
        elif prefix:
            yield f"{prefix}{name}", child
