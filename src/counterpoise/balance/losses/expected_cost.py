"""Expected cost of a decision drawn from the softmax."""

from torch import Tensor

from counterpoise.balance.losses.base import CostLoss


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
    >>> import torch
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

    def _mixed(self, logits: Tensor, targets: Tensor) -> Tensor:
        return (logits.softmax(dim=1) * (targets @ self._for_each(logits))).sum(dim=1)
