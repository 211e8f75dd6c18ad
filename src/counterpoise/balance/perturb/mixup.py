"""Mixup: convex combinations of images and labels."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor, nn

from counterpoise.balance.perturb.base import Loss, Perturbation, PerturbedBatch, Randomness
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
