"""Balanced softmax: cross entropy of logits raised by the class counts."""

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike
from torch import Tensor

from counterpoise.balance.class_weights import counts_as_array
from counterpoise.balance.losses.base import ClassificationLoss, one_for_each_logit
from counterpoise.exceptions import InputError


class BalancedSoftmax(ClassificationLoss):
    """Cross entropy of logits + tau * log n_c (Ren et al. 2020, Eq. 4; Menon et al. 2021, Eq. 10).

    Parameters
    ----------
    class_counts : array-like of int, shape (C,)
        Training samples of each class. A class without samples has no share in the softmax and must not be a target.
    tau : float, default=1.0
        Weight of the counts, at least 0; 0 is plain cross entropy.

    Notes
    -----
    ``-log softmax(z + tau * log n)_y``. Only training raises the logits; the plain ones suit balanced test images.

    Helps: a good first choice for balanced test images; it costs nothing and has nothing to tune.

    Hurts: where the test images have the class shares of the training images and only accuracy matters.

    Examples
    --------
    >>> loss = BalancedSoftmax(class_counts=[3, 1])
    >>> float(loss(torch.zeros(1, 2), torch.tensor([1])).exp())  # 1 / (1 / 4)
    4.0
    """

    log_share: Tensor

    def __init__(self, *, class_counts: ArrayLike, tau: float = 1.0, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)
        if not tau >= 0:
            raise InputError(f"tau is {tau}; expected 0 or more")
        self.tau = tau
        counts = counts_as_array(class_counts)
        # Shares instead of counts: softmax does not see the difference, and the numbers stay small.
        # A finite stand-in for log 0: minus infinity times a tau of 0 would be NaN.
        with np.errstate(divide="ignore"):
            log_share = np.maximum(np.log(counts / counts.sum()), -1e4)
        self.register_buffer("log_share", torch.as_tensor(log_share), persistent=False)

    def _unreduced(self, logits: Tensor, targets: Tensor) -> Tensor:
        log_share = one_for_each_logit(self.log_share, logits, f"found {len(self.log_share)} class counts")
        return F.cross_entropy(logits + self.tau * log_share, targets, reduction="none")
