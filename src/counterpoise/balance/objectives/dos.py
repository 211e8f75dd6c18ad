"""DOS: deep oversampling (Ando and Huang 2017)."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

from counterpoise.balance.objectives.base import Embedder, Loss, Objective, check_positive
from counterpoise.exceptions import InputError

# Rows of distances held at a time.
_ROWS = 2048


def neighbor_counts(class_counts: Tensor, k: int) -> Tensor:
    """Return the number of in-class neighbors of the images of each class, at most `k`: int64 (C,).

    ``min(k, floor(n_max / n_c) - 1, n_c - 1)``: with its neighbors an image stands for as many embeddings as its class
    lacks, up to k + 1. Classes of more than half of the largest (majority) and classes of one image have none.

    Examples
    --------
    >>> neighbor_counts(torch.tensor([600, 500, 200, 6, 3, 1, 0]), k=5).tolist()
    [0, 0, 2, 5, 2, 0, 0]
    """
    n = class_counts.clamp(min=1)
    wanted = torch.div(n.max(), n, rounding_mode="floor") - 1
    return torch.minimum(wanted, n - 1).clamp(max=k)


def nearest_in_class(points: Tensor, k: int) -> Tensor:
    """Return the rows (n, k) of the k nearest other points of each of the `points` (n, d), nearest first.

    Examples
    --------
    >>> nearest_in_class(torch.tensor([[0.0], [1.0], [3.0]]), k=2).tolist()
    [[1, 2], [0, 2], [1, 0]]
    """
    # Centered: the norms in the matrix product are then as small as the distances.
    centered = points - points.mean(dim=0)
    found = []
    for start in range(0, len(centered), _ROWS):
        distances = torch.cdist(centered[start : start + _ROWS], centered)
        own = torch.arange(len(distances), device=points.device)
        distances[own, start + own] = torch.inf
        found.append(distances.topk(k, largest=False).indices)
    return torch.cat(found)


class DOS(Objective):
    """Deep oversampling: an image of a rare class stands for many points among its neighbors' embeddings.

    Parameters
    ----------
    k : int, default=5
        Most neighbors of an image; the number follows from the size of its class, see :func:`neighbor_counts`.
    draws : int, default=5
        Weight vectors per image and step, uniform on the simplex.
    embedding_weight : float, default=1.0
        Factor of the embedding loss; 0 leaves it out.
    joint : bool, default=True
        Whether the layers below the head learn from the classification loss, too.

    Notes
    -----
    S. Ando, C. Y. Huang, "Deep Over-sampling Framework for Classifying Imbalanced Data", ECML PKDD 2017; thesis, 3.3.2.

    Every epoch the images of the minority classes are embedded. Each of these images x gets targets v_0..v_k: its own
    embedding f(x) and those of its ``min(k, floor(n_max / n_c) - 1, n_c - 1)`` nearest neighbors in its class.
    Random weights w >= 0 of sum 1, new in each step, make an overloaded point ``sum_j w_j v_j``. A step minimizes the
    sum of

    - the classification loss at the overloaded points, each weighted by ``exp(-||f(x) - sum_j w_j v_j||^2)``, where the
      weights of an image sum to n_max / n_c: every class counts as n_max images;
    - the embedding loss ``sum_j w_j ||f(x) - v_j||^2``, the mean over the random points and the images of a batch.

    An image of a majority class has no neighbors: it has the classification loss alone, weighted by n_max / n_c.

    The paper minimizes the two parts in turn, the first over the head and the second over the layers below. No
    parameter is in both, so a step on their sum is the same, but the layers below no longer learn to separate classes.
    With `joint` the classification loss reaches them too, through an image's own share w_0 f(x) of its overloaded
    points. The classification loss alone is used until `defer_epochs`: the paper starts from a trained network, and
    neighbors among the embeddings of an untrained one are meaningless. We had only the thesis's outline; uniform
    weights on the simplex, and counting an image once in the embedding loss, are our choices.

    Helps: every step gives the head other points from a few images, at the cost of one pass over the rare images.

    Hurts: a class of one image has no neighbors, and is only weighted. Where a class has several clusters far apart,
    points lie between them.

    Examples
    --------
    Twelve embeddings, two of them of class 1; a head that returns an embedding and its negative:

    >>> from types import SimpleNamespace
    >>> from counterpoise.balance.losses import CrossEntropy
    >>> network = SimpleNamespace(embed=lambda x: x, head=lambda z: torch.cat([z, -z], dim=1))
    >>> z, y = torch.tensor([[0.0]] * 10 + [[3.0], [5.0]]), torch.tensor([0] * 10 + [1, 1])
    >>> dos = DOS(defer_epochs=0)
    >>> dos.begin_epoch(0, lambda rows: z[rows], y, np.random.default_rng(0))

    Class 0 has the loss log 2. An image of class 1 counts five times, at points from 3 to 5, and is drawn to the other
    one at a squared distance of 4:

    >>> round(float(dos.step(network, z[:10], y[:10], torch.arange(10), CrossEntropy())), 3)
    0.693
    >>> bool(30 < dos.step(network, z[10:], y[10:], torch.tensor([10, 11]), CrossEntropy()) < 54)
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
        super().__init__(defer_epochs=defer_epochs, epochs=epochs)
        check_positive(k=k, draws=draws)
        if not (embedding_weight >= 0 and math.isfinite(embedding_weight)):
            raise InputError(f"embedding_weight is {embedding_weight}; expected 0 or more")
        self.k = k
        self.draws = draws
        self.embedding_weight = embedding_weight
        self.joint = joint

    def _prepare(self, epoch: int, embed: Embedder, labels: Tensor, generator: np.random.Generator) -> None:
        self._generator = torch.Generator(labels.device).manual_seed(int(generator.integers(2**62)))
        counts = torch.bincount(labels)
        self._importance = (counts.max() / counts)[labels]
        per_class = neighbor_counts(counts, self.k)
        self._counts = per_class[labels]
        # The other images are their own only targets: their embeddings are not needed.
        growing = torch.nonzero(self._counts).flatten()
        if not len(growing):
            return
        self._embeddings = embed(growing)
        self._neighbors = labels.new_zeros(len(labels), int(per_class.max()))
        for label, k in enumerate(per_class.tolist()):
            if k:
                rows = torch.nonzero(labels[growing] == label).flatten()
                self._neighbors[growing[rows], :k] = rows[nearest_in_class(self._embeddings[rows], k)]

    def _loss_of(self, network: nn.Module, z: Tensor, targets: Tensor, indices: Tensor, loss: Loss) -> Tensor:
        seen = z if self.joint else z.detach()
        importance = self._importance[indices]
        rows = torch.nonzero(self._counts[indices]).flatten()
        if not len(rows):
            return loss(network.head(seen), targets, importance)  # type: ignore[operator]
        neighbors = self._embeddings[self._neighbors[indices[rows]]]
        weights = self._draw_weights(self._counts[indices[rows]])
        points = overloaded_points(seen[rows], neighbors, weights)
        # Points replace an image that has neighbors; any other image is its own only point.
        shares = importance[rows, None] * closeness(z[rows], points)
        importance = torch.cat([importance.index_fill(0, rows, 0.0), shares.flatten()])
        logits = network.head(torch.cat([seen, points.flatten(0, 1).to(z.dtype)]))  # type: ignore[operator]
        targets = torch.cat([targets, targets[rows].repeat_interleave(self.draws)])
        # The loss averages over all these points; a step averages over images.
        classification = loss(logits, targets, importance * (len(targets) / len(z)))
        pull = embedding_loss(z[rows], neighbors, weights) * (len(rows) / len(z))
        return classification + self.embedding_weight * pull

    def _draw_weights(self, counts: Tensor) -> Tensor:
        """Return weights (B, draws, 1 + K) for images with so many neighbors, 0 beyond them."""
        width = 1 + self._neighbors.shape[1]
        # Exponential variables, scaled to sum 1, are uniform on the simplex.
        drawn = torch.empty(len(counts), self.draws, width, device=counts.device)
        drawn.exponential_(generator=self._generator)
        drawn *= torch.arange(width, device=counts.device) <= counts[:, None, None]
        return drawn / drawn.sum(dim=2, keepdim=True)


