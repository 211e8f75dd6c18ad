"""Corrections of the logits by class shares, by a temperature, and by costs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import brentq
from scipy.special import log_softmax, softmax
from sklearn.metrics import recall_score

from counterpoise.balance.adjust.base import Adjustment, highest_at_zero, tensor_highest_at_zero
from counterpoise.balance.costs import Costs, read_costs
from counterpoise.exceptions import InputError

if TYPE_CHECKING:
    from torch import Tensor

CHOSEN = "validation"
TAUS = np.arange(0.0, 2.25, 0.25)
# Share of a decision that saves nothing: its logarithm must be finite.
LEAST_SHARE = 1e-300
# Range of the inverse temperature: without mistakes on the validation images the best one is infinite.
LOWEST, HIGHEST = 0.01, 100.0


class LogitAdjustment(Adjustment):
    """logits - tau * log p_c, with p_c the class's share of the training set (Menon et al. 2021, Eq. 9).

    Parameters
    ----------
    tau : float or "validation", default=1.0
        Factor of the logarithms; 0 changes nothing. "validation": the one of 0, 0.25, .., 2 with the highest mean
        recall on the validation images (the smallest of equals).

    Notes
    -----
    ``z_c - tau * log p_c``. With tau = 1 the decision maximizes the mean recall, if the softmax of the logits gives the
    true probabilities under the training shares.

    Helps: any trained network, without training.

    Hurts: where training never learned a rare class, there is little to adjust.

    Examples
    --------
    >>> LogitAdjustment().fit(None, None, [3, 1]).transform([[0.0, 0.0]]).round(3)
    array([[0.288, 1.386]])
    """

    def __init__(self, *, tau: float | str = 1.0) -> None:
        self.tau = tau

    @property
    def needs_logits(self) -> bool:
        """Whether tau is chosen."""
        return self.tau == CHOSEN

    def _fit(self, logits: np.ndarray, labels: np.ndarray, class_counts: np.ndarray) -> None:
        logs = log_shares(class_counts)
        if self.tau == CHOSEN:
            decisions = [(logits - tau * logs).argmax(axis=1) for tau in TAUS]
            macro = partial(recall_score, labels=np.unique(labels), average="macro", zero_division=0)
            recalls = [macro(labels, decided) for decided in decisions]
            # Rounding must not decide between equals.
            self.tau_ = float(TAUS[np.argmax(np.round(recalls, 12))])
        elif isinstance(self.tau, (int, float)) and np.isfinite(self.tau):
            self.tau_ = float(self.tau)
        else:
            raise InputError(f"tau is {self.tau}; expected a number or {CHOSEN!r}")
        # 0 for a class without training images, which the formula would always predict.
        self.offset_ = -self.tau_ * logs

    def _transform(self, logits: np.ndarray) -> np.ndarray:
        return logits + self.offset_

    def _transform_tensor(self, logits: Tensor) -> Tensor:
        return logits + logits.new_tensor(self.offset_)


def log_shares(class_counts: np.ndarray) -> np.ndarray:
    """Return the logarithms of the class shares, float64 (C,); 0 for a class without images."""
    present = class_counts > 0
    logs = np.zeros(len(class_counts))
    logs[present] = np.log(class_counts[present] / class_counts.sum())
    return logs


class TemperatureScaling(Adjustment):
    """logits / T, with the temperature T that maximizes the likelihood of the validation labels (Guo et al. 2017, 4.2).

    Notes
    -----
    T is the same for all classes, in [0.01, 100], and above 1 for an overconfident network. Rows are shifted so that
    their largest value is exactly 0, which does not change the softmax and survives rounding.

    Helps: calibrated probabilities with the same decisions.

    Hurts: it corrects no decision, and one temperature cannot calibrate rare and common classes separately.

    Examples
    --------
    Three of four such images are of class 0, so that its probability should be 3/4:

    >>> from scipy.special import softmax
    >>> logits = [[5.0, 0.0]] * 4
    >>> adjustment = TemperatureScaling().fit(logits, [0, 0, 0, 1], [90, 10])
    >>> softmax(adjustment.transform(logits[:1]), axis=1).round(3)
    array([[0.75, 0.25]])
    """

    def _fit(self, logits: np.ndarray, labels: np.ndarray, class_counts: np.ndarray) -> None:
        shifted = highest_at_zero(logits)
        of_label = shifted[np.arange(len(labels)), labels]

        def slope(inverse: float) -> float:
            expected = (softmax(inverse * shifted, axis=1) * shifted).sum(axis=1)
            return float((expected - of_label).mean())

        # The mean negative log-likelihood is convex in 1/T: this is its only minimum.
        self.temperature_ = 1.0 / _root_of_rising(slope)

    def _transform(self, logits: np.ndarray) -> np.ndarray:
        return highest_at_zero(logits) / self.temperature_

    def _transform_tensor(self, logits: Tensor) -> Tensor:
        return tensor_highest_at_zero(logits) / self.temperature_


def _root_of_rising(function: Callable[[float], float]) -> float:
    """Return the zero of a rising function, or the end of the range nearest to it; 1 if the function is flat."""
    low, high = function(LOWEST), function(HIGHEST)
    if low >= 0:
        return 1.0 if high <= 0 else LOWEST
    if high <= 0:
        return HIGHEST
    return float(brentq(function, LOWEST, HIGHEST, xtol=1e-12))


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
