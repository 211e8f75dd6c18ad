"""Cost-modified softmax."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike
from torch import Tensor

from counterpoise.balance.losses._cost_matrix import check_width, cost_matrix
from counterpoise.balance.losses.base import ClassificationLoss


class CostModifiedSoftmax(ClassificationLoss):
    """Cross entropy of a softmax whose terms are multiplied by costs (Khan et al. 2018, cost-sensitive CE loss).

    -log(xi[y, y] exp(z_y) / sum_k xi[y, k] exp(z_k)): to be as well off as without costs, the target's logit must
    exceed that of class k by log(xi[y, k] / xi[y, y]) more. At test time the plain logits decide.

    The paper's xi is positive everywhere and learned along; here it stays as given. A mistake's cost is that of
    `costs`; xi[y, y] too, but where that is 0 it is the cheapest mistake's cost. So costs of 0 and 1 give plain
    cross entropy, and multiplying all costs by a number changes nothing. A class that y may be taken for at no
    cost has no share in the softmax.

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
    log_costs : Tensor of float64, shape (C, C)
        log xi.

    Examples
    --------
    >>> import torch
    >>> loss = CostModifiedSoftmax(costs=[[0, 1], [9, 0]], reduction="none")
    >>> (-loss(torch.zeros(2, 2), torch.tensor([0, 1]))).exp()  # 1 / (1 + 1) and 1 / (9 + 1)
    tensor([0.5000, 0.1000])
    """

    log_costs: Tensor

    def __init__(
        self,
        *,
        costs: str | PathLike[str] | ArrayLike | None = None,
        class_counts: ArrayLike | None = None,
        class_names: Sequence[str] | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(reduction=reduction)
        xi = _with_positive_diagonal(cost_matrix(costs, class_counts, class_names))
        # A finite stand-in for log 0, as gradients through infinities are NaN.
        with np.errstate(divide="ignore"):
            log_costs = np.maximum(np.log(xi), -1e4)
        self.register_buffer("log_costs", torch.as_tensor(log_costs), persistent=False)

    def _unreduced(self, logits: Tensor, targets: Tensor) -> Tensor:
        check_width(self.log_costs, logits)
        return F.cross_entropy(logits + self.log_costs.to(logits.dtype)[targets], targets, reduction="none")


def _with_positive_diagonal(costs: np.ndarray) -> np.ndarray:
    """Return the costs with that of the cheapest mistake in place of zeros on the diagonal."""
    is_mistake = ~np.eye(len(costs), dtype=bool)
    cheapest = costs[is_mistake & (costs > 0)].min()
    return np.where(is_mistake | (costs > 0), costs, cheapest)
