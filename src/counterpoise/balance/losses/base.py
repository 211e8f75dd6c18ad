"""Base classes of the losses, and what several of them compute."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike
from torch import Tensor, nn

from counterpoise.balance._tensors import describe
from counterpoise.balance.class_weights import counts_as_array
from counterpoise.balance.costs import Costs, costs_from_counts, read_costs
from counterpoise.balance.deferral import first_epoch
from counterpoise.exceptions import InputError

_REDUCTIONS = ("mean", "sum", "none")
_HALF = (torch.float16, torch.bfloat16)
# Of the sum of a row of probabilities, which may be in half precision.
_TOLERANCE = 1e-2
# A finite stand-in for log 0: minus infinity times 0 would be NaN.
_LEAST_LOG = -1e4


class ClassificationLoss(nn.Module, ABC):
    """Base of losses on logits and targets: classes, or probabilities of the classes.

    The base checks the input, smooths the labels, multiplies by the sample weights and reduces; a loss fills
    ``_unreduced``, and ``_mixed`` where it is cheaper than C times ``_unreduced``. With soft targets q the loss is
    ``sum_c q_c loss(z, c)``, in which each class has its own weight and margin.

    Parameters
    ----------
    label_smoothing : float in [0, 1), default=0.0
        Share of the target that is spread evenly over all classes (Szegedy et al. 2016, section 7).
    reduction : {"mean", "sum", "none"}, default="mean"
        ``"mean"`` divides the weighted sum by the number N of samples (thesis, Eq. 4.1). ``torch.nn.CrossEntropyLoss``
        with class weights divides by the sum of the weights, which cancels much of the weighting within a batch.
    """

    #: Options that are younger than finished runs, and the values with which they change nothing.
    added_options: ClassVar[Mapping[str, object]] = {"label_smoothing": 0.0}
    #: Whether the loss takes the logits of each expert, (N, K, C); all others get their mean.
    takes_experts: ClassVar[bool] = False
    #: First epoch with class weights.
    first_epoch = 0

    def __init__(self, *, label_smoothing: float = 0.0, reduction: str = "mean") -> None:
        super().__init__()
        if reduction not in _REDUCTIONS:
            raise InputError(f"reduction is {reduction!r}; expected one of {', '.join(_REDUCTIONS)}")
        if not 0.0 <= label_smoothing < 1.0:
            raise InputError(f"label_smoothing is {label_smoothing}; expected a number from 0 to below 1")
        self.reduction = reduction
        self.label_smoothing = label_smoothing

    @abstractmethod
    def _unreduced(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of each sample (N,) for the classes `targets` (N,), before sample weights."""

    def _mixed(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of each sample (N,) for the probabilities `targets` (N, C), before sample weights."""
        n, classes = targets.shape
        each = torch.arange(classes, device=targets.device).repeat(n)
        values = self._unreduced(logits.repeat_interleave(classes, dim=0), each)
        return (targets * values.view(n, classes)).sum(dim=1)

    def forward(self, logits: Tensor, targets: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        """Return the loss: a scalar, or shape (N,) for ``reduction="none"``, of the logits' type (at least float32).

        A batch without samples has the loss 0. InputError if shapes or types do not fit.

        Parameters
        ----------
        logits : Tensor of shape (N, C) or (N, K, C)
            Floating-point scores before softmax, or those of K experts (:attr:`takes_experts`).
        targets : Tensor of shape (N,), int64, or (N, C), floating-point
            Class indices, or probabilities: rows that sum to 1, which is checked where it does not synchronize a GPU.
        sample_weight : Tensor of shape (N,), optional
            Factors of the samples' losses.
        """
        _check(logits, targets, sample_weight)
        if logits.dtype in _HALF:
            # Weighted values and sums exceed the range of float16.
            logits = logits.float()
        if logits.ndim == 3 and not self.takes_experts:
            logits = logits.mean(dim=1)
        targets = self._smoothed(targets, logits)
        values = (self._mixed if targets.is_floating_point() else self._unreduced)(logits, targets)
        if sample_weight is not None:
            values = values * sample_weight.to(values.dtype)
        if self.reduction == "none":
            return values
        total = values.sum()
        return total / self._divisor(values, targets) if self.reduction == "mean" else total

    def _smoothed(self, targets: Tensor, logits: Tensor) -> Tensor:
        """Return the targets as they are, or, soft or smoothed, as probabilities of the logits' type."""
        classes, share = logits.shape[-1], self.label_smoothing
        if not targets.is_floating_point():
            if not share:
                return targets
            targets = F.one_hot(targets, classes)
        targets = targets.to(logits.dtype)
        return targets if not share else (1 - share) * targets + share / classes

    def _divisor(self, values: Tensor, targets: Tensor) -> Tensor | int:
        """Return the divisor of the weighted sum for the mean."""
        return max(len(values), 1)

    def set_epoch(self, epoch: int) -> None:
        """Start epoch `epoch` (from 0); no-op for losses without a schedule."""

    def extra_repr(self) -> str:
        """Return the text that ``print`` shows in parentheses."""
        return f"reduction={self.reduction!r}"


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
        self,
        weights: np.ndarray,
        alike: np.ndarray,
        defer_epochs: float,
        epochs: int | None,
        label_smoothing: float,
        reduction: str,
    ) -> None:
        super().__init__(label_smoothing=label_smoothing, reduction=reduction)
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
        weight = self._weight_of(logits)
        return self._unweighted(logits, targets) * weight[targets]

    def _weight_of(self, logits: Tensor) -> Tensor:
        return one_for_each_logit(self.weight, logits, f"found {len(self.weight)} class counts")


