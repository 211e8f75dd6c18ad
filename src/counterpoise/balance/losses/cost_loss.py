"""Base class of losses with a cost matrix."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from counterpoise.balance.class_weights import counts_as_array
from counterpoise.balance.costs import costs_from_counts, read_costs
from counterpoise.balance.losses.base import ClassificationLoss
from counterpoise.exceptions import InputError


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
    reduction : {"mean", "sum", "none"}, default="mean"
        See :class:`ClassificationLoss`.

    Raises
    ------
    InputError
        If there are neither costs nor counts, or mistakes cost nothing.
    """

    _table: Tensor

    def __init__(
        self,
        *,
        costs: str | PathLike[str] | ArrayLike | None = None,
        class_counts: ArrayLike | None = None,
        class_names: Sequence[str] | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(reduction=reduction)
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
        if len(self._table) != logits.shape[1]:
            raise InputError(
                f"the cost matrix is of {len(self._table)} classes for {logits.shape[1]} logits; "
                "give one row for each"
            )
        return self._table.to(logits.dtype)[targets]
