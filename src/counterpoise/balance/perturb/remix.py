"""Remix: mixup with labels that favor minority classes."""

from __future__ import annotations

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from counterpoise.balance.class_weights import counts_as_array
from counterpoise.balance.perturb.base import of_class
from counterpoise.balance.perturb.mixup import Mixup
from counterpoise.exceptions import InputError


class Remix(Mixup):
    """Mixup whose label goes to the minority class where the class sizes differ much (Remix; Chou et al. 2020).

    Parameters
    ----------
    kappa : float, default=3.0
        At least 1: ratio of class counts from which one class is the majority of a pair.
    tau : float in [0, 1], default=0.5
        A majority image with a smaller share of the pixels has no share of the label; 0 is plain mixup.

    Notes
    -----
    Images are mixed by lambda as in :class:`Mixup`. The share of y_i in the label is 0 if ``n_i / n_j >= kappa`` and
    ``lambda < tau``, 1 if ``n_i / n_j <= 1 / kappa`` and ``1 - lambda < tau``, and lambda otherwise.

    Helps: it moves the decision boundary away from rare classes.

    Hurts: as mixup, with few epochs.

    Examples
    --------
    >>> from counterpoise.balance.losses import CrossEntropy
    >>> images, targets = torch.rand(2, 1, 4, 4), torch.tensor([0, 1])
    >>> remix = Remix(class_counts=[900, 10], tau=1.0)
    >>> batch = remix.perturb(images, targets, network=torch.nn.Flatten(), loss=CrossEntropy())
    >>> mixed = batch.targets != batch.other_targets
    >>> set(batch.share[mixed & (batch.targets == 1)].tolist()) <= {1.0}
    True
    """

    def __init__(
        self,
        *,
        class_counts: ArrayLike,
        alpha: float = 1.0,
        per_image: bool = False,
        kappa: float = 3.0,
        tau: float = 0.5,
    ) -> None:
        super().__init__(alpha=alpha, per_image=per_image)
        if not kappa >= 1:
            raise InputError(f"kappa is {kappa}; expected a ratio of class counts of at least 1")
        if not 0 <= tau <= 1:
            raise InputError(f"tau is {tau}; expected a share in [0, 1]")
        self.kappa = kappa
        self.tau = tau
        self._counts = torch.from_numpy(counts_as_array(class_counts))

    def _label_share(self, share: Tensor, targets: Tensor, other_targets: Tensor) -> Tensor:
        if self._counts.device != targets.device:
            self._counts = self._counts.to(targets.device)
        n_i, n_j = of_class(self._counts, targets), of_class(self._counts, other_targets)
        # Products instead of quotients: exact, also for a class without images.
        to_other = (n_i >= self.kappa * n_j) & (share < self.tau)
        to_first = (n_i * self.kappa <= n_j) & (1 - share < self.tau)
        return torch.where(to_other, 0.0, torch.where(to_first, 1.0, share))
