"""Freezing the first layers of a network, and cutting a network in two."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from counterpoise.exceptions import InputError
from counterpoise.networks.base import Network

# A layer of these kinds belongs to the learned layer before it.
_NORMS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.LocalResponseNorm)
# What torchvision calls the containers of its layers.
_CONTAINERS = ("features", "classifier", "encoder", "layers")


@dataclass(frozen=True)
class LearnedLayer:
    """One learned layer of a network: a convolution or dense layer with what belongs to it, or a stage.

    Attributes
    ----------
    name : str
        Its first parameter's module, as ``network.named_modules()`` has it.
    parameters : tuple of Parameter
        All that is learned in it.
    modules : tuple of Module
        What images pass through, one after the other, up to the next learned layer. Empty where the network is
        no chain of modules.
    """

    name: str
    parameters: tuple[nn.Parameter, ...]
    modules: tuple[nn.Module, ...] = ()


def learned_layers(network: Network) -> list[LearnedLayer]:
    """Return the learned layers below the head, in the order in which images pass them.

    Parameters
    ----------
    network : Network
        For our own networks, a layer is a convolution or dense layer with its batch norm, or a residual block; for
        timm's, a stage or block as timm itself groups them; for torchvision's, a top-level stage.

    Examples
    --------
    >>> from counterpoise.networks import create_network
    >>> network = create_network("convnet", num_classes=10, in_channels=3, image_size=(32, 32), seed=0)
    >>> [layer.name for layer in learned_layers(network)]
    ['backbone.0', 'backbone.1', 'top.1', 'top.2']
    """
    backbone: nn.Module = network.backbone  # type: ignore[assignment]
    if hasattr(backbone, "group_matcher"):
        return _timm_layers(backbone)
    return list(_grouped(network, [("backbone", backbone), *_top(network)]))


def freeze(network: Network, n: int | Literal["all"]) -> int:
    """Freeze the first `n` learned layers of a network, in place.

    Their parameters get no gradient. Their batch norms keep their statistics, too, and use them, even while the
    whole network is in training mode: a frozen layer gives the same output for an image whatever its batch.
    Layers that are frozen already stay so.

    Parameters
    ----------
    network : Network
        Any network; see :func:`learned_layers` for what counts as a layer.
    n : int or "all"
        How many layers, from 0; ``"all"`` is everything below the head.

    Returns
    -------
    int
        How many parameters stay trainable.

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
    for parameter in _frozen_parameters(network, n):
        parameter.requires_grad_(False)
    # What is frozen goes into evaluation mode.
    network.train(network.training)
    return sum(p.numel() for p in network.parameters() if p.requires_grad)


def cut(network: Network, n: int) -> tuple[nn.Module, nn.Module]:
    """Return two parts of a network, made of its own layers: the first `n` learned layers, and the rest with the head.

    Parameters
    ----------
    network : Network
        A chain of layers: ``tinynet``, ``lenet``, ``convnet``, ``alexnet8`` or ``vgg16``.
    n : int
        From 0 to the number of layers below the head.

    Returns
    -------
    (Module, Module)
        The first takes images, floats in [0, 1], and normalises them; the second takes what the first gives and
        returns logits. One after the other they are ``network(x)``.

    Raises
    ------
    InputError
        If the network is no chain, or has fewer layers.

    Examples
    --------
    >>> import torch
    >>> from counterpoise.networks import create_network
    >>> network = create_network("lenet", num_classes=10, in_channels=1, image_size=(28, 28), seed=0).eval()
    >>> bottom, rest = cut(network, 2)
    >>> images = torch.rand(3, 1, 28, 28)
    >>> bottom(images).shape, torch.equal(rest(bottom(images)), network(images))
    (torch.Size([3, 400]), True)
    """
    layers = learned_layers(network)
    _check_number(network, n, len(layers))
    if not is_chain(network):
        raise InputError(
            f"{network.name} is no chain of layers and cannot be cut; use one that is, such as alexnet8"
        )
    modules = [module for layer in layers[:n] for module in layer.modules]
    rest = [module for layer in layers[n:] for module in layer.modules]
    return nn.Sequential(_Normalise(network), *modules), nn.Sequential(*rest, network.classifier)


def is_chain(network: Network) -> bool:
    """Return whether images pass the network's layers one after the other, so that it can be cut anywhere."""
    return all(isinstance(getattr(network, name, None), nn.Sequential) for name in ("backbone", "top"))


class _Normalise(nn.Module):
    """The first thing that a network does."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        # Not a part of this module, which would then hold the whole network.
        self._network = (network,)

    def forward(self, x: Tensor) -> Tensor:
        return self._network[0]._normalise(x)


def _frozen_parameters(network: Network, n: int | str) -> Iterable[nn.Parameter]:
    if n == "all":
        head = {id(parameter) for parameter in network.classifier.parameters()}
        return [parameter for parameter in network.parameters() if id(parameter) not in head]
    layers = learned_layers(network)
    _check_number(network, n, len(layers))
    return [parameter for layer in layers[: int(n)] for parameter in layer.parameters]


def _check_number(network: Network, n: int | str, layers: int) -> None:
    if isinstance(n, (str, bool)) or n not in range(layers + 1):
        raise InputError(
            f"{n} layers of {network.name}: it has {layers} below its head; give a number from 0 to {layers}"
        )


def _top(network: Network) -> list[tuple[str, nn.Module]]:
    top = getattr(network, "top", None)
    return [("top", top)] if isinstance(top, nn.Module) else []


def _timm_layers(backbone: nn.Module) -> list[LearnedLayer]:
    from timm.models import group_parameters

    matcher = backbone.group_matcher(coarse=True)  # type: ignore[operator]
    groups = group_parameters(backbone, matcher)
    return [
        LearnedLayer(
            f"backbone.{names[0].rpartition('.')[0] or names[0]}",
            tuple(backbone.get_parameter(name) for name in names),
        )
        for _, names in sorted(groups.items())
    ]


def _grouped(network: Network, parts: list[tuple[str, nn.Module]]) -> Iterator[LearnedLayer]:
    """Cut the steps of a network before each one that begins a learned layer."""
    chain, started = is_chain(network), ""
    parameters: list[nn.Parameter] = []
    modules: list[nn.Module] = []
    for name, step in (step for part in parts for step in _steps(*part)):
        begins = isinstance(step, nn.Module) and any(True for _ in step.parameters())
        if begins and not isinstance(step, _NORMS):
            if started:
                yield LearnedLayer(started, tuple(parameters), tuple(modules) if chain else ())
                parameters, modules = [], []
            started = name
        if isinstance(step, nn.Parameter):
            parameters.append(step)
        else:
            parameters += step.parameters()
            modules.append(step)
    if started:
        yield LearnedLayer(started, tuple(parameters), tuple(modules) if chain else ())


def _steps(name: str, container: nn.Module) -> Iterator[tuple[str, nn.Module | nn.Parameter]]:
    """Yield what a container of layers holds, in order, and before it the parameters of its own."""
    for own, parameter in container.named_parameters(recurse=False):
        yield f"{name}.{own}", parameter
    for child_name, child in container.named_children():
        if child_name in _CONTAINERS:
            yield from _steps(f"{name}.{child_name}", child)
        else:
            yield f"{name}.{child_name}", child
