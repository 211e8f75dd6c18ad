"""Base class of all perturbations."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from counterpoise.balance._tensors import describe
from counterpoise.exceptions import InputError

#: Returns a scalar (or one value per image) for logits (N, C), targets (N,) and optional sample weights (N,).
Loss = Callable[..., Tensor]
#: Source of randomness, on the images' device; None is torch's global one.
Randomness = torch.Generator | None
#: Returns the training images (M, C, H, W), floats in [0, 1] on the training device, at the given rows (M,).
TrainingImages = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class PerturbedBatch:
    """Batch after a perturbation: images (N, C, H, W), floats in [0, 1], and their classes, int64 (N,).

    Mixed images also have a second class and the `share` of `targets` in each image's label, in [0, 1] (N,).
    """

    images: Tensor
    targets: Tensor
    other_targets: Tensor | None = None
    share: Tensor | None = None

    def loss(self, loss: Loss, logits: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        """Return the loss of the batch; of mixed images the losses for both classes, each by its share.

        `loss` is called as ``loss(logits, targets)``; for mixed images, or with sample weights (N,), as
        ``loss(logits, targets, weight)``. It must be linear in the weights, as a
        :class:`~counterpoise.balance.losses.ClassificationLoss` is.
        """
        if self.other_targets is None or self.share is None:
            arguments = (logits, self.targets)
            return loss(*arguments) if sample_weight is None else loss(*arguments, sample_weight)
        weight = torch.ones_like(self.share) if sample_weight is None else sample_weight
        first = loss(logits, self.targets, weight * self.share)
        return first + loss(logits, self.other_targets, weight * (1 - self.share))


#: Mean or standard deviation of normalized images: for all channels, or one for each.
Normalization = float | Sequence[float] | None
_TOLERANCE = 1e-3


class Perturbation(ABC):
    """Base of changes of a batch's images, and perhaps of their classes.

    The base checks the input; a method fills ``_perturb``, which must not change its inputs and must draw from
    `generator` alone.
    """

    #: Whether its images have two classes, so that `images` and `targets` alone are not enough.
    mixes_classes: ClassVar[bool] = False

    #: Mean and standard deviation by which the images are normalized; None, as in a run: they are in [0, 1].
    mean: Normalization = None
    std: Normalization = None
    _in_range = False

    @abstractmethod
    def _perturb(
        self, images: Tensor, targets: Tensor, network: nn.Module, loss: Loss, generator: Randomness
    ) -> PerturbedBatch:
        """Return the perturbed batch."""

    def perturb(
        self, images: Tensor, targets: Tensor, *, network: nn.Module, loss: Loss, generator: Randomness = None
    ) -> PerturbedBatch:
        """Return the perturbed batch; InputError if shapes or types do not fit.

        Parameters
        ----------
        images : Tensor of shape (N, C, H, W)
            Floats in [0, 1], or normalized by the method's `mean` and `std`; they are not changed.
        targets : Tensor of shape (N,), int64
            Their classes.
        network : torch.nn.Module
            Network under training; maps images to logits.
        loss : callable
            Its training loss, called as ``loss(logits, targets)``.
        """
        check_images(images)
        if targets.shape != images.shape[:1] or targets.dtype != torch.int64:
            raise InputError(
                f"found {describe(targets)} as targets of {len(images)} images; expected int64, one class for each"
            )
        if generator is not None and generator.device.type != images.device.type:
            raise InputError(
                f"the generator is on {generator.device} and the images on {images.device}; "
                f"make it with torch.Generator({images.device.type!r})"
            )
        return self._perturb(images, targets, network, loss, generator)

    def _pixels(self, images: Tensor) -> Tensor:
        """Return the images in [0, 1]; InputError if they are not, once `mean` and `std` are undone."""
        if (self.mean is None) != (self.std is None):
            raise InputError("found one of `mean` and `std`; give both, or neither for images in [0, 1]")
        pixels = images
        if self.mean is not None:
            pixels = images * self._of_channel(self.std, images) + self._of_channel(self.mean, images)
        # On a GPU, reading the extremes of every batch would synchronize the device.
        if images.numel() and not (self._in_range and images.is_cuda):
            low, high = (float(value) for value in pixels.detach().aminmax())
            if not -_TOLERANCE <= low <= high <= 1 + _TOLERANCE:
                undone = "" if self.mean is None else " after `mean` and `std` are undone"
                raise InputError(
                    f"{type(self).__name__} found images from {low:.3g} to {high:.3g}{undone}; expected [0, 1]: divide "
                    "by 255, or give the `mean` and `std` by which they are normalized"
                )
            self._in_range = True
        return pixels

    def _normalized(self, pixels: Tensor) -> Tensor:
        """Return pixels in [0, 1] as the images that were given are."""
        if self.mean is None:
            return pixels
        return (pixels - self._of_channel(self.mean, pixels)) / self._of_channel(self.std, pixels)

    @staticmethod
    def _of_channel(values: Normalization, images: Tensor) -> Tensor:
        return torch.as_tensor(values, dtype=images.dtype, device=images.device).reshape(-1, 1, 1)

    def bind(self, images: TrainingImages, labels: Tensor) -> None:  # noqa: B027 - few need it
        """Set the training images, whose classes are `labels`, int64 (N,); no-op for changes within a batch."""

    def set_epoch(self, epoch: int) -> None:  # noqa: B027 - few need it
        """Start epoch `epoch` (from 0); no-op for perturbations without a schedule."""


def check_images(images: Tensor) -> None:
    """Raise InputError unless images are floats of shape (N, C, H, W)."""
    if images.ndim != 4 or not images.is_floating_point():
        raise InputError(
            f"found {describe(images)} as images; expected floats in [0, 1] of shape (N, C, H, W)"
        )


def of_class(values: Tensor, targets: Tensor) -> Tensor:
    """Return ``values[targets]`` for one value per class; InputError for a class without a value, if not on a GPU."""
    # A check would synchronize the device.
    try:
        return values[targets]
    except IndexError as error:
        raise InputError(
            f"found an image of class {int(targets.max())}, and class counts for {len(values)} classes; "
            "give one for each"
        ) from error


def laid_out_like(images: Tensor, result: Tensor) -> Tensor:
    """Return `result` in the memory format of `images`."""
    if images.is_contiguous() or not images.is_contiguous(memory_format=torch.channels_last):
        return result
    return result.contiguous(memory_format=torch.channels_last)
