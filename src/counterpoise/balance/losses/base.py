"""Base class of all losses."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from counterpoise.balance._tensors import describe
from counterpoise.exceptions import InputError

_REDUCTIONS = ("mean", "sum", "none")
_HALF = (torch.float16, torch.bfloat16)


class ClassificationLoss(nn.Module, ABC):
    """Base of losses on logits and integer targets.

    The base checks the input, multiplies by the sample weights and reduces; a loss fills ``_unreduced``.

    Parameters
    ----------
    reduction : {"mean", "sum", "none"}, default="mean"
        ``"mean"`` divides the weighted sum by the number N of samples (thesis, Eq. 4.1). ``torch.nn.CrossEntropyLoss``
        with class weights divides by the sum of the weights, which cancels much of the weighting within a batch.
    """

    #: First epoch with class weights.
    first_epoch = 0

    def __init__(self, *, reduction: str = "mean") -> None:
        super().__init__()
        if reduction not in _REDUCTIONS:
            raise InputError(f"reduction is {reduction!r}; expected one of {', '.join(_REDUCTIONS)}")
        self.reduction = reduction

    @abstractmethod
    def _unreduced(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of each sample (N,), before sample weights."""

    def forward(self, logits: Tensor, targets: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        """Return the loss: a scalar, or shape (N,) for ``reduction="none"``, of the logits' type (at least float32).

        A batch without samples has the loss 0. `logits`, (N, C), are floating-point scores before softmax, `targets`,
        int64 (N,), class indices, and `sample_weight`, (N,), factors of the samples' losses; InputError if shapes or
        types do not fit.
        """
        _check(logits, targets, sample_weight)
        if logits.dtype in _HALF:
            # Weighted values and sums exceed the range of float16.
            logits = logits.float()
        values = self._unreduced(logits, targets)
        if sample_weight is not None:
            values = values * sample_weight.to(values.dtype)
        if self.reduction == "none":
            return values
        total = values.sum()
        return total / self._divisor(values, targets) if self.reduction == "mean" else total

    def _divisor(self, values: Tensor, targets: Tensor) -> Tensor | int:
        """Return the divisor of the weighted sum for the mean."""
        return max(len(values), 1)

    def set_epoch(self, epoch: int) -> None:
        """Start epoch `epoch` (from 0); no-op for losses without a schedule."""

    def extra_repr(self) -> str:
        """Return the text that ``print`` shows in parentheses."""
        return f"reduction={self.reduction!r}"


def one_for_each_logit(values: Tensor, logits: Tensor, found: str) -> Tensor:
    """Return a value for each class, (C,) or (C, C), in the logits' type; `found` begins the error's message."""
    if len(values) != logits.shape[1]:
        raise InputError(f"{found} for {logits.shape[1]} logits; give one for each")
    return values.to(logits.dtype)


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


def _check(logits: Tensor, targets: Tensor, sample_weight: Tensor | None) -> None:
    if logits.ndim != 2 or not logits.is_floating_point():
        raise InputError(f"logits are {describe(logits)}; expected floats of shape (N, C)")
    if targets.shape != logits.shape[:1] or targets.dtype != torch.int64:
        raise InputError(
            f"targets are {describe(targets)}; expected int64 of shape ({len(logits)},): class indices"
        )
    if sample_weight is not None and sample_weight.shape != targets.shape:
        raise InputError(
            f"sample weights are {describe(sample_weight)}; expected one for each of the {len(logits)} samples"
        )
