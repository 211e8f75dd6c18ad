"""Vector-scaling (VS) loss."""

import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike
from torch import Tensor

from counterpoise.balance.class_weights import counts_as_array
from counterpoise.balance.losses.base import ClassificationLoss, log_shares, one_for_each_logit
from counterpoise.exceptions import InputError


class VSLoss(ClassificationLoss):
    """Cross entropy of logits scaled and shifted by the class counts (vector scaling; Kini et al. 2021).

    Parameters
    ----------
    class_counts : array-like of int, shape (C,)
        Training samples of each class. The logit of a class without samples has no effect.
    gamma : float, default=0.3
        Power of the factors, at least 0; 0 is :class:`BalancedSoftmax`.
    tau : float, default=1.0
        Weight of the shifts, at least 0.

    Notes
    -----
    ``-log softmax(Delta * z + iota)_y`` with ``Delta_c = (n_c / n_max)^gamma`` and ``iota_c = tau * log(n_c / n)``. The
    defaults are those of the authors' code. Only training changes the logits; the plain ones suit balanced test images.
    The shifts help at the start; once all training images are fitted, only the factors still move the boundary.

    Helps: where training continues long after every training image is classified correctly.

    Hurts: with few epochs small factors slow the logits of rare classes down, and there the shifts alone do as well;
    two numbers to tune.

    Examples
    --------
    >>> loss = VSLoss(class_counts=[400, 100], gamma=0.5, tau=0.0)
    >>> loss.factor
    tensor([1.0000, 0.5000], dtype=torch.float64)
    """

    #: Delta and iota, float64 of shape (C,).
    factor: Tensor
    shift: Tensor

    def __init__(
        self,
        *,
        class_counts: ArrayLike,
        gamma: float = 0.3,
        tau: float = 1.0,
        label_smoothing: float = 0.0,
        reduction: str = "mean",
    ) -> None:
        super().__init__(label_smoothing=label_smoothing, reduction=reduction)
        for name, value in (("gamma", gamma), ("tau", tau)):
            if not 0 <= value < float("inf"):
                raise InputError(f"{name} is {value}; expected a finite number, 0 or more")
        counts = counts_as_array(class_counts)
        factor = torch.as_tensor((counts / counts.max()) ** gamma)
        self.register_buffer("factor", factor, persistent=False)
        self.register_buffer("shift", tau * log_shares(counts), persistent=False)

    def _unreduced(self, logits: Tensor, targets: Tensor) -> Tensor:
        found = f"found {len(self.factor)} class counts"
        factor, shift = (one_for_each_logit(v, logits, found) for v in (self.factor, self.shift))
        return F.cross_entropy(factor * logits + shift, targets, reduction="none")

    _mixed = _unreduced
