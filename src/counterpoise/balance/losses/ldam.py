"""Cross entropy with label-distribution-aware margins (LDAM)."""

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike
from torch import Tensor

from counterpoise.balance.class_weights import counts_as_array, effective_number_weights
from counterpoise.balance.losses.base import ReweightedLoss
from counterpoise.exceptions import InputError

_BETA = 0.9999
# Far below any sum of weights; a batch of classes without samples has the loss 0.
_LEAST_SUM = 1e-12


class LDAMLoss(ReweightedLoss):
    """Cross entropy with a margin for each class, larger for rare ones (Cao et al. 2019, Eq. 12-13).

    Parameters
    ----------
    max_margin : float, default=0.5
        Margin of the smallest class, in units of the cosine; 0 is plain cross entropy.
    scale : float, default=30.0
        Scale of the logits.
    defer_epochs : int, float or None, default=None
        Deferred re-weighting (DRW): number or share of epochs before each class gets its weight; the paper's 160 of 200
        are 0.8. None: no class weights.
    beta : float in [0, 1), default=0.9999
        Of the weights, see :func:`effective_number_weights`.

    Notes
    -----
    The target's logit is lowered by ``scale * margin_c`` with ``margin_c = max_margin * (n_min / n_c)^(1/4)``. On
    logits ``scale * cos(theta_c)`` of a cosine head, theta_c the angle between embedding and class vector, this is the
    paper's loss; on other logits `scale` only sets the size of the margin. With `defer_epochs`, effective-number class
    weights follow. ``reduction="mean"`` divides by the sum of the batch's class weights (the paper's Algorithm 1, line
    11).

    Helps: long training on long tails; made for 200 epochs.

    Hurts: angles at scale 30 learn slowly at first, so with few epochs it falls behind.

    Examples
    --------
    >>> LDAMLoss(class_counts=[1600, 100]).margin
    tensor([0.2500, 0.5000], dtype=torch.float64)
    """

    #: In units of the cosine, float64 of shape (C,); 0 for a class without samples.
    margin: Tensor

    def __init__(
        self,
        *,
        class_counts: ArrayLike,
        max_margin: float = 0.5,
        scale: float = 30.0,
        defer_epochs: int | float | None = None,
        beta: float = _BETA,
        epochs: int | None = None,
        label_smoothing: float = 0.0,
        reduction: str = "mean",
    ) -> None:
        counts = counts_as_array(class_counts)
        alike = (counts > 0).astype(np.float64)
        weights = effective_number_weights(counts, beta=beta)
        if defer_epochs is None:
            if beta != _BETA:
                raise InputError(f"without defer_epochs there are no weights: beta={beta} has no effect")
            weights, defer_epochs = alike, 0
        super().__init__(weights, alike, defer_epochs, epochs, label_smoothing, reduction)
        if not 0 <= max_margin < float("inf"):
            raise InputError(f"max_margin is {max_margin}; expected a finite number, 0 or more")
        if not 0 < scale < float("inf"):
            raise InputError(f"scale is {scale}; expected a finite number above 0")
        self.scale = scale
        margin = np.zeros_like(counts)
        margin[counts > 0] = max_margin * (counts[counts > 0].min() / counts[counts > 0]) ** 0.25
        self.register_buffer("margin", torch.as_tensor(margin), persistent=False)

    def _unweighted(self, logits: Tensor, targets: Tensor) -> Tensor:
        lowered = -self.scale * self.margin.to(logits.dtype)[targets]
        return F.cross_entropy(
            logits.scatter_add(1, targets[:, None], lowered[:, None]), targets, reduction="none"
        )

    def _divisor(self, values: Tensor, targets: Tensor) -> Tensor:
        weights = targets * self.weight if targets.is_floating_point() else self.weight[targets]
        return weights.sum().clamp(min=_LEAST_SUM).to(values.dtype)
