"""A head trained on."""

from __future__ import annotations

import math

from torch import Tensor, nn

from counterpoise.balance.heads.base import HeadStage
from counterpoise.exceptions import InputError


class FineTunedHead(HeadStage):
    """The head is trained on from where it is, at a lower rate.

    The second phase of two-phase training (Havaei et al. 2017; Buda et al. 2018, section 2.3).

    Parameters
    ----------
    lr_factor : float, default=0.1
        What the learning rate is multiplied with; positive.
    shrink : float in (0, 1], default=1.0
        What weights and bias are multiplied with before. That changes no decision, but a head that is sure of all its
        training images has nothing left to learn from them; a less confident one has.

    Examples
    --------
    >>> FineTunedHead().lr_factor
    0.1
    """

    def __init__(self, *, lr_factor: float = 0.1, shrink: float = 1.0) -> None:
        if not (lr_factor > 0 and math.isfinite(lr_factor)):
            raise InputError(f"lr_factor is {lr_factor}; expected a positive number")
        if not 0 < shrink <= 1:
            raise InputError(f"shrink is {shrink}; expected a factor above 0 and at most 1")
        self.lr_factor = lr_factor
        self.shrink = shrink

    def _prepare(self, head: nn.Module, embeddings: Tensor, labels: Tensor) -> nn.Module:
        for parameter in head.parameters():
            parameter.mul_(self.shrink)
        return head
