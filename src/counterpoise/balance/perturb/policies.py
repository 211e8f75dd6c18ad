"""Random augmentation policies of torchvision, a transform of its own for each image."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor, nn

from counterpoise.balance.perturb.base import Loss, Normalization, Perturbation, PerturbedBatch, Randomness
from counterpoise.exceptions import InputError
from counterpoise.seeding import torch_seed


class AugmentationPolicy(Perturbation):
    """Base of policies that draw each image's transforms at random; a policy fills ``_transform``."""

    def __init__(self, *, mean: Normalization = None, std: Normalization = None) -> None:
        self.mean, self.std = mean, std

    @abstractmethod
    def _transform(self) -> Callable[[Tensor], Tensor]:
        """Return the policy for one image (C, H, W), uint8; it draws from torch's generator of the CPU."""

    def _perturb(
        self, images: Tensor, targets: Tensor, network: nn.Module, loss: Loss, generator: Randomness
    ) -> PerturbedBatch:
        if not len(images):
            return PerturbedBatch(images, targets)
        device = "cpu" if generator is None else generator.device
        seed = int(torch.randint(2**31, (1,), generator=generator, device=device))
        transform = self._transform()
        pixels = (self._pixels(images) * 255).round_().clamp_(0, 255).to(torch.uint8)
        # torchvision has no argument for a generator: it draws from torch's own.
        with torch_seed(seed):
            changed = torch.stack([transform(image) for image in pixels])
        # In the memory format of the batch.
        result = torch.empty_like(images).copy_(changed).div_(255)
        return PerturbedBatch(self._normalized(result), targets)


class TrivialAugment(AugmentationPolicy):
    """One random transform of random strength for each image (TrivialAugment; Müller and Hutter 2021).

    Parameters
    ----------
    mean, std : float or sequence of float, optional
        Normalization of the images, one value or one per channel, where they are not in [0, 1].

    Notes
    -----
    One of: nothing, shear, shift, rotation, brightness, color, contrast, sharpness, posterize, solarize, autocontrast,
    equalize; from torchvision, in its wide ranges. Pixels are rounded to whole values of 0 to 255.

    Helps: photographs, with many epochs and nothing to tune.

    Hurts: a few epochs are too short for changes this strong; colors and positions that mean something are lost.

    Examples
    --------
    >>> images, targets = torch.rand(2, 3, 8, 8), torch.tensor([0, 1])
    >>> changed = TrivialAugment().perturb(images, targets, network=nn.Identity(), loss=nn.CrossEntropyLoss())
    >>> changed.images.shape, changed.images.dtype
    (torch.Size([2, 3, 8, 8]), torch.float32)
    """

    def _transform(self) -> Callable[[Tensor], Tensor]:
        from torchvision.transforms import InterpolationMode
        from torchvision.transforms.v2 import TrivialAugmentWide

        transform: Callable[[Tensor], Tensor] = TrivialAugmentWide(interpolation=InterpolationMode.BILINEAR)
        return transform


class RandAugment(AugmentationPolicy):
    """Several random transforms of one strength for each image (RandAugment; Cubuk et al. 2020).

    Parameters
    ----------
    num_ops : int, default=2
        Transforms of an image, at least 1.
    magnitude : int in [0, 30], default=9
        Their strength.
    mean, std : float or sequence of float, optional
        Normalization of the images, one value or one per channel, where they are not in [0, 1].

    Notes
    -----
    The transforms are those of :class:`TrivialAugment`, in smaller ranges.

    Helps: photographs; `magnitude` suits it to short training.

    Hurts: two options to tune; colors and positions that mean something are lost.

    Examples
    --------
    >>> images, targets = torch.rand(2, 3, 8, 8), torch.tensor([0, 1])
    >>> changed = RandAugment(magnitude=5).perturb(images, targets, network=nn.Identity(), loss=nn.CrossEntropyLoss())
    >>> changed.images.shape
    torch.Size([2, 3, 8, 8])
    """

    def __init__(
        self, *, num_ops: int = 2, magnitude: int = 9, mean: Normalization = None, std: Normalization = None
    ) -> None:
        super().__init__(mean=mean, std=std)
        if int(num_ops) != num_ops or num_ops < 1:
            raise InputError(f"num_ops is {num_ops}; expected a whole number of at least 1")
        if int(magnitude) != magnitude or not 0 <= magnitude <= 30:
            raise InputError(f"magnitude is {magnitude}; expected a whole number in [0, 30]")
        self.num_ops = int(num_ops)
        self.magnitude = int(magnitude)

    def _transform(self) -> Callable[[Tensor], Tensor]:
        from torchvision.transforms import InterpolationMode
        from torchvision.transforms.v2 import RandAugment as Policy

        transform: Callable[[Tensor], Tensor] = Policy(
            self.num_ops, self.magnitude, interpolation=InterpolationMode.BILINEAR
        )
        return transform
