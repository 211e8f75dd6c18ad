"""Mixup and Remix."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from counterpoise.balance.class_weights import counts_as_array
from counterpoise.balance.perturb.base import Loss, Perturbation, PerturbedBatch, Randomness, of_class
from counterpoise.exceptions import InputError


class Mixup(Perturbation):
    """Convex combinations of images, and of their labels (Zhang et al. 2018, section 2).

    Parameters
    ----------
    alpha : float, default=1.0
        Positive: near 0 hardly anything is mixed, 1 makes lambda uniform on [0, 1], larger values mix nearer to
        halves. The paper has 1 for CIFAR-10, 0.2 to 0.4 for ImageNet.
    per_image : bool, default=False
        Whether every image has its own lambda; by default, as in the paper's code, a batch shares one.

    Notes
    -----
    ``x = lambda * x_i + (1 - lambda) * x_j`` and ``y = lambda * y_i + (1 - lambda) * y_j`` with lambda ~ Beta(alpha,
    alpha) and j from a random order of the batch. As in the paper's code, the loss is ``lambda * J(., y_i) + (1 -
    lambda) * J(., y_j)``, which is the same for cross entropy.

    Helps: calibrated probabilities, over long training.

    Hurts: with few epochs the network learns slowly from mixed images.

    Examples
    --------
    >>> from counterpoise.balance.losses import CrossEntropy
    >>> images, targets = torch.eye(2).reshape(2, 1, 1, 2), torch.tensor([0, 1])
    >>> batch = Mixup().perturb(images, targets, network=nn.Flatten(), loss=CrossEntropy())
    >>> bool(((batch.images >= 0) & (batch.images <= 1)).all())
    True
    """

    mixes_classes: ClassVar[bool] = True

    def __init__(self, *, alpha: float = 1.0, per_image: bool = False) -> None:
        if not (alpha > 0 and math.isfinite(alpha)):
            raise InputError(f"alpha is {alpha}; expected a positive number")
        self.alpha = alpha
        self.per_image = per_image

    def _perturb(
        self, images: Tensor, targets: Tensor, network: nn.Module, loss: Loss, generator: Randomness
    ) -> PerturbedBatch:
        order = torch.randperm(len(images), generator=generator, device=images.device)
        share = self._draw_shares(images, generator)
        mixed = torch.lerp(images[order], images, share.to(images.dtype)[:, None, None, None])
        return PerturbedBatch(
            mixed, targets, targets[order], self._label_share(share, targets, targets[order])
        )

    def _draw_shares(self, images: Tensor, generator: Randomness) -> Tensor:
        """Return each image's lambda: float32 of shape (N,)."""
        alphas = torch.full((len(images) if self.per_image else 1, 2), self.alpha, device=images.device)
        # torch.distributions.Beta calls it too, but takes no generator.
        return torch._sample_dirichlet(alphas, generator=generator)[:, 0].expand(len(images))

    def _label_share(self, share: Tensor, targets: Tensor, other_targets: Tensor) -> Tensor:
        """Return the share of `targets` in each label."""
        return share


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
