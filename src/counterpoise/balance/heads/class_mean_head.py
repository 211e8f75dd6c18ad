"""Cosine head that starts from the class means."""

import math
from typing import ClassVar

from torch import Tensor, nn

from counterpoise.balance.heads.base import HeadStage
from counterpoise.exceptions import InputError


class ClassMeanHead(HeadStage):
    """Cosine head whose class vectors start as the class means of the embeddings (Shi et al. 2024, LIFT, section 4.2).

    Parameters
    ----------
    scale : float, default=25.0
        Largest logit; positive.

    Notes
    -----
    The start is the nearest-mean decision by angle, so training only has to refine it. Needs a cosine head.

    Helps: rare classes start from a sensible vector instead of from noise.

    Hurts: where the lengths of the embeddings carry information.

    Examples
    --------
    >>> import torch
    >>> from counterpoise.networks import create_network
    >>> head = create_network(
    ...     "tinynet", num_classes=2, in_channels=1, image_size=(8, 8), seed=0, head_layer="cosine"
    ... ).classifier
    >>> embeddings = torch.eye(64)[:2].repeat(3, 1)
    >>> started = ClassMeanHead(scale=4.0).prepare(head, embeddings, torch.tensor([0, 1] * 3))
    >>> started(embeddings[:1]).tolist()
    [[4.0, 0.0]]
    """

    fresh: ClassVar[bool] = True

    def __init__(self, *, scale: float = 25.0) -> None:
        if not (scale > 0 and math.isfinite(scale)):
            raise InputError(f"scale is {scale}; expected a positive number")
        self.scale = scale

    def _prepare(self, head: nn.Module, embeddings: Tensor, labels: Tensor) -> nn.Module:
        weight = getattr(head, "weight", None)
        if not hasattr(head, "scale") or not isinstance(weight, Tensor):
            raise InputError(
                f"class-mean-head needs a cosine head, found {type(head).__name__}; set head_layer=cosine"
            )
        for label in labels.unique().tolist():
            weight[label] = embeddings[labels == label].mean(dim=0).to(weight.dtype)
        head.scale = self.scale  # type: ignore[assignment]
        return head
