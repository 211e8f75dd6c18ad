"""Focal loss."""

from functools import partial

from numpy.typing import ArrayLike
from torch import Tensor

from counterpoise.balance.class_weights import class_weights
from counterpoise.balance.losses.base import (
    ClassificationLoss,
    check_gamma,
    one_for_each_logit,
    softmax_focal,
    values_of_classes,
)


class FocalLoss(ClassificationLoss):
    """-alpha_t (1 - p_t)^gamma log p_t, p_t the probability of the target (thesis, Eq. 3.2; Lin et al. 2017, Eq. 5).

    Parameters
    ----------
    gamma : float, default=2.0
        Strength with which well-classified samples lose weight; 0 is (weighted) cross entropy.
    alpha : None, "inverse" or array-like of float, shape (C,), default=None
        Class weights. None: all 1. "inverse": the inverse class shares, mean 1.
    class_counts : array-like of int, shape (C,), optional
        Training samples of each class; for ``alpha="inverse"``.

    Notes
    -----
    ``-alpha_t (1 - p_t)^gamma log p_t`` with p_t the softmax of the target's class: the better an image is classified,
    the less it counts. (1 - p_t)^gamma measures the distance from one class: a soft target adds the losses of its
    classes by their shares.

    Helps: where most images are easy.

    Hurts: it does not distinguish hard from mislabeled images. Without alpha it does little for rare classes, since
    images of large classes are hard, too.

    Examples
    --------
    >>> import torch
    >>> loss = FocalLoss(gamma=2.0)
    >>> easy, hard = torch.tensor([[0.9, 0.1]]).log(), torch.tensor([[0.1, 0.9]]).log()
    >>> round(float(loss(easy, torch.tensor([0]))), 5), round(float(loss(hard, torch.tensor([0]))), 3)
    (0.00105, 1.865)
    """

    alpha: Tensor | None

    def __init__(
        self,
        *,
        gamma: float = 2.0,
        alpha: str | ArrayLike | None = None,
        class_counts: ArrayLike | None = None,
        label_smoothing: float = 0.0,
        reduction: str = "mean",
    ) -> None:
        super().__init__(label_smoothing=label_smoothing, reduction=reduction)
        check_gamma(gamma)
        self.gamma = gamma
        inverse = partial(class_weights, normalize="mean")
        weights = values_of_classes("alpha", alpha, class_counts, inverse)
        self.register_buffer("alpha", weights, persistent=False)

    def _unreduced(self, logits: Tensor, targets: Tensor) -> Tensor:
        values = softmax_focal(logits, targets, self.gamma)
        if self.alpha is None:
            return values
        found = f"alpha is of {len(self.alpha)} classes"
        return values * one_for_each_logit(self.alpha, logits, found)[targets]
