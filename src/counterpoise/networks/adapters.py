"""Adapters: few new parameters inside a frozen vision transformer (LIFT: Shi et al. 2024)."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from counterpoise.exceptions import InputError, UnknownNameError

_CHILD = "adapter"


class LowRankAdapter(nn.Module):
    """Low-rank change of a transformer block's projections to queries and values (Hu et al. 2022, section 4).

    The change of each is ``up @ down``; `up` starts at zero. Keys stay as they are.

    Parameters
    ----------
    width : int
        Width of the tokens.
    dim : int
        Rank of the change.
    """

    def __init__(self, width: int, dim: int) -> None:
        super().__init__()
        self.down = nn.Parameter(torch.empty(2, dim, width))
        self.up = nn.Parameter(torch.zeros(2, width, dim))
        for matrix in self.down:
            nn.init.kaiming_uniform_(matrix, a=math.sqrt(5))

    def forward(self, x: Tensor) -> Tensor:
        """Return the change (..., 3 width) of queries, keys and values of tokens (..., width)."""
        queries, values = (x @ down.T @ up.T for down, up in zip(self.down, self.up, strict=True))
        return torch.cat([queries, torch.zeros_like(queries), values], dim=-1)


class BottleneckAdapter(nn.Module):
    """Bottleneck beside a transformer block's MLP (AdaptFormer: Chen et al. 2022, Eqs. 2 and 3).

    ``scale * (relu(x @ down + b) @ up + c)`` of the MLP's input is added to its output; `up` and c start at zero.

    Parameters
    ----------
    width : int
        Width of the tokens.
    dim : int
        Width of the bottleneck.
    scale : float, default=0.1
        Factor of the branch.
    """

    def __init__(self, width: int, dim: int, *, scale: float = 0.1) -> None:
        super().__init__()
        self.down, self.up, self.scale = nn.Linear(width, dim), nn.Linear(dim, width), scale
        nn.init.kaiming_uniform_(self.down.weight, a=math.sqrt(5))
        for values in (self.down.bias, self.up.weight, self.up.bias):
            nn.init.zeros_(values)

    def forward(self, x: Tensor) -> Tensor:
        """Return what is added to the output of the MLP for its input (..., width)."""
        return self.scale * self.up(torch.relu(self.down(x)))


#: Adapters by name: the class, the module of a block that it stands beside, and the papers' width.
ADAPTERS: dict[str, tuple[Any, str, int]] = {
    "lora": (LowRankAdapter, "attn.qkv", 8),
    "adaptformer": (BottleneckAdapter, "mlp", 64),
}


def add_adapters(backbone: nn.Module, kind: str, *, dim: int | None = None) -> None:
    """Add an adapter to each block of a vision transformer of timm, in place; only adapters stay trainable.

    The output is unchanged at first. Names of the other parameters stay, so that pretrained weights fit.

    Parameters
    ----------
    backbone : Module
        The transformer: `blocks` with `attn.qkv` and `mlp`.
    kind : {"lora", "adaptformer"}
        Kind of adapter.
    dim : int, optional
        Rank, or width of the bottleneck. Default: 8 (lora) or 64 (adaptformer).

    Raises
    ------
    InputError
        If there are no such blocks.
    """
    if kind not in ADAPTERS:
        raise UnknownNameError("adapter", kind, ADAPTERS)
    adapter, place, usual = ADAPTERS[kind]
    blocks: Any = getattr(backbone, "blocks", ())
    try:
        modules = [(block.get_submodule(place), block.attn.qkv.in_features) for block in blocks]
    except AttributeError:
        modules = []
    if not modules:
        raise InputError(
            f"`adapter` {kind} needs a vision transformer of timm; choose a `backbone` such as DINOv2's"
        )
    for parameter in backbone.parameters():
        parameter.requires_grad_(False)
    for module, width in modules:
        module.add_module(_CHILD, adapter(width, usual if dim is None else dim))
        module.register_forward_hook(_add_output)


def is_adapter(name: str) -> bool:
    """Return whether a parameter of that name is of an adapter."""
    return f".{_CHILD}." in name


def _add_output(module: Any, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
    return output + module.adapter(inputs[0])
