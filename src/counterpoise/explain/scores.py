"""How well a map says what a network looks at: deletion and insertion (Petsiuk et al. 2018)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from counterpoise.exceptions import InputError
from counterpoise.explain.base import mean_colours, network_device
from counterpoise.explain.watching import untouched

# As in the paper's code.
_BLUR_KERNEL, _BLUR_SIGMA = 11, 5.0


@dataclass(frozen=True)
class MapScores:
    """Scores of maps, one row per image.

    Attributes
    ----------
    deletion : ndarray of shape (N,)
        Area under the probability of the class while the pixels are covered, the most important first. In [0, 1];
        low is good.
    insertion : ndarray of shape (N,)
        The same while the pixels of a blurred image are made sharp. High is good.
    deletion_curve, insertion_curve : ndarray of shape (N, steps + 1)
        The probabilities, from no pixel changed to all.
    """

    deletion: np.ndarray
    insertion: np.ndarray
    deletion_curve: np.ndarray
    insertion_curve: np.ndarray


def area_under_curve(values: np.ndarray) -> np.ndarray:
    """Return the area under curves given at equal steps from 0 to 1, by the trapezoidal rule.

    Parameters
    ----------
    values : array-like of float, shape (..., steps + 1)
        At least two values each.

    Returns
    -------
    ndarray of float64, shape (...)
        For values in [0, 1] in [0, 1].

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
    """Score maps by what happens to the probability when pixels go or come in their order.

    *Deletion* covers the pixels with the mean colour of the image, the most important first: the sooner the
    probability falls, the better the map. *Insertion* starts from a blurred image and makes the pixels sharp: the
    sooner it rises, the better (Petsiuk et al. 2018, section 3.3). Of pixels of equal value the upper left one
    comes first. Compare scores of one network only, and with those of a random map.

    Parameters
    ----------
    network : torch.nn.Module
        From images to logits.
    images : Tensor of shape (N, C, H, W)
        Floats, as the network takes them.
    maps : Tensor of shape (N, H, W)
        High where the image counts.
    targets : Tensor of shape (N,), int64
        The class of each map.
    steps : int, default=50
        In how many equal steps the pixels are changed; at most as many as pixels.
    batch_size : int, default=64
        Images that are sent through at a time.

    Returns
    -------
    MapScores
        NumPy arrays of float64.

    Raises
    ------
    InputError
        If the shapes do not fit together, or `steps` is not positive.

    Examples
    --------
    The class rests on the first pixel alone; a map that knows it loses the probability in the first of four steps:

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
    # rank[i] is the step after which pixel i is changed.
    order = maps.flatten(1).argsort(dim=1, descending=True, stable=True)
    rank = order.argsort(dim=1).reshape(count, 1, height, width)
    steps = min(steps, height * width)
    changed_pixels = torch.linspace(0, height * width, steps + 1).round().long().tolist()

    def curve(start: Tensor, end: Tensor) -> np.ndarray:
        rows = [
            _along(network, start[i : i + 1], end[i : i + 1], rank[i], changed_pixels, targets[i], batch_size)
            for i in range(count)
        ]
        return np.stack(rows)

    with untouched(network), torch.no_grad():
        deleted = curve(images, mean_colours(images))
        inserted = curve(_blurred(images), images)
    return MapScores(area_under_curve(deleted), area_under_curve(inserted), deleted, inserted)


def _along(
    network: nn.Module,
    start: Tensor,
    end: Tensor,
    rank: Tensor,
    changed_pixels: list[int],
    target: Tensor,
    batch_size: int,
) -> np.ndarray:
    """Return the probability of one image's class after each step from `start` to `end`."""
    values = []
    for thresholds in torch.tensor(changed_pixels, device=start.device).split(batch_size):
        changed = rank[None] < thresholds[:, None, None, None]
        values.append(network(torch.where(changed, end, start)).softmax(dim=1)[:, target])
    return torch.cat(values).double().cpu().numpy()


def _blurred(images: Tensor) -> Tensor:
    from torchvision.transforms.v2.functional import gaussian_blur

    # The kernel must fit into what is reflected at the edges.
    largest = 2 * min(images.shape[2:]) - 1
    kernel = min(_BLUR_KERNEL, largest if largest % 2 else largest - 1)
    return gaussian_blur(images, [kernel, kernel], [_BLUR_SIGMA, _BLUR_SIGMA])
