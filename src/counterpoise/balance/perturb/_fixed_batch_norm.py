"""Batch norm with stored statistics, where only the gradient of its input is wanted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

__all__ = ["FixedBatchNorm"]


class FixedBatchNorm(TorchFunctionMode):
    """Within it, batch norm in evaluation mode is one product and one sum.

    Torch's own passes over the images once more on the way back, for the gradients of its parameters, whether they
    are asked for or not. These are constants here.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Call `func`, batch norm with stored statistics excepted."""
        if func is F.batch_norm:
            return _batch_norm(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def _batch_norm(
    x: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    if training or running_mean is None or running_var is None:
        return F.batch_norm(x, running_mean, running_var, weight, bias, training, momentum, eps)
    with torch.no_grad():
        scale = torch.rsqrt(running_var + eps)
        if weight is not None:
            scale = scale * weight
        shift = -running_mean * scale if bias is None else bias - running_mean * scale
        shape = (-1, *[1] * (x.ndim - 2))
        scale, shift = (values.to(x.dtype).view(shape) for values in (scale, shift))
    return torch.addcmul(shift, x, scale)
