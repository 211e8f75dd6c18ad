"""Heads: the layer from an embedding to logits."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from counterpoise.exceptions import UnknownNameError

COSINE_SCALE = 30.0


class CosineHead(nn.Module):
    """Logits ``scale * cos(angle between embedding and class vector)`` (Cao et al. 2019, section 3.2).

    The length of a class vector, which grows with the number of the class's images, has no effect.
    `scale` is the largest possible logit.
    """

    def __init__(self, in_features: int, out_features: int, *, scale: float = COSINE_SCALE) -> None:
        super().__init__()
        self.scale = scale
        self.weight = nn.Parameter(torch.empty(out_features, in_features).uniform_(-1, 1))

    def forward(self, z: Tensor) -> Tensor:
        """Return the logits (N, C) of embeddings (N, d)."""
        return self.scale * F.linear(F.normalize(z, dim=1), F.normalize(self.weight, dim=1))


class OneVsRestHead(nn.Linear):
    """Linear head whose sigmoids start at 1 / C, with a bias of -log(C - 1) (Lin et al. 2017, section 3.3).

    With the bias of `torch.nn.Linear`, near 0, each sigmoid starts at one half, and the first steps only reduce the
    C - 1 wrong outputs of each image.
    """

    def reset_parameters(self) -> None:
        """Draw the weights as `torch.nn.Linear` does, and set the bias."""
        super().reset_parameters()
        self.set_prior()

    def set_prior(self) -> None:
        """Set the bias to -log(C - 1)."""
        nn.init.constant_(self.bias, -math.log(max(self.out_features - 1, 1)))


class ExpertsHead(nn.Module):
    """Linear heads side by side, whose mean logits decide (BalPoE; Sanchez Aimar et al. 2023).

    In training mode it returns the logits of each of its `EXPERTS`, (N, K, C), which a loss for experts needs; other
    losses take their mean, as `eval` does.
    """

    EXPERTS = 3

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        linear = nn.Linear(in_features, self.EXPERTS * out_features)
        self.weight, self.bias = linear.weight, linear.bias

    def forward(self, z: Tensor) -> Tensor:
        """Return the logits of embeddings (N, d): (N, K, C) in training mode, else (N, C)."""
        logits = F.linear(z, self.weight, self.bias).unflatten(1, (self.EXPERTS, -1))
        return logits if self.training else logits.mean(dim=1)


class UnitLengthHead(nn.Module):
    """Linear head on embeddings of one length, ``sqrt(d) W z / |z| + b``.

    Standardized embeddings have that length on average: only its spread over the images, often contrast and sharpness,
    is removed. Unlike a cosine head it has a bias, and the length of a class vector has an effect.

    Examples
    --------
    >>> head = UnitLengthHead(4, 2)
    >>> z = torch.tensor([[1.0, 1.0, 1.0, 1.0]])
    >>> torch.equal(head(z), F.linear(z, head.weight, head.bias)), torch.allclose(head(3 * z), head(z))
    (True, True)
    """

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        linear = nn.Linear(in_features, out_features)
        self.weight, self.bias = linear.weight, linear.bias

    def forward(self, z: Tensor) -> Tensor:
        """Return the logits (N, C) of embeddings (N, d)."""
        return F.linear(math.sqrt(z.shape[1]) * F.normalize(z, dim=1), self.weight, self.bias)


class PrototypeHead(nn.Module):
    """Logits from the distance to the nearest prototype of each class, on the unit sphere.

    The logit of class c is ``-scale * min_j ||z/|z| - m_j||^2`` over its prototypes m_j, so the class of the nearest
    prototype is predicted. The logit of a class without prototypes is that of the largest distance, ``-4 * scale``.
    `prototypes` is their number over all classes.

    Examples
    --------
    >>> head = PrototypeHead(2, 2, prototypes=2, scale=1.0)
    >>> head.set_prototypes(torch.eye(2), torch.tensor([0, 1]))
    >>> head(torch.tensor([[3.0, 0.0]])).tolist()
    [[-0.0, -2.0]]
    """

    # The spelling of saved state dicts.
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

    def set_prototypes(self, centers: Tensor, labels: Tensor) -> None:
        """Set the prototypes (K, d), scaled to length 1, and their classes (K,), int64."""
        self.centres = F.normalize(centers.to(self.centres), dim=1)
        self.labels = labels.to(self.labels)

    def forward(self, z: Tensor) -> Tensor:
        """Return the logits (N, C) of embeddings (N, d)."""
        squared = (2 - 2 * F.linear(F.normalize(z, dim=1), self.centres)).clamp(0, 4)
        # Not len(z), which would be a constant in an exported graph.
        logits = squared.new_full((z.shape[0], self.out_features), -4.0)
        logits = logits.scatter_reduce(1, self.labels.expand_as(squared), -squared, "amax")
        return self.scale * logits


HEADS = {
    "linear": nn.Linear,
    "cosine": CosineHead,
    "one-vs-rest": OneVsRestHead,
    "experts": ExpertsHead,
    "unit-length": UnitLengthHead,
    "prototype": PrototypeHead,
}


def make_head(kind: str, in_features: int, out_features: int) -> nn.Module:
    """Return a new head of one of the `HEADS`."""
    if kind not in HEADS:
        raise UnknownNameError("head", kind, HEADS)
    return HEADS[kind](in_features, out_features)
