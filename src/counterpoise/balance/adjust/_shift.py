"""Shifts of rows of logits, which do not change their softmax."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor


def highest_at_zero(scores: np.ndarray) -> np.ndarray:
    """Return rows shifted so that the highest value is 0.

    A cast to a narrower type then cannot make another class the first of the highest.

    Examples
    --------
    >>> highest_at_zero(np.array([[1.0, 3.0]]))
    array([[-2.,  0.]])
    """
    return scores - scores.max(axis=1, keepdims=True)


def tensor_highest_at_zero(scores: Tensor) -> Tensor:
    """Return the same for a tensor (N, C)."""
    return scores - scores.amax(dim=1, keepdim=True)
