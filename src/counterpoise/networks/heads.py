"""The layer on top of an embedding: linear, one class against the rest, by angles, or by distances to prototypes."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from counterpoise.exceptions import UnknownNameError


class CosineHead(nn.Module):
    """Logits ``scale * cos(angle between embedding and class vector)`` (Cao et al. 2019, section 3.2).

    No class can win by the length of its vector, which grows with the number of its images.

    Parameters
    ----------
    in_features, out_features : int
        Width of the embedding, and number of classes.
    scale : float, default=30.0
        The largest logit.

    Examples
    --------
    >>> head = CosineHead(2, 1, scale=10.0)
    >>> head.weight = nn.Parameter(torch.tensor([[3.0, 0.0]]))
    >>> head(torch.tensor([[1.0, 0.0], [0.0, 5.0]])).tolist()
    [[10.0], [0.0]]
    """

    def __init__(self, in_features: int, out_features: int, *, scale: float = 30.0) -> None:
        super().__init__()
        self.scale = scale
        self.weight = nn.Parameter(torch.empty(out_features, in_features).uniform_(-1, 1))

    def forward(self, z: Tensor) -> Tensor:
        """Return the logits (N, C) of embeddings (N, d)."""
        return self.scale * F.linear(F.normalize(z, dim=1), F.normalize(self.weight, dim=1))


class OneVsRestHead(nn.Linear):
    """A linear head that starts with the probability 1 / C of each class, one against the rest.

    Its bias is -log(C - 1) (Lin et al. 2017, section 3.3). With a bias around 0, as `torch.nn.Linear` draws it, each
    sigmoid starts at one half, and the first steps only bring C - 1 wrong outputs of each image down.

    Parameters
    ----------
    in_features, out_features : int
        Width of the embedding, and number of classes.

    Examples
    --------
    >>> torch.sigmoid(OneVsRestHead(2, 4)(torch.zeros(1, 2))).round(decimals=4).tolist()
    [[0.25, 0.25, 0.25, 0.25]]
    """

    def reset_parameters(self) -> None:
        """Draw the weights as `torch.nn.Linear` does, and set the bias."""
        super().reset_parameters()
        self.set_prior()

    def set_prior(self) -> None:
        """Set the bias to -log(C - 1)."""
        nn.init.constant_(self.bias, -math.log(max(self.out_features - 1, 1)))


class PrototypeHead(nn.Module):
    """Logits from the distance to the nearest prototype of each class, on the unit sphere.

    The logit of class c is ``-scale * min_j ||z/|z| - m_j||^2`` over its prototypes m_j: the class of the nearest
    prototype wins. A class without a prototype gets the logit of the farthest possible one, ``-4 * scale``.

    Parameters
    ----------
    in_features, out_features : int
        Width of the embedding, and number of classes.
    prototypes : int
        How many prototypes there is room for.
    scale : float, default=10.0
        How sharply probabilities fall with distance.

    Examples
    --------
    >>> head = PrototypeHead(2, 2, prototypes=2, scale=1.0)
    >>> head.set_prototypes(torch.eye(2), torch.tensor([0, 1]))
    >>> head(torch.tensor([[3.0, 0.0]])).tolist()
    [[-0.0, -2.0]]
    """

    centres: Tensor
    labels: Tensor

    def __init__(
        self, in_features: int, out_features: int, *, prototypes: int = 0, scale: float = 10.0
    ) -> None:
        super().__init__()
        self.out_features = out_features
        self.scale = scale
        self.register_buffer("centres", torch.zeros(prototypes, in_features))
        self.register_buffer("labels", torch.zeros(prototypes, dtype=torch.int64))

    def set_prototypes(self, centres: Tensor, labels: Tensor) -> None:
        """Take prototypes (K, d), which are brought to length 1, and their classes (K,), int64."""
        self.centres = F.normalize(centres.to(self.centres), dim=1)
        self.labels = labels.to(self.labels)

    def forward(self, z: Tensor) -> Tensor:
        """Return the logits (N, C) of embeddings (N, d)."""
        squared = (2 - 2 * F.linear(F.normalize(z, dim=1), self.centres)).clamp(0, 4)
        logits = squared.new_full((len(z), self.out_features), -4.0)
        logits = logits.scatter_reduce(1, self.labels.expand_as(squared), -squared, "amax")
        return self.scale * logits


HEADS = {"linear": nn.Linear, "cosine": CosineHead, "one-vs-rest": OneVsRestHead, "prototype": PrototypeHead}


def make_head(kind: str, in_features: int, out_features: int, **options: int) -> nn.Module:
    """Return a fresh head of one of the `HEADS`.

    Raises
    ------
    UnknownNameError
        If there is no such kind.
    """
    if kind not in HEADS:
        raise UnknownNameError("head", kind, HEADS)
    return HEADS[kind](in_features, out_features, **options)
