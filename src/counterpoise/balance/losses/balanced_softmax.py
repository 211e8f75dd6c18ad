"""Balanced softmax: cross entropy of logits raised by the class counts."""

import torch.nn.functional as F
from numpy.typing import ArrayLike
from torch import Tensor

from counterpoise.balance.class_weights import counts_as_array
from counterpoise.balance.losses.base import ClassificationLoss, log_shares, one_for_each_logit
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
    >>> import torch
    >>> loss = BalancedSoftmax(class_counts=[3, 1])
    >>> float(loss(torch.zeros(1, 2), torch.tensor([1])).exp())  # 1 / (1 / 4)
    4.0
    """

    log_share: Tensor

    def __init__(
        self,
        *,
        class_counts: ArrayLike,
        tau: float = 1.0,
        label_smoothing: float = 0.0,
        reduction: str = "mean",
    ) -> None:
        super().__init__(label_smoothing=label_smoothing, reduction=reduction)
        if not tau >= 0:
            raise InputError(f"tau is {tau}; expected 0 or more")
        self.tau = tau
        # Shares instead of counts: softmax does not see the difference, and the numbers stay small.
        self.register_buffer("log_share", log_shares(counts_as_array(class_counts)), persistent=False)

    def _unreduced(self, logits: Tensor, targets: Tensor) -> Tensor:
        log_share = one_for_each_logit(self.log_share, logits, f"found {len(self.log_share)} class counts")
        return F.cross_entropy(logits + self.tau * log_share, targets, reduction="none")

    _mixed = _unreduced
