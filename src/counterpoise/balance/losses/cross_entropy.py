"""Cross entropies of the softmax and of sigmoids, some of which weight easy samples less."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike
from torch import Tensor

from counterpoise.balance.class_weights import class_weights, counts_as_array
from counterpoise.balance.losses.base import ClassificationLoss, one_for_each_logit, values_of_classes
from counterpoise.exceptions import InputError


class CrossEntropy(ClassificationLoss):
    """Cross entropy -log softmax(z)_y, with optional label smoothing.

    Parameters
    ----------
    label_smoothing : float in [0, 1), default=0.0
        Share of the target that is spread evenly over all classes (Szegedy et al. 2016, section 7).

    Notes
    -----
    Helps: where classes are about even, or only accuracy on the same class shares matters.

    Hurts: rare classes are missed; at an imbalance ratio of 100 some are hardly ever predicted.

    Examples
    --------
    >>> loss = CrossEntropy()
    >>> round(float(loss(torch.tensor([[0.23, 0.63, 0.14]]).log(), torch.tensor([1]))), 3)
    0.462
    """

    def __init__(self, *, label_smoothing: float = 0.0, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)
        if not 0.0 <= label_smoothing < 1.0:
            raise InputError(f"label_smoothing is {label_smoothing}; expected a number from 0 to below 1")
        self.label_smoothing = label_smoothing

    def _unreduced(self, logits: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(logits, targets, reduction="none", label_smoothing=self.label_smoothing)


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


class SigmoidCrossEntropy(ClassificationLoss):
    """Sum over the classes of the binary cross entropy of sigmoid(z_c) (lecture, "Sigmoid").

    Parameters
    ----------
    positive_weight : None, "inverse" or array-like of float, shape (C,), default=None
        Factor of a class's own images in the term of its output. None: all 1. "inverse": (n - n_c) / n_c, which gives
        them the same total weight as all other images.
    class_counts : array-like of int, shape (C,), optional
        Training samples of each class; for ``positive_weight="inverse"``.
    reduction : {"mean", "sum", "none"}, default="mean"
        See :class:`ClassificationLoss`; the mean is over samples, not over outputs.

    Notes
    -----
    ``sum_c -log s_c``, with s_c = 1 / (1 + exp(-z_c)) for the target and 1 minus that for all other classes. Each
    output decides for its own class; the sigmoids do not sum to 1. A one-vs-rest head has a bias of -log(C - 1) at the
    start, so each output starts at 1/C (Lin et al. 2017, section 3.3); ``head_layer=linear`` starts near 1/2.

    Helps: outputs with a meaning of their own, and a threshold for each class.

    Hurts: every class has all others against it, so a rare class is even rarer than under a softmax.

    Examples
    --------
    >>> loss = SigmoidCrossEntropy()
    >>> float(loss(torch.tensor([[0.0, 0.0, 0.0]]), torch.tensor([1])).exp().round(decimals=4))  # 2 for each class
    8.0
    """

    positive_weight: Tensor | None

    def __init__(
        self,
        *,
        positive_weight: str | ArrayLike | None = None,
        class_counts: ArrayLike | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(reduction=reduction)
        weights = values_of_classes("positive_weight", positive_weight, class_counts, _negatives_per_positive)
        self.register_buffer("positive_weight", weights, persistent=False)

    def _unreduced(self, logits: Tensor, targets: Tensor) -> Tensor:
        # binary_cross_entropy_with_logits takes z from softplus(z) + z for the other classes, which leaves few digits
        values = -F.logsigmoid(towards_truth(logits, targets))
        if self.positive_weight is not None:
            found = f"positive_weight is of {len(self.positive_weight)} classes"
            weighted = one_for_each_logit(self.positive_weight, logits, found) * values
            values = torch.where(F.one_hot(targets, logits.shape[1]).bool(), weighted, values)
        return values.sum(dim=1)


def _negatives_per_positive(class_counts: ArrayLike) -> np.ndarray:
    counts = counts_as_array(class_counts)
    # A class without samples has no positive ones.
    return np.divide(counts.sum() - counts, counts, out=np.zeros_like(counts), where=counts > 0)


def check_gamma(gamma: float) -> None:
    """Raise InputError for a focusing parameter below 0."""
    if not 0 <= gamma < float("inf"):
        raise InputError(f"gamma is {gamma}; expected a finite number, 0 or more")


def softmax_focal(logits: Tensor, targets: Tensor, gamma: float) -> Tensor:
    """Return -(1 - p_t)^gamma log p_t (N,), with p the softmax."""
    cross_entropy = F.cross_entropy(logits, targets, reduction="none")
    if not gamma:
        return cross_entropy
    # 1 - p_t as the sum over the other classes: exact where p_t is almost 1, and so is its slope.
    others = logits.scatter(1, targets[:, None], -torch.inf)
    log_missed = torch.logsumexp(others, dim=1) - torch.logsumexp(logits, dim=1)
    return torch.exp(gamma * log_missed) * cross_entropy


def towards_truth(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the logits (N, C), positive where they are right: z_c for the target, -z_c for other classes."""
    return torch.where(F.one_hot(targets, logits.shape[1]).bool(), logits, -logits)


def sigmoid_focal(logits: Tensor, targets: Tensor, gamma: float) -> Tensor:
    """Return sum_c -(1 - q_c)^gamma log q_c (N,), with q_c the sigmoid of z_c for the target, of -z_c for others."""
    right = towards_truth(logits, targets)
    values = -F.logsigmoid(right)
    if gamma:
        values = torch.exp(gamma * F.logsigmoid(-right)) * values
    return values.sum(dim=1)


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
    the less it counts. There is no label smoothing, since (1 - p_t)^gamma measures the distance from a single target.

    Helps: where most images are easy.

    Hurts: it does not distinguish hard from mislabeled images. Without alpha it does little for rare classes, since
    images of large classes are hard, too.

    Examples
    --------
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
        reduction: str = "mean",
    ) -> None:
        super().__init__(reduction=reduction)
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
