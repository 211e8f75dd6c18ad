"""Base class of losses with class weights that may start later."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
import torch
from torch import Tensor

from counterpoise.balance.deferral import first_epoch
from counterpoise.balance.losses.base import ClassificationLoss
from counterpoise.exceptions import InputError


class ReweightedLoss(ClassificationLoss):
    """Base of losses that are multiplied by the weight of the sample's class; a loss fills ``_unweighted``.

    Parameters
    ----------
    weights, deferred : ndarray of float64, shape (C,)
        The class weights, and those of the epochs before they start.
    defer_epochs : int or float
        First epoch with class weights (deferred re-weighting, Cao et al. 2019); a float in (0, 1) is a share of
        `epochs`. Needs :meth:`set_epoch`, which training calls.
    epochs : int or None
        Number of epochs; needed where `defer_epochs` is a share.
    reduction : {"mean", "sum", "none"}
        See :class:`ClassificationLoss`.
    """

    weight: Tensor

    def __init__(
        self,
        weights: np.ndarray,
        *,
        deferred: np.ndarray,
        defer_epochs: int | float,
        epochs: int | None,
        reduction: str,
    ) -> None:
        super().__init__(reduction=reduction)
        self.first_epoch = first_epoch(defer_epochs, epochs)
        self._weights, self._deferred = weights, deferred
        # Not saved with the network: the counts of the data decide.
        self.register_buffer("weight", torch.empty(0), persistent=False)
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        """Set the weights of epoch `epoch`, counted from 0."""
        weights = self._weights if epoch >= self.first_epoch else self._deferred
        self.weight = torch.as_tensor(weights, device=self.weight.device)

    @abstractmethod
    def _unweighted(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of each sample (N,), before class weights."""

    def _unreduced(self, logits: Tensor, targets: Tensor) -> Tensor:
        if len(self.weight) != logits.shape[1]:
            raise InputError(
                f"found {len(self.weight)} class counts for {logits.shape[1]} logits; give one for each"
            )
        return self._unweighted(logits, targets) * self.weight.to(logits.dtype)[targets]
