"""Looking into a network without leaving a trace: its modes, gradients and hooks are afterwards as before."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, nn


@contextmanager
def untouched(network: nn.Module) -> Iterator[None]:
    """Put a network into evaluation mode, its parameters without gradients; give all back at the end.

    Every module gets its own mode back, also after an error: one whose statistics were frozen stays frozen.

    Parameters
    ----------
    network : torch.nn.Module
        Any network.

    Examples
    --------
    >>> network = nn.Sequential(nn.Linear(2, 2), nn.Dropout())
    >>> _ = network[1].eval()
    >>> with untouched(network):
    ...     print(network.training, network[0].weight.requires_grad)
    False False
    >>> network.training, network[1].training, network[0].weight.requires_grad
    (True, False, True)
    """
    modes = [(module, module.training) for module in network.modules()]
    gradients = [(parameter, parameter.requires_grad) for parameter in network.parameters()]
    try:
        network.eval().requires_grad_(False)
        yield
    finally:
        for module, training in modes:
            module.training = training
        for parameter, wanted in gradients:
            parameter.requires_grad_(wanted)


class Watched:
    """What came out of a layer in the last pass.

    Attributes
    ----------
    output : Tensor or None
        A leaf of the graph that leads from here to the logits; None before the first pass.
    """

    def __init__(self) -> None:
        self.output: Tensor | None = None

    def __call__(self, module: nn.Module, inputs: object, output: object) -> object:
        """Keep the output and go on with a copy, which later layers may change in place."""
        if not isinstance(output, Tensor):
            return output
        self.output = output.detach().requires_grad_()
        return self.output.clone()


@contextmanager
def watching(layer: nn.Module) -> Iterator[Watched]:
    """Keep what comes out of `layer` inside the block.

    Parameters
    ----------
    layer : torch.nn.Module
        A part of a network.

    Yields
    ------
    Watched
        Holds the output of each pass.
    """
    watched = Watched()
    handle = layer.register_forward_hook(watched)
    try:
        yield watched
    finally:
        handle.remove()
