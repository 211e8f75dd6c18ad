"""Cross entropy or focal loss weighted by the effective numbers of samples."""

import numpy as np
from numpy.typing import ArrayLike
from torch import Tensor

from counterpoise.balance.class_weights import counts_as_array, effective_number_weights
from counterpoise.balance.losses.base import ReweightedLoss, check_gamma, sigmoid_focal, softmax_focal
from counterpoise.exceptions import InputError

_BASES = {"softmax": softmax_focal, "sigmoid": sigmoid_focal}


class ClassBalancedLoss(ReweightedLoss):
    """Cross entropy or focal loss times weights from the effective number of samples (Cui et al. 2019, Eq. 6).

    Parameters
    ----------
    beta : float in [0, 1), default=0.9999
        See :func:`effective_number_weights`. The paper tries 0.9, 0.99, 0.999 and 0.9999. For classes much smaller than
        1 / (1 - beta) the weights are the inverse shares.
    base : {"softmax", "sigmoid"}, default="softmax"
        Cross entropy of the softmax (Eq. 8), or the sum of the binary cross entropies of the sigmoids.
    gamma : float, default=0.0
        Above 0, the focal loss of the base: with ``base="sigmoid"`` the paper's (Eq. 13; without, Eq. 11).
    defer_epochs
        See :class:`ReweightedLoss`; a deferred class weight is 1.

    Notes
    -----
    ``w_c = 1 / E_c``, scaled to mean 1, with the effective number of images ``E_c = (1 - beta^n_c) / (1 - beta)``: new
    images overlap with old ones, so beyond about 1 / (1 - beta) of them, more hardly count.

    Helps: milder than the inverse class shares where large classes are very large.

    Hurts: classes of a few hundred images are weighted by the inverse shares, unless beta is chosen to suit.

    Examples
    --------
    >>> ClassBalancedLoss(class_counts=[5000, 50], beta=0.999).weight.round(decimals=3)
    tensor([0.0940, 1.9060], dtype=torch.float64)
    """

    def __init__(
        self,
        *,
        class_counts: ArrayLike,
        beta: float = 0.9999,
        base: str = "softmax",
        gamma: float = 0.0,
        defer_epochs: int | float = 0,
        epochs: int | None = None,
        label_smoothing: float = 0.0,
        reduction: str = "mean",
    ) -> None:
        alike = (counts_as_array(class_counts) > 0).astype(np.float64)
        weights = effective_number_weights(class_counts, beta=beta)
        super().__init__(weights, alike, defer_epochs, epochs, label_smoothing, reduction)
        check_gamma(gamma)
        if base not in _BASES:
            raise InputError(f"base is {base!r}; expected one of {', '.join(_BASES)}")
        self.base = base
        self.gamma = gamma

    def _unweighted(self, logits: Tensor, targets: Tensor) -> Tensor:
        return _BASES[self.base](logits, targets, self.gamma)
