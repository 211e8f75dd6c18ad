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
    """Logits from squared distances D to the prototypes of each class, on the unit sphere.

    With one neighbor, the logit of class c is ``-scale * D`` to its nearest prototype, so the class of the nearest
    prototype is predicted. With more, it is that of the cluster-wise k-NN of Huang et al. (2016), which
    predicts the largest local margin: the distance to the nearest prototype of another class, minus that to the
    farthest prototype of c among the `neighbors` nearest ones, times the scale. If all of these are of one class, it is
    predicted. A class without any among them has the margin of its nearest prototype, which is never above the others.
    Without prototypes its distance is the largest, 4. `prototypes` is their number over all classes.

    Examples
    --------
    >>> head = PrototypeHead(2, 2, prototypes=2, scale=1.0)
    >>> head.set_prototypes(torch.eye(2), torch.tensor([0, 1]))
    >>> head(torch.tensor([[3.0, 0.0]])).tolist()
    [[-0.0, -2.0]]

    The nearest prototype is of class 0, which has a far one, too: 0.4 - 4 against 0 - 0.4.

    >>> head = PrototypeHead(2, 2, prototypes=3, scale=1.0, neighbors=3)
    >>> head.set_prototypes(torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.8, 0.6]]), torch.tensor([0, 0, 1]))
    >>> head(torch.tensor([[3.0, 0.0]]))
    tensor([[-3.6000, -0.4000]])
    """

    # The spelling of saved state dicts.
    centres: Tensor
    labels: Tensor

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        prototypes: int = 0,
        scale: float = 10.0,
        neighbors: int = 1,
    ) -> None:
        super().__init__()
        self.out_features, self.scale, self.neighbors = out_features, scale, neighbors
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
        owners = self.labels.expand_as(squared)
        logits = logits.scatter_reduce(1, owners, -squared, "amax")
        if self.neighbors == 1:
            return self.scale * logits
        nearest = -logits
        two = nearest.topk(min(2, self.out_features), largest=False).values
        other = torch.where(nearest <= two[:, :1], two[:, -1:], two[:, :1])
        within = squared.topk(min(self.neighbors, len(self.labels)), largest=False).values[:, -1:]
        # No squared distance is below 0, so that -1 marks a class that has none within.
        inside = torch.where(squared <= within, squared, -1.0)
        farthest = torch.full_like(nearest, -1.0).scatter_reduce(1, owners, inside, "amax")
        return self.scale * (other - torch.where(farthest < 0, nearest, farthest))


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
