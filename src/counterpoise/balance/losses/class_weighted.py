"""Losses with class weights, which may start later."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike
from torch import Tensor

from counterpoise.balance.class_weights import class_weights, counts_as_array, effective_number_weights
from counterpoise.balance.deferral import first_epoch
from counterpoise.balance.losses.base import ClassificationLoss, one_for_each_logit
from counterpoise.balance.losses.cross_entropy import check_gamma, sigmoid_focal, softmax_focal
from counterpoise.exceptions import InputError

_BASES = {"softmax": softmax_focal, "sigmoid": sigmoid_focal}
_BETA = 0.9999
# Far below any sum of weights; a batch of classes without samples has the loss 0.
_LEAST_SUM = 1e-12


class ReweightedLoss(ClassificationLoss):
    """Base of losses that are multiplied by the weight of the sample's class; a loss fills ``_unweighted``.

    `weight` holds the class weights of the current epoch, float64 of shape (C,).

    Parameters
    ----------
    weights, alike : ndarray of float64, shape (C,)
        The class weights, and the equal ones of the epochs before they start.
    defer_epochs : int or float
        First epoch with class weights (deferred re-weighting, Cao et al. 2019); a float in (0, 1) is a share of
        `epochs`. Needs :meth:`set_epoch`, which training calls.
    epochs : int or None
        Number of epochs; needed where `defer_epochs` is a share.
    """

    weight: Tensor

    def __init__(
        self, weights: np.ndarray, alike: np.ndarray, defer_epochs: float, epochs: int | None, reduction: str
    ) -> None:
        super().__init__(reduction=reduction)
        self.first_epoch = first_epoch(defer_epochs, epochs)
        self._weights, self._alike = weights, alike
        # Not saved with the network: the counts of the data decide.
        self.register_buffer("weight", torch.empty(0), persistent=False)
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        """Set the weights of epoch `epoch`, counted from 0."""
        weights = self._weights if epoch >= self.first_epoch else self._alike
        self.weight = torch.as_tensor(weights, device=self.weight.device)

    @abstractmethod
    def _unweighted(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of each sample (N,), before class weights."""

    def _unreduced(self, logits: Tensor, targets: Tensor) -> Tensor:
        weight = one_for_each_logit(self.weight, logits, f"found {len(self.weight)} class counts")
        return self._unweighted(logits, targets) * weight[targets]


class WeightedCrossEntropy(ReweightedLoss):
    """Cross entropy of each sample times the weight of its class (thesis, Eq. 4.1 and Algorithm 2).

    Parameters
    ----------
    power : float in [0, 1], default=1.0
        See :func:`class_weights`.
    normalize : {"l1", "mean"}, default="l1"
        See :func:`class_weights`. Under ``"l1"`` the loss is about C times smaller than the unweighted one.
    defer_epochs
        See :class:`ReweightedLoss`; deferred class weights are equal: 1/C or 1, depending on `normalize`.

    Notes
    -----
    ``-w_y log p_y`` with ``w_c = (1 / p_c) / sum_k(1 / p_k)`` and the class shares p_c = n_c / n. The mean is over the
    images of a batch, not over their weights as in torch.

    Helps: cheap, and often nearly as good as anything else.

    Hurts: with few epochs and extreme ratios a handful of images carries the whole gradient; use a smaller `power`, or
    `defer_epochs`.

    Examples
    --------
    >>> loss = WeightedCrossEntropy(class_counts=[2000, 100], reduction="none")
    >>> loss(torch.zeros(2, 2), torch.tensor([0, 1])) * 21 / torch.log(torch.tensor(2.0))
    tensor([ 1.0000, 20.0000])
    """

    def __init__(
        self,
        *,
        class_counts: ArrayLike,
        power: float = 1.0,
        normalize: str = "l1",
        defer_epochs: int | float = 0,
        epochs: int | None = None,
        reduction: str = "mean",
    ) -> None:
        weights = class_weights(class_counts, power=power, normalize=normalize)
        alike = class_weights(class_counts, power=0.0, normalize=normalize)
        super().__init__(weights, alike, defer_epochs, epochs, reduction)

    def _unweighted(self, logits: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(logits, targets, reduction="none")


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
        reduction: str = "mean",
    ) -> None:
        alike = (counts_as_array(class_counts) > 0).astype(np.float64)
        weights = effective_number_weights(class_counts, beta=beta)
        super().__init__(weights, alike, defer_epochs, epochs, reduction)
        check_gamma(gamma)
        if base not in _BASES:
            raise InputError(f"base is {base!r}; expected one of {', '.join(_BASES)}")
        self.base = base
        self.gamma = gamma

    def _unweighted(self, logits: Tensor, targets: Tensor) -> Tensor:
        return _BASES[self.base](logits, targets, self.gamma)


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
        reduction: str = "mean",
    ) -> None:
        counts = counts_as_array(class_counts)
        alike = (counts > 0).astype(np.float64)
        weights = effective_number_weights(counts, beta=beta)
        if defer_epochs is None:
            if beta != _BETA:
                raise InputError(f"without defer_epochs there are no weights: beta={beta} has no effect")
            weights, defer_epochs = alike, 0
        super().__init__(weights, alike, defer_epochs, epochs, reduction)
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
        return self.weight[targets].sum().clamp(min=_LEAST_SUM).to(values.dtype)
