"""LIME (Ribeiro et al. 2016), with captum, and its superpixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from counterpoise.exceptions import InputError
from counterpoise.explain.base import Explainer, mean_colors
from counterpoise.explain.differences import check_range
from counterpoise.seeding import torch_seed

_KERNEL_WIDTH = 0.25
_PIXELS_PER_PATCH = 4
_COMPACTNESS = 0.5
_ITERATIONS = 10


class LIME(Explainer):
    """Weight of each superpixel for the probability of a class (Ribeiro et al. 2016, section 3.4).

    Random superpixels are covered with the mean color of the image. A ridge regression of the probability on which
    ones are visible gives each its weight. A sample counts exp(-D^2/sigma^2), where D is its cosine distance to the
    whole image and sigma is 0.25.

    Parameters
    ----------
    samples : int, default=256
        Covered versions of each image.
    patches : int, default=49
        Superpixels of each image; fewer if they would have less than four pixels.
    random_state : int, default=0
        Random seed, the same for every image, so that a map does not depend on the batch.
    batch_size : int, default=64
        Covered versions per forward pass.
    mean, std : float or sequence of float, optional
        Normalization of the images, one value or one per channel, where they are not in [0, 1].
    """

    name: ClassVar[str] = "lime"
    title: ClassVar[str] = "LIME"
    signed: ClassVar[bool] = True
    meaning: ClassVar[str] = "how much probability of the class a patch adds by being seen"
    source: ClassVar[str] = "Ribeiro et al. 2016, section 3.4"

    def __init__(
        self,
        network: nn.Module,
        *,
        samples: int = 256,
        patches: int = 49,
        random_state: int = 0,
        batch_size: int = 64,
        mean: float | Sequence[float] | None = None,
        std: float | Sequence[float] | None = None,
    ) -> None:
        super().__init__(network)
        self.samples = samples
        self.patches = patches
        self.random_state = random_state
        self.batch_size = batch_size
        self.mean, self.std = mean, std

    def _explain(self, images: Tensor, targets: Tensor) -> Tensor:
        if self.samples < 2 or self.patches < 1:
            raise InputError(
                f"LIME got samples={self.samples}, patches={self.patches}; expected at least 2 samples and 1 patch"
            )
        # captum's data loader draws from the global generator, although it does not shuffle.
        with torch_seed(self.random_state):
            pairs = zip(images.split(1), targets.split(1), strict=True)
            return torch.cat([self._explain_one(image, target) for image, target in pairs])

    def _explain_one(self, image: Tensor, target: Tensor) -> Tensor:
        from captum._utils.models.linear_model import SkLearnRidge
        from captum.attr import Lime

        height, width = image.shape[2:]
        count = min(self.patches, max(1, height * width // _PIXELS_PER_PATCH))
        pixels = image[0].cpu().float().numpy()
        if self.mean is not None and self.std is not None:
            mean, std = (np.reshape(values, (-1, 1, 1)) for values in (self.mean, self.std))
            pixels = pixels * std + mean
        mask = torch.from_numpy(superpixels(check_range(pixels, "LIME"), count)).to(image.device)
        generator = torch.Generator().manual_seed(self.random_state)

        def visible(image: Tensor, **known: Any) -> Tensor:
            draw = torch.rand(1, known["num_interp_features"], generator=generator)
            return (draw < 0.5).long().to(image.device)

        weights = Lime(
            lambda versions: self._probabilities(versions, target.expand(len(versions))),
            interpretable_model=SkLearnRidge(alpha=1.0),
            similarity_func=_similarity,
            perturb_func=visible,
        ).attribute(
            image,
            baselines=mean_colors(image),
            feature_mask=mask.expand_as(image),
            n_samples=self.samples,
            perturbations_per_eval=self.batch_size,
        )
        return weights[:, 0]


def _similarity(image: Tensor, version: Tensor, visible: Tensor, **_: Any) -> Tensor:
    """Return the weight of a sample from its 0/1 vector of visible superpixels."""
    # Cosine between the vector and the all-ones vector.
    cosine = visible.float().mean().sqrt()
    return torch.exp(-((1 - cosine) ** 2) / _KERNEL_WIDTH**2)


def superpixels(image: np.ndarray, count: int) -> np.ndarray:
    """Segment an image by k-means on color and position, with the distance of Achanta et al. 2012.

    The centers start on a regular grid, so nothing is random. Positions are in grid cells and colors in [0, 1]: a
    color difference of 0.5 counts as much as a distance of one cell.

    Parameters
    ----------
    image : ndarray of float, shape (C, H, W)
        In [0, 1].
    count : int
        Approximate number of patches, at least 1 and at most that of the pixels.

    Returns
    -------
    ndarray of int64, shape (H, W)
        Patch numbers from 0, without gaps.

    Examples
    --------
    >>> halves = np.zeros((1, 4, 4))
    >>> halves[:, :, 2:] = 1
    >>> superpixels(halves, 2).tolist()
    [[0, 0, 1, 1], [0, 0, 1, 1], [0, 0, 1, 1], [0, 0, 1, 1]]
    """
    from sklearn.cluster import KMeans

    if count < 1:
        raise InputError(f"superpixels is {count}; expected a number of at least 1")
    _, height, width = image.shape
    cell = max(1.0, (height * width / count) ** 0.5)
    rows, columns = np.mgrid[:height, :width]
    color = image.reshape(len(image), -1).T.astype(np.float64)
    points = np.column_stack(
        [rows.ravel() / cell, columns.ravel() / cell, color / (_COMPACTNESS * len(image) ** 0.5)]
    )
    starts = points[_grid(height, width, count)]
    means = KMeans(n_clusters=len(starts), init=starts, n_init=1, max_iter=_ITERATIONS, random_state=0)
    labels = means.fit_predict(points)
    return np.unique(labels, return_inverse=True)[1].reshape(height, width).astype(np.int64)


def _grid(height: int, width: int, count: int) -> np.ndarray:
    """Return the flat indices of about `count` pixels on a regular grid."""
    count = min(count, height * width)
    down = min(height, max(1, round((count * height / width) ** 0.5)))
    across = min(width, max(1, round(count / down)))
    rows, columns = (
        np.floor((np.arange(n) + 0.5) * side / n).astype(int) for side, n in ((height, down), (width, across))
    )
    return (rows[:, None] * width + columns).ravel()
