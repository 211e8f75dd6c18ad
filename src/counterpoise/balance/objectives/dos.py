"""DOS: deep oversampling (Ando and Huang 2017)."""

from __future__ import annotations

import math
from numbers import Integral

import numpy as np
import torch
from torch import Tensor, nn

from counterpoise.balance.deferral import first_epoch
from counterpoise.balance.objectives.base import Embedder, Loss, Objective
from counterpoise.exceptions import InputError

__all__ = ["DOS", "closeness", "embedding_loss", "nearest_in_class", "neighbour_counts", "overloaded_points"]

# So many rows of distances are held at a time.
_ROWS = 2048


def neighbour_counts(class_counts: Tensor, k: int) -> Tensor:
    """Return how many in-class neighbours the images of each class get.

    ``min(k, floor(n_max / n_c) - 1, n_c - 1)``: with its neighbours an image stands for as many embeddings as its class
    lacks, up to k + 1. Classes of more than half of the largest have none: they are majority; and neither has a class
    of one image.

    Parameters
    ----------
    class_counts : Tensor of shape (C,), int64
        Images of each class.
    k : int
        The most.

    Returns
    -------
    Tensor of shape (C,), int64

    Examples
    --------
    >>> neighbour_counts(torch.tensor([600, 500, 200, 6, 3, 1, 0]), k=5).tolist()
    [0, 0, 2, 5, 2, 0, 0]
    """
    n = class_counts.clamp(min=1)
    wanted = torch.div(n.max(), n, rounding_mode="floor") - 1
    return torch.minimum(wanted, n - 1).clamp(max=k)


def nearest_in_class(points: Tensor, k: int) -> Tensor:
    """Return the k nearest other points of each point of a class.

    Parameters
    ----------
    points : Tensor of shape (n, d), floating point
        Embeddings.
    k : int
        How many, at most n - 1.

    Returns
    -------
    Tensor of shape (n, k), int64
        Rows of `points`, nearest first.

    Examples
    --------
    >>> nearest_in_class(torch.tensor([[0.0], [1.0], [3.0]]), k=2).tolist()
    [[1, 2], [0, 2], [1, 0]]
    """
    # Around their mean, where the norms that a matrix product works with are as small as the distances.
    centred = points - points.mean(dim=0)
    found = []
    for start in range(0, len(centred), _ROWS):
        distances = torch.cdist(centred[start : start + _ROWS], centred)
        own = torch.arange(len(distances), device=points.device)
        distances[own, start + own] = torch.inf
        found.append(distances.topk(k, largest=False).indices)
    return torch.cat(found)