def overloaded_points(z: Tensor, neighbors: Tensor, weights: Tensor) -> Tensor:
    """Return ``w_0 z + sum_j w_j v_j`` (B, R, d) for images z (B, d), neighbors (B, K, d) and weights (B, R, 1 + K)."""
    return weights[:, :, :1] * z[:, None] + weights[:, :, 1:] @ neighbors


def closeness(z: Tensor, points: Tensor) -> Tensor:
    """Return ``exp(-||z - p_r||^2)`` of an image's points p_r (B, R, d), scaled to sum 1, as constants (B, R).

    Examples
    --------
    >>> closeness(torch.zeros(1, 1), torch.tensor([[[0.0], [1.0], [1.0]]]))
    tensor([[0.5761, 0.2119, 0.2119]])
    """
    return (-(points - z[:, None]).detach().square().sum(dim=2)).softmax(dim=1)


def embedding_loss(z: Tensor, neighbors: Tensor, weights: Tensor) -> Tensor:
    """Return ``sum_j w_j ||z - v_j||^2``, the mean over weight vectors and images; an image's distance to itself is 0.

    Examples
    --------
    >>> z, neighbors = torch.tensor([[1.0]]), torch.tensor([[[3.0], [4.0]]])
    >>> float(embedding_loss(z, neighbors, torch.tensor([[[0.5, 0.5, 0.0], [0.5, 0.0, 0.5]]])))
    3.25
    """
    squared = (z[:, None] - neighbors).square().sum(dim=2)
    return (weights[:, :, 1:].mean(dim=1) * squared).sum(dim=1).mean()
