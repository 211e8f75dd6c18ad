"""Context-rich minority oversampling (CMO): patches of rare classes in front of common backgrounds."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor, nn

from counterpoise.balance.deferral import first_epoch
from counterpoise.balance.perturb.base import (
    Loss,
    Perturbation,
    PerturbedBatch,
    Randomness,
    TrainingImages,
    laid_out_like,
)
from counterpoise.exceptions import InputError


class CMO(Perturbation):
    """CutMix whose patches come from rare classes (context-rich minority oversampling; Park et al. 2022, Algorithm 1).

    Parameters
    ----------
    alpha : float, default=1.0
        Positive: the share of the background is drawn from Beta(alpha, alpha); 1 makes it uniform on [0, 1].
    power : float, default=1.0
        At least 0: an image of a class of n_c images is pasted with a probability proportional to n_c^-power. 0: all
        images alike; 1: all classes alike; 2: classes by the inverse of their shares.
    p : float in [0, 1], default=0.5
        Probability that a batch is changed.
    plain_epochs : int or float, default=0
        First epochs, and as many last ones, without patches; a float in (0, 1) is a share of `epochs`. The authors'
        code has 3 of 200: 0.015.
    epochs : int, optional
        Number of epochs; needed with `plain_epochs`.

    Notes
    -----
    ``x = M * x_b + (1 - M) * x_f`` and ``y = lambda * y_b + (1 - lambda) * y_f``: x_b is an image of the batch, x_f
    one of all training images, drawn by `power`, and M is 0 in a rectangle of the share 1 - lambda of the pixels,
    with a random center, cut off at the border; lambda is then the share of the pixels that remain. As in the
    authors' code a batch shares its rectangle. Pasted images are those on disk, without `augment`, normalized or
    not as the batch is. The authors' code weights images by 1 / n_c, as the default here; the distribution over
    classes that the paper prints is `power` = 2.

    Helps: the few objects of a rare class are seen in front of many backgrounds, over long training.

    Hurts: small objects, where the patch may hold background only; with few epochs mixed labels slow learning. Images
    that are read file by file are read 1.5 times as often.

    Examples
    --------
    >>> cmo = CMO(p=1.0)
    >>> cmo.bind(lambda rows: torch.ones(len(rows), 1, 4, 4), torch.tensor([0, 0, 0, 1]))
    >>> backgrounds, generator = torch.zeros(2, 1, 4, 4), torch.Generator().manual_seed(0)
    >>> batch = cmo.perturb(
    ...     backgrounds, torch.tensor([0, 0]), network=nn.Flatten(), loss=nn.CrossEntropyLoss(), generator=generator
    ... )
    >>> bool((batch.images.mean(dim=(1, 2, 3)) == 1 - batch.share).all())
    True
    """

    mixes_classes: ClassVar[bool] = True

    def __init__(
        self,
        *,
        alpha: float = 1.0,
        power: float = 1.0,
        p: float = 0.5,
        plain_epochs: int | float = 0,
        epochs: int | None = None,
    ) -> None:
        if not (alpha > 0 and math.isfinite(alpha)):
            raise InputError(f"alpha is {alpha}; expected a positive number")
        if not (power >= 0 and math.isfinite(power)):
            raise InputError(f"power is {power}; expected a finite number, 0 or more")
        if not 0 <= p <= 1:
            raise InputError(f"p is {p}; expected a probability in [0, 1]")
        self.alpha = alpha
        self.power = power
        self.p = p
        plain = first_epoch(plain_epochs, epochs, option="plain_epochs")
        if plain and (epochs is None or 2 * plain >= epochs):
            raise InputError(
                f"plain_epochs={plain_epochs} at both ends of {epochs} epochs leaves none; give a smaller number"
            )
        self._epochs = range(plain, epochs - plain) if plain and epochs else None
        self._epoch = 0
        self._images: TrainingImages | None = None

    def bind(self, images: TrainingImages, labels: Tensor) -> None:
        """Set the training images, and the probabilities by which they are drawn."""
        weights = torch.bincount(labels).double().clamp(min=1) ** -self.power
        self._images, self._labels, self._bounds = images, labels, weights[labels].cumsum(dim=0)

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch, counted from 0."""
        self._epoch = epoch

    def _perturb(
        self, images: Tensor, targets: Tensor, network: nn.Module, loss: Loss, generator: Randomness
    ) -> PerturbedBatch:
        if self._images is None:
            raise InputError("CMO pastes from the training images and has none; call bind first")
        n, device = len(images), images.device
        plain = self._epochs is not None and self._epoch not in self._epochs
        if plain or not n or float(torch.rand((), generator=generator, device=device)) >= self.p:
            return PerturbedBatch(images, targets, targets, torch.ones(n, device=device))
        u = torch.rand(n, generator=generator, device=device, dtype=torch.float64)
        rows = torch.searchsorted(self._bounds, u * self._bounds[-1], right=True).clamp_(
            max=len(self._labels) - 1
        )
        patch = self._patch(images, generator)
        mixed = torch.where(patch, self._images(rows).to(images.dtype), images)
        share = (1 - patch.float().mean()).expand(n)
        return PerturbedBatch(laid_out_like(images, mixed), targets, self._labels[rows], share)

    def _patch(self, images: Tensor, generator: Randomness) -> Tensor:
        """Return whether a pixel belongs to the patch: bool (H, W)."""
        alphas = torch.full((2,), self.alpha, device=images.device)
        # torch.distributions.Beta calls it too, but takes no generator.
        side = torch._sample_dirichlet(alphas, generator=generator)[1].sqrt()
        centers = torch.rand(2, generator=generator, device=images.device)
        inside = []
        for size, center in zip(images.shape[2:], centers, strict=True):
            half, position = (side * size).long() // 2, (center * size).long()
            pixels = torch.arange(size, device=images.device)
            inside.append((pixels >= position - half) & (pixels < position + half))
        return inside[0][:, None] & inside[1]
