"""LIME (Ribeiro et al. 2016), through captum."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from counterpoise.exceptions import InputError
from counterpoise.explain.base import Explainer, mean_colours
from counterpoise.explain.superpixels import superpixels

_KERNEL_WIDTH = 0.25
_PIXELS_PER_PATCH = 4


class LIME(Explainer):
    """Which patches of the image the probability of a class rests on (Ribeiro et al. 2016, section 3.4).

    Random patches are covered with the mean colour of the image; a ridge regression of the probability on which
    ones are seen gives each patch its weight. Samples that leave more to be seen count more: exp(-D^2/sigma^2),
    D the cosine distance to seeing all of it, sigma 0.25. The patches are `superpixels`.

    Parameters
    ----------
    network : torch.nn.Module
        From images (N, C, H, W), floats, to logits.
    samples : int, default=256
        Covered versions of each image.
    patches : int, default=49
        Patches of each image; fewer where they would hold less than four pixels.
    random_state : int, default=0
        What is covered follows from it, the same for every image: a map does not depend on the batch.
    batch_size : int, default=64
        Covered versions that are sent through at a time.

    Examples
    --------
    >>> network = nn.Sequential(nn.Flatten(), nn.Linear(16, 2, bias=False))
    >>> with torch.no_grad():
    ...     _ = network[1].weight.zero_()
    ...     network[1].weight[1, :4] = 1  # class 1 rests on the first row
    >>> image = torch.tensor([1.0, 1.0, 1.0, 1.0] + [0.0] * 12).reshape(1, 1, 4, 4)
    >>> map = LIME(network, patches=4).explain(image, targets=1)
    >>> bool((map[0, 0] > 0).all()), bool((map[0, 0] > map[0, 3]).all())
    (True, True)
    """

    name: ClassVar[str] = "lime"
    title: ClassVar[str] = "LIME"
    signed: ClassVar[bool] = True
    meaning: ClassVar[str] = "how much probability of the class a patch adds by being seen"

    def __init__(
        self,
        network: nn.Module,
        *,
        samples: int = 256,
        patches: int = 49,
        random_state: int = 0,
        batch_size: int = 64,
    ) -> None:
        super().__init__(network)
        self.samples = samples
        self.patches = patches
        self.random_state = random_state
        self.batch_size = batch_size

    def _explain(self, images: Tensor, targets: Tensor) -> Tensor:
        if self.samples < 2 or self.patches < 1:
            raise InputError(
                f"LIME got samples={self.samples}, patches={self.patches}; expected at least 2 samples and 1 patch"
            )
        # captum shuffles nothing, but its data loader draws from the global generator.
        with torch.random.fork_rng(devices=[]):
            maps = [
                self._explain_one(image, target)
                for image, target in zip(images.split(1), targets.split(1), strict=True)
            ]
        return torch.cat(maps)

    def _explain_one(self, image: Tensor, target: Tensor) -> Tensor:
        from captum._utils.models.linear_model import SkLearnRidge
        from captum.attr import Lime

        height, width = image.shape[2:]
        patches = superpixels(
            image[0].cpu().float().numpy(), min(self.patches, max(1, height * width // _PIXELS_PER_PATCH))
        )
        mask = torch.from_numpy(patches).to(image.device)[None, None]
        generator = torch.Generator().manual_seed(self.random_state)

        def seen(image: Tensor, **known: Any) -> Tensor:
            draw = torch.rand(1, known["num_interp_features"], generator=generator)
            return (draw < 0.5).long().to(image.device)

        def probability(versions: Tensor) -> Tensor:
            return self._probabilities(versions, target.expand(len(versions)))

        weights = Lime(
            probability,
            interpretable_model=SkLearnRidge(alpha=1.0),
            similarity_func=_closeness,
            perturb_func=seen,
        ).attribute(
            image,
            baselines=mean_colours(image),
            feature_mask=mask.expand_as(image),
            n_samples=self.samples,
            perturbations_per_eval=self.batch_size,
        )
        return weights[:, 0]


def _closeness(image: Tensor, version: Tensor, seen: Tensor, **_: Any) -> Tensor:
    """Return the weight of a sample, from the share of patches that it leaves to be seen."""
    # The cosine between a vector of zeros and ones and the one of ones alone.
    cosine = seen.float().mean().sqrt()
    return torch.exp(-((1 - cosine) ** 2) / _KERNEL_WIDTH**2)