class DOS(Objective):
    """Deep oversampling: an image of a rare class stands for many points among its neighbours' embeddings.

    Every epoch the images of the minority classes are embedded. Each of these images x gets targets v_0..v_k: its own
    embedding f(x) and those of its k nearest neighbours in its class. Weights w >= 0 of sum 1, drawn at random anew in
    each step, make an overloaded point ``sum_j w_j v_j``. A step minimises the sum of

    - the classification loss at the overloaded points, each weighted by ``exp(-||f(x) - sum_j w_j v_j||^2)`` and these
      weights brought to the sum n_max / n_c over the draws of an image: every class counts as n_max images;
    - the embedding loss ``sum_j w_j ||f(x) - v_j||^2``, the mean over the draws, and over the images of a batch.

    An image of a majority class has no neighbours, is its own only target, and is classified as ever, weighted by
    n_max / n_c.

    The paper minimises the two parts in turn, the one over the head and the other over the layers below. No
    parameter is in both, so that a step on their sum is the same. But then the layers below no longer learn to tell
    classes apart. With `joint` the classification loss reaches them, too, through an image's own share w_0 f(x) of its
    overloaded points. Until `defer_epochs` training is plain: the paper starts from a trained network, and neighbours
    among the embeddings of an untrained one mean nothing.

    Parameters
    ----------
    k : int, default=5
        The most neighbours of an image. How many it has follows from the size of its class,
        see :func:`neighbour_counts`.
    draws : int, default=5
        Weight vectors per image and step, drawn uniformly from all that there are.
    embedding_weight : float, default=1.0
        Factor of the embedding loss; 0 leaves it out.
    joint : bool, default=True
        Whether the layers below the head learn from the classification loss, too.
    defer_epochs : int or float, default=0.5
        When it begins, see :func:`counterpoise.balance.deferral.first_epoch`.
    epochs : int, optional
        How many there will be; needed where `defer_epochs` is a share.

    Raises
    ------
    InputError
        If an option is out of range, or `defer_epochs` leaves no epoch.

    References
    ----------
    S. Ando, C. Y. Huang, "Deep Over-sampling Framework for Classifying Imbalanced Data", ECML PKDD 2017; thesis,
    section 3.3.2.

    Examples
    --------
    Twelve embeddings, two of them of class 1; a head that returns an embedding and its negative:

    >>> from types import SimpleNamespace
    >>> from counterpoise.balance.losses import CrossEntropy
    >>> network = SimpleNamespace(embed=lambda x: x, head=lambda z: torch.cat([z, -z], dim=1))
    >>> z, y = torch.tensor([[0.0]] * 10 + [[3.0], [5.0]]), torch.tensor([0] * 10 + [1, 1])
    >>> dos = DOS(defer_epochs=0)
    >>> dos.begin_epoch(0, lambda rows: z[rows], y, np.random.default_rng(0))

    Class 0 is classified as ever, with a loss of log 2. An image of class 1 counts five times, at points from 3 to 5,
    and is drawn to the other one at a squared distance of 4:

    >>> round(float(dos.step(network, z[:10], y[:10], torch.arange(10), CrossEntropy())), 3)
    0.693
    >>> value = float(dos.step(network, z[10:], y[10:], torch.tensor([10, 11]), CrossEntropy()))
    >>> 5 * 6 < value < 5 * 10 + 4
    True
    """

    def __init__(
        self,
        *,
        k: int = 5,
        draws: int = 5,
        embedding_weight: float = 1.0,
        joint: bool = True,
        defer_epochs: int | float = 0.5,
        epochs: int | None = None,
    ) -> None:
        for name, value in (("k", k), ("draws", draws)):
            if not (isinstance(value, Integral) and value >= 1):
                raise InputError(f"{name} is {value!r}; expected a whole number of at least 1")
        if not (embedding_weight >= 0 and math.isfinite(embedding_weight)):
            raise InputError(f"embedding_weight is {embedding_weight}; expected 0 or more")
        self.k = k
        self.draws = draws
        self.embedding_weight = embedding_weight
        self.joint = joint
        self._first_epoch = first_epoch(defer_epochs, epochs)
        if epochs is not None and self._first_epoch >= epochs:
            raise InputError(
                f"defer_epochs={defer_epochs} of {epochs} epochs leaves none; give a smaller number"
            )

    def _begin_epoch(
        self, epoch: int, embed: Embedder, labels: Tensor, generator: np.random.Generator
    ) -> None:
        self._plain = epoch < self._first_epoch
        if self._plain:
            return
        self._generator = torch.Generator(labels.device).manual_seed(int(generator.integers(2**62)))
        counts = torch.bincount(labels)
        self._importance = (counts.max() / counts)[labels]
        per_class = neighbour_counts(counts, self.k)
        self._counts = per_class[labels]
        # The other images are their own only targets: their embeddings are never looked at.
        growing = torch.nonzero(self._counts).flatten()
        if not len(growing):
            return
        self._embeddings = embed(growing)
        self._neighbours = labels.new_zeros(len(labels), int(per_class.max()))
        for label, k in enumerate(per_class.tolist()):
            if k:
                rows = torch.nonzero(labels[growing] == label).flatten()
                self._neighbours[growing[rows], :k] = rows[nearest_in_class(self._embeddings[rows], k)]

    def _step(
        self, network: nn.Module, images: Tensor, targets: Tensor, indices: Tensor, loss: Loss
    ) -> Tensor:
        z = network.embed(images)  # type: ignore[operator]
        if self._plain:
            return loss(network.head(z), targets)  # type: ignore[operator]
        seen = z if self.joint else z.detach()
        importance = self._importance[indices]
        rows = torch.nonzero(self._counts[indices]).flatten()
        if not len(rows):
            return loss(network.head(seen), targets, importance)  # type: ignore[operator]
        neighbours = self._embeddings[self._neighbours[indices[rows]]]
        weights = self._draw_weights(self._counts[indices[rows]])
        points = overloaded_points(seen[rows], neighbours, weights)
        # The points of an image with neighbours stand for it; all others are their own only point.
        shares = importance[rows, None] * closeness(z[rows], points)
        importance = torch.cat([importance.index_fill(0, rows, 0.0), shares.flatten()])
        logits = network.head(torch.cat([seen, points.flatten(0, 1).to(z.dtype)]))  # type: ignore[operator]
        targets = torch.cat([targets, targets[rows].repeat_interleave(self.draws)])
        # The loss is a mean over all these points, and a step's is one over images.
        classification = loss(logits, targets, importance * (len(targets) / len(z)))
        pull = embedding_loss(z[rows], neighbours, weights) * (len(rows) / len(z))
        return classification + self.embedding_weight * pull

    def _draw_weights(self, counts: Tensor) -> Tensor:
        """Return weights (B, draws, 1 + K) for images of so many neighbours, 0 beyond them."""
        width = 1 + self._neighbours.shape[1]
        # Exponential draws, brought to the sum 1, are uniform on the simplex.
        drawn = torch.empty(len(counts), self.draws, width, device=counts.device)
        drawn.exponential_(generator=self._generator)
        drawn *= torch.arange(width, device=counts.device) <= counts[:, None, None]
        return drawn / drawn.sum(dim=2, keepdim=True)


