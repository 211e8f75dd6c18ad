"""Optimizer of a stage, and its groups of parameters, each with its own learning rate."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from torch import nn
from torch.nn import Parameter
from torch.optim import SGD, Adam, AdamW, Optimizer

from counterpoise.config import TrainConfig
from counterpoise.networks import Network, learned_layers


def make_optimizer(parameters: Iterable[Parameter], config: TrainConfig) -> Optimizer:
    """Return the optimizer of `config` over the trainable `parameters`; fused, which saves a third of a small step."""
    return _optimizer([parameter for parameter in parameters if parameter.requires_grad], config)


def _optimizer(parameters: list[Any], config: TrainConfig) -> Optimizer:
    # A fused optimizer unscales the gradients of 16-mixed itself, which is too late for clipping them.
    fused = not (config.clip and config.precision == "16-mixed")
    if config.optimizer == "sgd":
        return SGD(parameters, lr=config.lr, momentum=0.9, weight_decay=config.weight_decay, fused=fused)
    kind = Adam if config.optimizer == "adam" else AdamW
    return kind(parameters, lr=config.lr, weight_decay=config.weight_decay, fused=fused)


def stage_optimizer(module: nn.Module, config: TrainConfig) -> Optimizer:
    """Return the optimizer of a stage; with `layer_decay`, each layer of a network has its own learning rate."""
    if config.layer_decay in (None, 1) or not isinstance(module, Network):
        return make_optimizer(module.parameters(), config)
    groups = [
        {"params": parameters, "lr": config.lr * scale, "lr_scale": scale}
        for scale, parameters in _scaled_layers(module, float(config.layer_decay))
    ]
    return _optimizer(groups, config)


def _scaled_layers(network: Network, decay: float) -> Iterator[tuple[float, list[Parameter]]]:
    """Yield the trainable parameters of each layer from the bottom, with ``decay ** (layers above it)``.

    The head has the factor 1, and so has what belongs to no layer.
    """
    layers = learned_layers(network, coarse=False)
    below = {id(parameter) for layer in layers for parameter in layer.parameters}
    head = [parameter for parameter in network.parameters() if id(parameter) not in below]
    for above, group in zip(
        range(len(layers), -1, -1), [*(layer.parameters for layer in layers), head], strict=True
    ):
        if trainable := [parameter for parameter in group if parameter.requires_grad]:
            yield decay**above, trainable
