"""Expected cost."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from counterpoise.balance.losses._cost_matrix import check_width, cost_matrix
from counterpoise.balance.losses.base import ClassificationLoss


class ExpectedCostLoss(ClassificationLoss):
    """sum_k p_k cost[y, k]: what a decision drawn from the softmax p costs on average (thesis, section 3.2.2).

    Bounded, so single wrong labels do little harm; but where the softmax is sure of a wrong class the gradient
    vanishes, and training takes longer to begin than with cross entropy.

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

    Attributes
    ----------
    costs : Tensor of float64, shape (C, C)

    Examples
    --------
    >>> import torch
    >>> loss = ExpectedCostLoss(costs=[[0, 1], [9, 0]], reduction="none")
    >>> loss(torch.zeros(2, 2), torch.tensor([0, 1]))
    tensor([0.5000, 4.5000])
    """

    costs: Tensor

    def __init__(
        self,
        *,
        costs: str | PathLike[str] | ArrayLike | None = None,
        class_counts: ArrayLike | None = None,
        class_names: Sequence[str] | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(reduction=reduction)
        matrix = cost_matrix(costs, class_counts, class_names)
        self.register_buffer("costs", torch.as_tensor(matrix), persistent=False)

    def _unreduced(self, logits: Tensor, targets: Tensor) -> Tensor:
        check_width(self.costs, logits)
        return (logits.softmax(dim=1) * self.costs.to(logits.dtype)[targets]).sum(dim=1)
