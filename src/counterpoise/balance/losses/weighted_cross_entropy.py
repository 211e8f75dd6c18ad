"""Cross entropy with class weights."""

import torch.nn.functional as F
from numpy.typing import ArrayLike
from torch import Tensor

from counterpoise.balance.class_weights import class_weights
from counterpoise.balance.losses.base import ReweightedLoss


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
    >>> import torch
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
        label_smoothing: float = 0.0,
        reduction: str = "mean",
    ) -> None:
        weights = class_weights(class_counts, power=power, normalize=normalize)
        alike = class_weights(class_counts, power=0.0, normalize=normalize)
        super().__init__(weights, alike, defer_epochs, epochs, label_smoothing, reduction)

    def _unweighted(self, logits: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(logits, targets, reduction="none")

    def _mixed(self, logits: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(logits, targets * self._weight_of(logits), reduction="none")
