"""Cross entropies that weight easy samples less."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from counterpoise.exceptions import InputError


def check_gamma(gamma: float) -> None:
    """Raise InputError for a focusing parameter below 0."""
    if not 0 <= gamma < float("inf"):
        raise InputError(f"gamma is {gamma}; expected a finite number, 0 or more")


def softmax_focal(logits: Tensor, targets: Tensor, gamma: float) -> Tensor:
    """Return -(1 - p_t)^gamma log p_t (N,), with p the softmax."""
    cross_entropy = F.cross_entropy(logits, targets, reduction="none")
    if not gamma:
        return cross_entropy
    # 1 - p_t as the sum over the other classes: exact where p_t is almost 1, and so is its slope.
    others = logits.scatter(1, targets[:, None], -torch.inf)
    log_missed = torch.logsumexp(others, dim=1) - torch.logsumexp(logits, dim=1)
    return torch.exp(gamma * log_missed) * cross_entropy


def towards_truth(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the logits (N, C), positive where they are right: z_c for the target, -z_c for other classes."""
    return torch.where(F.one_hot(targets, logits.shape[1]).bool(), logits, -logits)


def sigmoid_focal(logits: Tensor, targets: Tensor, gamma: float) -> Tensor:
    """Return sum_c -(1 - q_c)^gamma log q_c (N,), with q_c the sigmoid of z_c for the target, of -z_c for others."""
    right = towards_truth(logits, targets)
    values = -F.logsigmoid(right)
    if gamma:
        values = torch.exp(gamma * F.logsigmoid(-right)) * values
    return values.sum(dim=1)