class CostLoss(ClassificationLoss):
    """Base of losses with a cost for each pair of a true and a decided class; a loss fills ``_unreduced``.

    Parameters
    ----------
    costs : path or array-like of float, shape (C, C), optional
        Cost of deciding for the column where the row is true; a CSV or JSON file as
        :func:`counterpoise.balance.costs.read_costs` reads it. Default: a mistake on class c costs n_max / n_c.
    class_counts : array-like of int, shape (C,), optional
        Training samples of each class; for the default costs, and to check the size of others.
    class_names : sequence of str, optional
        The classes in their order; files with names are put into it.
    """

    _table: Tensor

    def __init__(
        self,
        *,
        costs: Costs | None = None,
        class_counts: ArrayLike | None = None,
        class_names: Sequence[str] | None = None,
        label_smoothing: float = 0.0,
        reduction: str = "mean",
    ) -> None:
        super().__init__(label_smoothing=label_smoothing, reduction=reduction)
        counts = None if class_counts is None else counts_as_array(class_counts)
        if costs is not None:
            matrix = read_costs(costs, None if counts is None else len(counts), class_names=class_names)
        elif counts is not None:
            matrix = costs_from_counts(counts)
        else:
            raise InputError("there is no cost matrix; give costs=, or class_counts= to make one from")
        if not (matrix > matrix.diagonal()[:, None]).any():
            raise InputError(
                "no mistake costs more than the right decision; expected the true classes in the rows"
            )
        self.register_buffer("_table", torch.as_tensor(self._transformed(matrix)), persistent=False)

    def _transformed(self, costs: np.ndarray) -> np.ndarray:
        return costs

    def _of_targets(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the row of each target (N, C) in the logits' type."""
        return self._for_each(logits)[targets]

    def _for_each(self, logits: Tensor) -> Tensor:
        found = f"the cost matrix is of {len(self._table)} classes"
        return one_for_each_logit(self._table, logits, found)


def one_for_each_logit(values: Tensor, logits: Tensor, found: str) -> Tensor:
    """Return a value for each class, (C,) or (C, C), in the logits' type; `found` begins the error's message."""
    if len(values) != logits.shape[-1]:
        raise InputError(f"{found} for {logits.shape[-1]} logits; give one for each")
    return values.to(logits.dtype)


def log_shares(counts: np.ndarray) -> Tensor:
    """Return the logarithms of the class shares, float64 (C,); a very small number for a class without samples."""
    with np.errstate(divide="ignore"):
        return torch.as_tensor(np.maximum(np.log(counts / counts.sum()), _LEAST_LOG))


def values_of_classes(
    option: str,
    values: str | ArrayLike | None,
    class_counts: ArrayLike | None,
    inverse: Callable[[ArrayLike], np.ndarray],
) -> Tensor | None:
    """Return an option's numbers, float64 (C,): None, given, or, if it is "inverse", computed from the counts."""
    if values is None:
        return None
    if isinstance(values, str) and values == "inverse":
        if class_counts is None:
            raise InputError(f"{option}='inverse' needs the class counts; give class_counts=")
        return torch.as_tensor(inverse(class_counts))
    raw: Any = values.detach().cpu().numpy() if isinstance(values, Tensor) else values
    message = f"{option} is {values!r}; expected 'inverse', or a number for each class, 0 or more"
    try:
        array = np.array(raw, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(message) from error
    if array.ndim != 1 or not array.any() or not np.all(np.isfinite(array) & (array >= 0)):
        raise InputError(message)
    return torch.as_tensor(array)


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


def _check(logits: Tensor, targets: Tensor, sample_weight: Tensor | None) -> None:
    if logits.ndim not in (2, 3) or not logits.is_floating_point():
        raise InputError(f"logits are {describe(logits)}; expected floats of shape (N, C)")
    n, classes = len(logits), logits.shape[-1]
    hard = targets.dtype == torch.int64 and targets.shape == (n,)
    if not hard and not (targets.is_floating_point() and targets.shape == (n, classes)):
        raise InputError(
            f"targets are {describe(targets)}; expected int64 of shape ({n},): class indices, or floats of shape "
            f"({n}, {classes}): probabilities"
        )
    # A check of values would synchronize a GPU.
    if not hard and targets.device.type == "cpu":
        sums = targets.float().sum(dim=1)
        if bool((targets < 0).any()) or not bool(((sums - 1).abs() <= _TOLERANCE).all()):
            raise InputError("the targets are no probabilities; expected rows of 0 or more that sum to 1")
    if sample_weight is not None and sample_weight.shape != (n,):
        raise InputError(
            f"sample weights are {describe(sample_weight)}; expected one for each of the {n} samples"
        )
