"""Batch norm with stored statistics, for passes that need only the gradient of its input."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["fixed_batch_norms"]

_KINDS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


@contextmanager
def fixed_batch_norms(modules: Iterable[nn.Module]) -> Iterator[None]:
    """Replace the batch norms among `modules` by their affine map under stored statistics.

    On the way back torch's own read the images once more, for gradients of parameters that are not needed here. Batch
    norms without stored statistics, and compiled modules, stay as they are.
    """
    modules = list(modules)
    norms = [] if any(_is_compiled(module) for module in modules) else [m for m in modules if _is_fixed(m)]
    scales, shifts = _scales_and_shifts(norms)
    try:
        for norm, scale, shift in zip(norms, scales, shifts, strict=True):
            norm.forward = _Affine(scale, shift)
        yield
    finally:
        for norm in norms:
            vars(norm).pop("forward", None)


class _Affine:
    def __init__(self, scale: Tensor, shift: Tensor) -> None:
        self.scale = scale
        self.shift = shift

    def __call__(self, x: Tensor) -> Tensor:
        scale, shift = self.scale, self.shift
        if x.dtype != scale.dtype:
            scale, shift = scale.to(x.dtype), shift.to(x.dtype)
        if x.ndim > 2:
            shape = (-1, *[1] * (x.ndim - 2))
            scale, shift = scale.view(shape), shift.view(shape)
        return torch.addcmul(shift, x, scale)


def _is_compiled(module: nn.Module) -> bool:
    # It would be recompiled for every batch.
    return hasattr(module, "_orig_mod") or getattr(module, "_compiled_call_impl", None) is not None


def _is_fixed(module: nn.Module) -> bool:
    # Exactly these classes: a subclass may do more.
    return type(module) in _KINDS and module.running_mean is not None and "forward" not in vars(module)


def _scales_and_shifts(norms: list[Any]) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
    """Return scale and shift of each batch norm; all in one call each, as they are small and many."""
    if not norms:
        return (), ()
    with torch.no_grad():
        scales: Any = torch._foreach_add([norm.running_var for norm in norms], [norm.eps for norm in norms])
        torch._foreach_sqrt_(scales)
        torch._foreach_reciprocal_(scales)
        affine = [i for i, norm in enumerate(norms) if norm.affine]
        if affine:
            torch._foreach_mul_([scales[i] for i in affine], [norms[i].weight for i in affine])
        shifts: Any = torch._foreach_mul([norm.running_mean for norm in norms], scales)
        torch._foreach_neg_(shifts)
        if affine:
            torch._foreach_add_([shifts[i] for i in affine], [norms[i].bias for i in affine])
    return scales, shifts
