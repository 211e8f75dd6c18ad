"""Cross entropy with class weights."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from counterpoise.balance.losses.base import ClassificationLoss
from counterpoise.balance.losses.class_weights import class_weights
from counterpoise.exceptions import InputError


class WeightedCrossEntropy(ClassificationLoss):
    """Cross entropy of each sample times the weight of its class (thesis, Eq. 4.1 and Algorithm 2).

    Parameters
    ----------
    class_counts : array-like of int, shape (C,)
        Training samples of each class.
    power : float in [0, 1], default=1.0
        See :func:`class_weights`.
    normalize : {"l1", "mean"}, default="l1"
        See :func:`class_weights`. Under ``"l1"`` the loss is about C times smaller than the plain one.
    defer_epochs : int, default=0
        In so many first epochs every class has the same weight (1/C or 1, as `normalize` has it); the class
        weights hold from then on (deferred re-weighting, Cao et al. 2019). Needs :meth:`set_epoch`; training
        calls it.
    reduction : {"mean", "sum", "none"}, default="mean"
        See :class:`ClassificationLoss`.

    Attributes
    ----------
    weight : Tensor of float64, shape (C,)
        The weights that hold now.

    Examples
    --------
    >>> import torch
    >>> loss = WeightedCrossEntropy(class_counts=[2000, 100], reduction="none")
    >>> loss(torch.zeros(2, 2), torch.tensor([0, 1])) * 21 / torch.log(torch.tensor(2.0))
    tensor([ 1.0000, 20.0000])
    """

    weight: Tensor

    def __init__(
        self,
        *,
        class_counts: Sequence[int] | np.ndarray | Tensor,
        power: float = 1.0,
        normalize: str = "l1",
        defer_epochs: int = 0,
        reduction: str = "mean",
    ) -> None:
        super().__init__(reduction=reduction)
        if defer_epochs < 0:
            raise InputError(f"defer_epochs is {defer_epochs}; expected 0 or more")
        self.class_counts = class_counts
        self.power = power
        self.normalize = normalize
        self.defer_epochs = defer_epochs
        # Not saved with the network: the counts of the data decide.
        self.register_buffer("weight", torch.empty(0), persistent=False)
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        """Take the weights of epoch `epoch`, counted from 0."""
        power = self.power if epoch >= self.defer_epochs else 0.0
        weights = class_weights(self.class_counts, power=power, normalize=self.normalize)
        self.weight = torch.as_tensor(weights, device=self.weight.device)

    def _unreduced(self, logits: Tensor, targets: Tensor) -> Tensor:
        if len(self.weight) != logits.shape[1]:
            raise InputError(
                f"found {len(self.weight)} class counts for {logits.shape[1]} logits; give one for each"
            )
        return F.cross_entropy(logits, targets, reduction="none") * self.weight.to(logits.dtype)[targets]
