"""Head trained on at a lower learning rate."""

import math

from torch import Tensor, nn

from counterpoise.balance.heads.base import HeadStage
from counterpoise.exceptions import InputError


class FineTunedHead(HeadStage):
    """Continue training the head at a lower learning rate.

    Parameters
    ----------
    lr_factor : float, default=0.1
        Factor of the learning rate; positive.
    shrink : float in (0, 1], default=1.0
        Factor of weights and bias before training. It changes no decision, but lets a head that is certain of all its
        training images learn from them again.

    Notes
    -----
    The second phase of two-phase training: the resampled network's head continues on the embeddings of all images.

    Helps: the head learns the true class shares again, so precision on rare classes is high.

    Hurts: the same shares pull predictions back to the large classes.
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
