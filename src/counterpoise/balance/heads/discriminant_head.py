"""Head of linear discriminant analysis."""

from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from counterpoise.balance.heads.base import HeadStage, linear_layer
from counterpoise.exceptions import InputError

LEDOIT_WOLF = "ledoit-wolf"


class DiscriminantHead(HeadStage):
    """Linear discriminant analysis with a shrunk covariance and equal priors (Hastie et al. 2009, section 4.3).

    Parameters
    ----------
    shrinkage : float in [0, 1] or "ledoit-wolf", default="ledoit-wolf"
        Share of the scaled identity in the covariance that all classes have in common; "ledoit-wolf" estimates it
        (Ledoit and Wolf 2004).

    Notes
    -----
    With class means m_c and covariance S the logit is ``m_c S^-1 z - m_c S^-1 m_c / 2``: a linear head. Every class has
    the same prior, so rare classes need no correction.

    Helps: fast, without iterations; strong where each class has some twenty images or more.

    Hurts: with a handful of images a class mean is noise along every direction that the covariance calls unlikely.

    Examples
    --------
    >>> head = nn.Linear(1, 2)
    >>> data = torch.tensor([[-1.0], [1.0], [3.0], [5.0]]), torch.tensor([0, 0, 1, 1])
    >>> fitted = DiscriminantHead(shrinkage=0.0).prepare(head, *data)
    >>> DiscriminantHead().finish(fitted, head)
    >>> head(torch.tensor([[2.0]])).diff().item()
    0.0
    """

    replaces: ClassVar[bool] = True
    trains: ClassVar[bool] = False

    def __init__(self, *, shrinkage: float | str = LEDOIT_WOLF) -> None:
        if shrinkage != LEDOIT_WOLF and not (isinstance(shrinkage, (int, float)) and 0 <= shrinkage <= 1):
            raise InputError(f"shrinkage is {shrinkage!r}; expected a share from 0 to 1, or {LEDOIT_WOLF!r}")
        self.shrinkage = shrinkage

    def _prepare(self, head: nn.Module, embeddings: Tensor, labels: Tensor) -> nn.Module:
        linear = linear_layer(head, "lda")
        rows, classes = embeddings.double().cpu().numpy(), labels.cpu().numpy()
        means = np.zeros((linear.out_features, rows.shape[1]))
        present = np.unique(classes)
        for label in present:
            means[label] = rows[classes == label].mean(axis=0)
        directions = self._solve(rows - means[classes], means)
        bias = -(directions * means).sum(axis=1) / 2
        bias[np.setdiff1d(np.arange(len(means)), present)] = np.finfo(np.float32).min
        result = nn.utils.skip_init(
            nn.Linear, linear.in_features, linear.out_features, device=embeddings.device
        )
        result.weight.copy_(torch.from_numpy(directions))
        result.bias.copy_(torch.from_numpy(bias))
        return result

    def _solve(self, centered: np.ndarray, means: np.ndarray) -> np.ndarray:
        """Return S^-1 m_c, float64 (C, d), for the shrunk covariance S of centered embeddings (N, d)."""
        from scipy.linalg import solve
        from sklearn.covariance import ledoit_wolf_shrinkage

        width = centered.shape[1]
        covariance = centered.T @ centered / len(centered)
        share = self.shrinkage
        if share == LEDOIT_WOLF:
            share = ledoit_wolf_shrinkage(centered, assume_centered=True)
        variance = max(float(np.trace(covariance)) / width, 1e-12)
        covariance *= 1 - float(share)
        # The last term keeps constant features, such as dead channels, from making it singular.
        covariance.flat[:: width + 1] += (float(share) + 1e-9) * variance
        return solve(covariance, means.T, assume_a="pos").T

    def _finish(self, trained: nn.Module, head: nn.Module) -> None:
        head.load_state_dict(trained.state_dict())
