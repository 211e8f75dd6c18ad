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

    Examples
    --------
    >>> FineTunedHead().lr_factor
    0.1
    """

    def __init__(self, *, lr_factor: float = 0.1) -> None:
        if not (lr_factor > 0 and math.isfinite(lr_factor)):
            raise InputError(f"lr_factor is {lr_factor}; expected a positive number")
        self.lr_factor = lr_factor

    def _prepare(self, head: nn.Module, embeddings: Tensor, labels: Tensor) -> nn.Module:
        return head
