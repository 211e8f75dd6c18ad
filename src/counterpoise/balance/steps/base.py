"""Base class of all steps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

from torch import Tensor, nn

from counterpoise.balance.deferral import first_epoch

#: Adds the gradients of a batch's loss to ``.grad`` of the parameters, and returns the loss.
Backward = Callable[[], Tensor]


class GradientStep(ABC):
    """Base of changes of the gradient that the optimizer follows; a step fills ``_backward``.

    Parameters
    ----------
    defer_epochs : int or float, default=0
        First epoch of the change, see :func:`counterpoise.balance.deferral.first_epoch`.
    epochs : int, optional
        Number of epochs; needed where `defer_epochs` is a share.
    """

    def __init__(self, *, defer_epochs: int | float = 0, epochs: int | None = None) -> None:
        self._first_epoch = first_epoch(defer_epochs, epochs)
        self._is_deferred = self._first_epoch > 0

    def set_epoch(self, epoch: int) -> None:
        """Start epoch `epoch`, counted from 0."""
        self._is_deferred = epoch < self._first_epoch

    def backward(self, module: nn.Module, backward: Backward) -> Tensor:
        """Leave the gradient of a step in ``.grad`` of the module's parameters, and return the loss of the batch.

        `backward` must return the loss of the same batch under the current weights whenever it is called. The
        parameters have no gradients before; weights and buffers are as after one plain pass.
        """
        return backward() if self._is_deferred else self._backward(module, backward)

    @abstractmethod
    def _backward(self, module: nn.Module, backward: Backward) -> Tensor:
        """Do the same, without a delay."""
