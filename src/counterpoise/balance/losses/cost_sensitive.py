"""Losses with a cost for each pair of a true and a decided class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike
from torch import Tensor

from counterpoise.balance.class_weights import counts_as_array
from counterpoise.balance.costs import Costs, costs_from_counts, read_costs
from counterpoise.balance.losses.base import ClassificationLoss, one_for_each_logit
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
    """

    _table: Tensor

    def __init__(
        self,
        *,
        costs: Costs | None = None,
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
        found = f"the cost matrix is of {len(self._table)} classes"
        return one_for_each_logit(self._table, logits, found)[targets]


class CostModifiedSoftmax(CostLoss):
    """Cross entropy of a softmax whose terms are multiplied by costs (Khan et al. 2018, cost-sensitive CE loss).

    Notes
    -----
    ``-log(xi[y, y] exp(z_y) / sum_k xi[y, k] exp(z_k))``: the target's logit must exceed that of class k by a margin of
    log(xi[y, k] / xi[y, y]). At test time the plain logits decide. The paper's xi is positive everywhere and learned;
    here it is fixed: `costs`, where zeros on the diagonal become the cost of the cheapest mistake. Costs of 0 and 1
    therefore give plain cross entropy, and multiplying all costs by a number changes nothing. A mistake that costs
    nothing has no share in the softmax.

    Helps: where mistakes have prices; unlike the expected cost, its gradient does not vanish on certain mistakes.

    Hurts: costs from the class counts raise the weight of rare classes very little.

    Examples
    --------
    >>> loss = CostModifiedSoftmax(costs=[[0, 1], [9, 0]], reduction="none")
    >>> (-loss(torch.zeros(2, 2), torch.tensor([0, 1]))).exp()  # 1 / (1 + 1) and 1 / (9 + 1)
    tensor([0.5000, 0.1000])
    """

    @property
    def log_costs(self) -> Tensor:
        """Logarithms of xi, float64 of shape (C, C)."""
        return self._table

    def _transformed(self, costs: np.ndarray) -> np.ndarray:
        is_mistake = ~np.eye(len(costs), dtype=bool)
        cheapest = costs[is_mistake & (costs > 0)].min()
        # A finite stand-in for log 0, as gradients through infinities are NaN.
        with np.errstate(divide="ignore"):
            return np.maximum(np.log(np.where(is_mistake | (costs > 0), costs, cheapest)), -1e4)

    def _unreduced(self, logits: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(logits + self._of_targets(logits, targets), targets, reduction="none")


class ExpectedCostLoss(CostLoss):
    """sum_k p_k cost[y, k]: the expected cost of a decision drawn from the softmax p (thesis, section 3.2.2).

    Notes
    -----
    ``sum_k p_k cost[y, k]``. The loss is bounded, so single wrong labels do little harm.

    Helps: where mistakes have prices.

    Hurts: where the softmax is certain of a wrong class the gradient vanishes. Training starts more slowly than with
    cross entropy, and a rare class can stay unlearned.

    Examples
    --------
    >>> loss = ExpectedCostLoss(costs=[[0, 1], [9, 0]], reduction="none")
    >>> loss(torch.zeros(2, 2), torch.tensor([0, 1]))
    tensor([0.5000, 4.5000])
    """

    @property
    def costs(self) -> Tensor:
        """The cost matrix, float64 of shape (C, C)."""
        return self._table

    def _unreduced(self, logits: Tensor, targets: Tensor) -> Tensor:
        return (logits.softmax(dim=1) * self._of_targets(logits, targets)).sum(dim=1)
