"""Head with normalized weight vectors (tau-norm)."""

import math
from typing import ClassVar

from torch import Tensor, nn

from counterpoise.balance.heads.base import HeadStage, linear_layer
from counterpoise.exceptions import InputError


class NormalisedHead(HeadStage):
    """Weights w_c / ||w_c||^tau of class c, and no bias (tau-norm; Kang et al. 2020, Eq. 4).

    Parameters
    ----------
    tau : float, default=1.0
        0 keeps the lengths (and still drops the bias), 1 makes all of them 1.

    Notes
    -----
    Training on many images makes a class's weight vector long, which favors the class; the division takes that back.

    Helps: it needs no training and no validation images.

    Hurts: vectors become long with the number of images only in longer training than a few epochs.

    Examples
    --------
    >>> import torch
    >>> head = nn.Linear(2, 2)
    >>> head.weight = nn.Parameter(torch.tensor([[3.0, 4.0], [0.0, 0.5]]))
    >>> NormalisedHead().finish(head, head)
    >>> [[round(w, 3) for w in row] for row in head.weight.tolist()]
    [[0.6, 0.8], [0.0, 1.0]]
    """

    trains: ClassVar[bool] = False

    def __init__(self, *, tau: float = 1.0) -> None:
        if not math.isfinite(tau):
            raise InputError(f"tau is {tau}; expected a number, usually in [0, 1]")
        self.tau = tau

    def _prepare(self, head: nn.Module, embeddings: Tensor, labels: Tensor) -> nn.Module:
        return linear_layer(head, "tau-norm")

    def _finish(self, trained: nn.Module, head: nn.Module) -> None:
        linear = linear_layer(head, "tau-norm")
        lengths = linear.weight.norm(dim=1, keepdim=True).clamp(min=1e-12)
        linear.weight.div_(lengths**self.tau)
        if linear.bias is not None:
            linear.bias.zero_()
