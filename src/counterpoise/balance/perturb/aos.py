"""Adversarial oversampling."""

from __future__ import annotations

import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from counterpoise.balance.class_weights import counts_as_array
from counterpoise.balance.perturb.base import Loss, Perturbation, PerturbedBatch, Randomness, of_class
from counterpoise.balance.perturb.image_gradient import input_gradient
from counterpoise.exceptions import InputError

# AOS poster: Table 2 for MNIST, Table 1 for photographs.
_EPS_SMALL_GRAYSCALE, _EPS = 0.1, 0.007
_SMALL = 32


class AOS(Perturbation):
    """Adversarial examples of minority images (AOS; Wojciechowski & Lango, Algorithm 1).

    Parameters
    ----------
    class_counts : array-like of int, shape (C,)
        Training images of each class before oversampling. All classes with fewer than the largest are minority classes.
    p : float in [0, 1], default=0.5
        Augmentation intensity: probability that a minority image is replaced.
    eps : float in [0, 1], optional
        Adversarial intensity: change of a pixel, in units of [0, 1]. Default: 0.1 for small grayscale images (one
        channel, at most 32 pixels wide and high), 0.007 for all others.

    Notes
    -----
    In every batch each image of a minority class is replaced, with probability p, by ``clip(x + eps * sign(grad_x
    J(Theta, x, y)), 0, 1)``: the fast gradient sign method (FGSM; Goodfellow et al. 2015) under the current weights.
    Random oversampling precedes the algorithm; that is the task of the sampler
    (:class:`~counterpoise.balance.samplers.ROS`). All gradients are computed in one pass.

    Helps: the same few images never look the same twice, so they are not memorized; most where rare classes have a
    dozen images.

    Hurts: up to a third more time per epoch; on photographs a large eps teaches noise.

    Examples
    --------
    Two lines in a training loop, for any network and loss:

    >>> network = nn.Sequential(nn.Flatten(), nn.Linear(16, 2))
    >>> loss = nn.CrossEntropyLoss()
    >>> images, targets = torch.full((4, 1, 4, 4), 0.5), torch.tensor([0, 0, 0, 1])
    >>> aos = AOS(class_counts=[300, 10], p=1.0)
    >>> images = aos(images, targets, network, loss)
    >>> [round(change, 3) for change in (images - 0.5).abs().amax(dim=(1, 2, 3)).tolist()]
    [0.0, 0.0, 0.0, 0.1]
    """

    def __init__(self, *, class_counts: ArrayLike, p: float = 0.5, eps: float | None = None) -> None:
        if not 0 <= p <= 1:
            raise InputError(f"p is {p}; expected a probability in [0, 1]")
        if eps is not None and not 0 <= eps <= 1:
            raise InputError(f"eps is {eps}; expected a number in [0, 1], in units of the pixels")
        counts = counts_as_array(class_counts)
        self.p = p
        self.eps = eps
        #: Whether a class is a minority class: bool of shape (C,).
        self.minority = torch.from_numpy(counts < counts.max())

    def __call__(
        self, images: Tensor, targets: Tensor, network: nn.Module, loss: Loss, *, generator: Randomness = None
    ) -> Tensor:
        """Return the batch's images, some of the minority replaced; the arguments are those of `perturb`."""
        return self.perturb(images, targets, network=network, loss=loss, generator=generator).images

    def _perturb(
        self, images: Tensor, targets: Tensor, network: nn.Module, loss: Loss, generator: Randomness
    ) -> PerturbedBatch:
        chosen = self._choose(targets, generator).nonzero().squeeze(1)
        if not len(chosen):
            return PerturbedBatch(images, targets)
        x = images[chosen]
        mask = input_gradient(network, loss, x, targets[chosen]).sign_()
        eps = _default_eps(images) if self.eps is None else self.eps
        adversarial = torch.add(x, mask, alpha=eps).clamp_(0, 1)
        return PerturbedBatch(images.clone().index_copy_(0, chosen, adversarial), targets)

    def _choose(self, targets: Tensor, generator: Randomness) -> Tensor:
        """Return which images are replaced: bool of shape (N,)."""
        if self.minority.device != targets.device:
            self.minority = self.minority.to(targets.device)
        decision = torch.rand(len(targets), generator=generator, device=targets.device) < self.p
        return decision.logical_and_(of_class(self.minority, targets))


def _default_eps(images: Tensor) -> float:
    channels, height, width = images.shape[1:]
    return _EPS_SMALL_GRAYSCALE if channels == 1 and max(height, width) <= _SMALL else _EPS
