"""Head with one learned factor per class (LWS)."""

import torch
from torch import Tensor, nn

from counterpoise.balance.heads.base import HeadStage, linear_layer


class ScaledHead(HeadStage):
    """One learned factor f_c for the logits of each class c (LWS, learnable weight scaling; Kang et al. 2020, Eq. 5).

    Notes
    -----
    ``f_c (w_c . z + b_c)``: only the C factors are trained, then multiplied into the head's weights and bias.

    Helps: C numbers cannot overfit.

    Hurts: it cannot rotate a class vector, only stretch it.

    Examples
    --------
    >>> head = nn.Linear(3, 2)
    >>> scaled = ScaledHead().prepare(head, torch.zeros(1, 3), torch.zeros(1, dtype=torch.int64))
    >>> sum(p.numel() for p in scaled.parameters())
    2
    """

    def _prepare(self, head: nn.Module, embeddings: Tensor, labels: Tensor) -> nn.Module:
        return _Scaled(linear_layer(head, "lws"))

    def _finish(self, trained: nn.Module, head: nn.Module) -> None:
        assert isinstance(trained, _Scaled)
        linear = linear_layer(head, "lws")
        linear.weight.mul_(trained.factors[:, None])
        linear.bias.mul_(trained.factors)


class _Scaled(nn.Module):
    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        # Buffers: what is not trained is no parameter of the stage, and is saved with its checkpoint.
        self.register_buffer("weight", linear.weight.detach().clone())
        self.register_buffer("bias", linear.bias.detach().clone())
        self.factors = nn.Parameter(torch.ones(linear.out_features, device=linear.weight.device))

    def forward(self, z: Tensor) -> Tensor:
        return self.factors * nn.functional.linear(z, self.weight, self.bias)  # type: ignore[arg-type]
