"""Quality of saliency maps: deletion and insertion (Petsiuk et al. 2018)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from counterpoise.exceptions import InputError
from counterpoise.explain.base import mean_colors
from counterpoise.explain.hooks import network_device, preserve_state

# As in the paper's code.
_BLUR_KERNEL, _BLUR_SIGMA = 11, 5.0


@dataclass(frozen=True)
class MapScores:
    """Deletion (lower is better) and insertion (higher is better), float64 of shape (N,) in [0, 1].

    They are the areas under the curves (N, steps + 1): the probabilities of the class, from no changed pixel to all.
    """

    deletion: np.ndarray
    insertion: np.ndarray
    deletion_curve: np.ndarray
    insertion_curve: np.ndarray


def area_under_curve(values: np.ndarray) -> np.ndarray:
    """Return the area under curves (..., steps + 1) at equal steps from 0 to 1, by the trapezoidal rule.

    Raises
    ------
    InputError
        If there is only one value.

    Examples
    --------
    >>> area_under_curve([[1.0, 0.0, 0.0], [0.5, 0.5, 0.5]]).tolist()
    [0.25, 0.5]
    """
    values = np.asarray(values, dtype=np.float64)
    if values.ndim == 0 or values.shape[-1] < 2:
        raise InputError(f"got values of shape {values.shape}; expected at least two along the last axis")
    ends = (values[..., 0] + values[..., -1]) / 2
    return (values.sum(axis=-1) - ends) / (values.shape[-1] - 1)


def score_maps(
    network: nn.Module,
    images: Tensor,
    maps: Tensor,
    targets: Tensor,
    *,
    steps: int = 50,
    batch_size: int = 64,
) -> MapScores:
    """Score maps by the change of the class's probability when pixels are changed in their order.

    *Deletion* covers pixels with the mean color of the image, the most important first: the earlier the probability
    falls, the better the map. *Insertion* sharpens the pixels of a blurred image: the earlier it rises, the better
    (Petsiuk et al. 2018, section 3.3). Ties are in reading order. Compare scores only within one network, and with
    those of a random map.

    Parameters
    ----------
    images, maps, targets : Tensor
        Images (N, C, H, W), floats; their maps (N, H, W), and the class (N,) of each map.
    steps : int, default=50
        Number of equal steps, at most that of the pixels.
    batch_size : int, default=64
        Images per forward pass.

    Raises
    ------
    InputError
        If the shapes do not match, or `steps` is not positive.

    Examples
    --------
    The logit of the class is the first pixel; covering it first is best:

    >>> network = nn.Sequential(nn.Flatten(), nn.Linear(4, 2, bias=False))
    >>> _ = network[1].weight.data.copy_(torch.tensor([[0.0, 0, 0, 0], [9.0, 0, 0, 0]]))
    >>> image, map = torch.tensor([[[[1.0, 0.0], [0.0, 0.0]]]]), torch.tensor([[[1.0, 0.0], [0.0, 0.0]]])
    >>> good = score_maps(network, image, map, torch.tensor([1]))
    >>> bad = score_maps(network, image, -map, torch.tensor([1]))
    >>> bool(good.deletion < bad.deletion), bool(good.insertion > bad.insertion)
    (True, True)
    """
    count, _, height, width = images.shape
    if tuple(maps.shape) != (count, height, width) or tuple(targets.shape) != (count,):
        raise InputError(
            f"got maps {tuple(maps.shape)} and targets {tuple(targets.shape)} for images {tuple(images.shape)};"
            f" expected ({count}, {height}, {width}) and ({count},)"
        )
    if steps < 1:
        raise InputError(f"steps is {steps}; expected at least 1")
    device = network_device(network)
    images, maps, targets = (tensor.detach().to(device) for tensor in (images, maps, targets))
    # rank[i] is the position of pixel i in the order of changes.
    order = maps.flatten(1).argsort(dim=1, descending=True, stable=True)
    rank = order.argsort(dim=1).reshape(count, 1, height, width)
    steps = min(steps, height * width)
    changed_pixels = torch.linspace(0, height * width, steps + 1).round().long().tolist()

    def curves(start: Tensor, end: Tensor) -> np.ndarray:
        """Return the probability of each image's class after each step from `start` to `end`."""
        rows = []
        for i in range(count):
            values = []
            for thresholds in torch.tensor(changed_pixels, device=device).split(batch_size):
                changed = rank[i][None] < thresholds[:, None, None, None]
                versions = torch.where(changed, end[i : i + 1], start[i : i + 1])
                values.append(network(versions).softmax(dim=1)[:, targets[i]])
            rows.append(torch.cat(values).double().cpu().numpy())
        return np.stack(rows)

    with preserve_state(network), torch.no_grad():
        deleted = curves(images, mean_colors(images))
        inserted = curves(_blurred(images), images)
    return MapScores(area_under_curve(deleted), area_under_curve(inserted), deleted, inserted)


def _blurred(images: Tensor) -> Tensor:
    from torchvision.transforms.v2.functional import gaussian_blur

    # The kernel must fit into the pixels reflected at the borders.
    largest = 2 * min(images.shape[2:]) - 1
    kernel = min(_BLUR_KERNEL, largest if largest % 2 else largest - 1)
    return gaussian_blur(images, [kernel, kernel], [_BLUR_SIGMA, _BLUR_SIGMA])
