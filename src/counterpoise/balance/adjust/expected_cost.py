"""Decision of least expected cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import log_softmax

from counterpoise.balance.adjust.base import Adjustment, highest_at_zero, tensor_highest_at_zero
from counterpoise.balance.costs import Costs, read_costs
from counterpoise.exceptions import InputError

if TYPE_CHECKING:
    from torch import Tensor

# Share of a decision that saves nothing: its logarithm must be finite.
LEAST_SHARE = 1e-300


class ExpectedCost(Adjustment):
    """Decide for argmin_k sum_c p_c cost[c, k] (Elkan 2001, Eq. 1); nothing is learned.

    Parameters
    ----------
    costs : path or array-like of float, shape (C, C)
        Cost of deciding for the column where the row is true; a file as `read_costs` reads it.
    class_names : sequence of str, optional
        The classes in their order, for a file of costs that names them.

    Notes
    -----
    The adjusted logits are logarithms of the expected savings ``sum_c p_c (max_j cost[c, j] - cost[c, k])``: of
    decision k against the most expensive decision for each class. The highest saving is the lowest cost. Their softmax
    is each decision's share of the savings: for costs of 0 and 1 p itself, for a cost w_c of any mistake on class c the
    distribution p_c w_c / sum_k p_k w_k, for other costs only a ranking.

    Helps: calibrated probabilities under the class shares of its use; no image is needed.

    Hurts: a network trained on rare classes is seldom calibrated; `ClassThresholds` with the same costs asks for less.

    Examples
    --------
    Missing class 1 costs as much as nine false alarms, so the decision is class 1 from a probability of 1/10:

    >>> adjustment = ExpectedCost(costs=[[0, 1], [9, 0]]).fit(None, None, [90, 10])
    >>> adjustment.transform(np.log([[0.89, 0.11], [0.91, 0.09]])).argmax(axis=1)
    array([1, 0])
    """

    needs_logits = False

    def __init__(self, *, costs: Costs | None = None, class_names: Sequence[str] | None = None) -> None:
        self.costs = costs
        self.class_names = class_names

    def _fit(self, logits: np.ndarray, labels: np.ndarray, class_counts: np.ndarray) -> None:
        if self.costs is None:
            raise InputError("the expected cost needs a cost matrix; give costs=FILE")
        self.costs_ = read_costs(self.costs, len(class_counts), class_names=self.class_names)
        if not _savings(self.costs_).any():
            raise InputError(
                "every decision costs the same; expected a cost matrix in which mistakes cost more"
            )

    def _transform(self, logits: np.ndarray) -> np.ndarray:
        savings = _savings(self.costs_)
        # Classes for which all decisions cost the same must not decide, however probable.
        matter = savings.any(axis=1)
        log_p = log_softmax(logits, axis=1)[:, matter]
        expected = np.exp(highest_at_zero(log_p)) @ savings[matter]
        expected /= expected.max(axis=1, keepdims=True)
        return np.log(np.maximum(expected, LEAST_SHARE))

    def _transform_tensor(self, logits: Tensor) -> Tensor:
        savings = _savings(self.costs_)
        matter = np.flatnonzero(savings.any(axis=1)).tolist()
        log_p = logits.log_softmax(dim=1)[:, matter]
        expected = tensor_highest_at_zero(log_p).exp() @ logits.new_tensor(savings[matter])
        expected = expected / expected.amax(dim=1, keepdim=True)
        return expected.clamp_min(LEAST_SHARE).log()


def _savings(costs: np.ndarray) -> np.ndarray:
    return costs.max(axis=1, keepdims=True) - costs
