"""Running a network without lasting effects, and capturing the output of one of its layers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


@contextmanager
def preserve_state(network: nn.Module) -> Iterator[None]:
    """Put a network into evaluation mode, without gradients of parameters, and restore both at the end.

    The mode of each module is restored, also after an error.
    """
    modes = [(module, module.training) for module in network.modules()]
    gradients = [(parameter, parameter.requires_grad) for parameter in network.parameters()]
    try:
        network.eval().requires_grad_(False)
        yield
    finally:
        for module, training in modes:
            module.training = training
        for parameter, requires_grad in gradients:
            parameter.requires_grad_(requires_grad)


@contextmanager
def capture_output(layer: nn.Module) -> Iterator[list[Tensor]]:
    """Capture the output tensor of `layer` in each forward pass, as a leaf of the graph from there to the logits."""
    outputs: list[Tensor] = []

    def hook(module: nn.Module, inputs: object, output: object) -> Tensor | None:
        if not isinstance(output, Tensor):
            return None
        outputs.append(output.detach().requires_grad_())
        # Later layers get a copy, which they may change in place.
        return outputs[-1].clone()

    with layer.register_forward_hook(hook):
        yield outputs


def network_device(network: nn.Module) -> torch.device:
    """Return the device of a network's parameters."""
    return next((parameter.device for parameter in network.parameters()), torch.device("cpu"))
