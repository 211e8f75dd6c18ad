"""The contract of all losses."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from counterpoise.exceptions import InputError

_REDUCTIONS = ("mean", "sum", "none")
_HALF = (torch.float16, torch.bfloat16)


class ClassificationLoss(nn.Module, ABC):
    """A loss on logits and integer targets.

    The base checks the input, multiplies by the sample weights and reduces; a loss fills ``_unreduced``.

    Parameters
    ----------
    reduction : {"mean", "sum", "none"}, default="mean"
        ``"mean"`` divides the weighted sum by the number N of samples (thesis, Eq. 4.1).
        ``torch.nn.CrossEntropyLoss`` with class weights divides by the sum of the weights instead, which
        would take back much of the weighting within a batch.
    """

    #: From which epoch on it is what it says; before, it is plain.
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
        """Return the loss.

        Parameters
        ----------
        logits : Tensor of shape (N, C)
            Scores before softmax, floating point.
        targets : Tensor of shape (N,)
            Class indices 0..C-1, int64.
        sample_weight : Tensor of shape (N,), optional
            Factor of each sample's loss.

        Returns
        -------
        Tensor
            A scalar, or shape (N,) for ``reduction="none"``, of the logits' type; float32 for half-precision logits,
            as under ``torch.autocast``. A batch without samples has the loss 0.

        Raises
        ------
        InputError
            If shapes or types do not fit.
        """
        _check(logits, targets, sample_weight)
        if logits.dtype in _HALF:
            # Weighted values and sums leave the range of float16.
            logits = logits.float()
        values = self._unreduced(logits, targets)
        if sample_weight is not None:
            values = values * sample_weight.to(values.dtype)
        if self.reduction == "none":
            return values
        total = values.sum()
        return total / self._divisor(values, targets) if self.reduction == "mean" else total

    def _divisor(self, values: Tensor, targets: Tensor) -> Tensor | int:
        """Return what the weighted sum is divided by for the mean."""
        return max(len(values), 1)

    def set_epoch(self, epoch: int) -> None:
        """Tell the loss that epoch `epoch` (from 0) begins. Only losses with a schedule care."""

    def extra_repr(self) -> str:
        """Return what ``print`` shows between the brackets."""
        return f"reduction={self.reduction!r}"


def values_of_classes(values: str | ArrayLike, option: str) -> np.ndarray:
    """Return an option's numbers, one for each class, as float64 (C,).

    Raises
    ------
    InputError
        If they are not finite numbers, 0 or more.
    """
    raw: Any = values.detach().cpu().numpy() if isinstance(values, Tensor) else values
    message = f"{option} is {values!r}; expected 'inverse', or a number for each class, 0 or more"
    try:
        array = np.array(raw, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(message) from error
    if array.ndim != 1 or not array.any() or not np.all(np.isfinite(array) & (array >= 0)):
        raise InputError(message)
    return array


def _check(logits: Tensor, targets: Tensor, sample_weight: Tensor | None) -> None:
    if logits.ndim != 2 or not logits.is_floating_point():
        raise InputError(f"logits are {_kind(logits)}; expected floats of shape (N, C)")
    if targets.shape != logits.shape[:1] or targets.dtype != torch.int64:
        raise InputError(
            f"targets are {_kind(targets)}; expected int64 of shape ({len(logits)},): class indices"
        )
    if sample_weight is not None and sample_weight.shape != targets.shape:
        raise InputError(
            f"sample weights are {_kind(sample_weight)}; expected one for each of the {len(logits)} samples"
        )


def _kind(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} of shape {tuple(tensor.shape)}"