def overloaded_points(z: Tensor, neighbours: Tensor, weights: Tensor) -> Tensor:
    """Return the points ``w_0 z + sum_j w_j v_j`` for each image and draw.

    Parameters
    ----------
    z : Tensor of shape (B, d)
        Embeddings of the images.
    neighbours : Tensor of shape (B, K, d)
        Those of their neighbours.
    weights : Tensor of shape (B, R, 1 + K)
        Each image's R draws.

    Returns
    -------
    Tensor of shape (B, R, d)
    """
    return weights[:, :, :1] * z[:, None] + weights[:, :, 1:] @ neighbours


def closeness(z: Tensor, points: Tensor) -> Tensor:
    """Return ``exp(-||z - p_r||^2)`` of an image's points p_r, brought to the sum 1 over them, as constants.

    Parameters
    ----------
    z : Tensor of shape (B, d)
        Embeddings of the images.
    points : Tensor of shape (B, R, d)
        Their overloaded points.

    Returns
    -------
    Tensor of shape (B, R)

    Examples
    --------
    >>> closeness(torch.zeros(1, 1), torch.tensor([[[0.0], [1.0], [1.0]]]))
    tensor([[0.5761, 0.2119, 0.2119]])
    """
    return (-(points - z[:, None]).detach().square().sum(dim=2)).softmax(dim=1)


def embedding_loss(z: Tensor, neighbours: Tensor, weights: Tensor) -> Tensor:
    """Return ``sum_j w_j ||z - v_j||^2``, the mean over draws and images; an image's distance to itself is 0.

    Parameters
    ----------
    z, neighbours, weights
        As in :func:`overloaded_points`.

    Examples
    --------
    >>> z, neighbours = torch.tensor([[1.0]]), torch.tensor([[[3.0], [4.0]]])
    >>> float(embedding_loss(z, neighbours, torch.tensor([[[0.5, 0.5, 0.0], [0.5, 0.0, 0.5]]])))
    3.25
    """
    squared = (z[:, None] - neighbours).square().sum(dim=2)
    return (weights[:, :, 1:].mean(dim=1) * squared).sum(dim=1).mean()
