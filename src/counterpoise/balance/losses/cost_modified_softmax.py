"""Cross entropy of a softmax that is modified by costs."""

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from counterpoise.balance.losses.base import CostLoss


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
    >>> import torch
    >>> loss = CostModifiedSoftmax(costs=[[0, 1], [9, 0]], reduction="none")
    >>> (-loss(torch.zeros(2, 2), torch.tensor([0, 1]))).exp()  # 1 / (1 + 1) and 1 / (9 + 1)
    tensor([0.5000, 0.1000])
    """

    def _transformed(self, costs: np.ndarray) -> np.ndarray:
        is_mistake = ~np.eye(len(costs), dtype=bool)
        cheapest = costs[is_mistake & (costs > 0)].min()
        # A finite stand-in for log 0, as gradients through infinities are NaN.
        with np.errstate(divide="ignore"):
            return np.maximum(np.log(np.where(is_mistake | (costs > 0), costs, cheapest)), -1e4)

    def _unreduced(self, logits: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(logits + self._of_targets(logits, targets), targets, reduction="none")
