"""Reinitialized head."""

from typing import ClassVar

from torch import Tensor, nn

from counterpoise.balance.heads.base import HeadStage


class NewHead(HeadStage):
    """Reinitialized head, trained on the embeddings (thesis, section 4.2; Kang et al. 2020, section 4.1, cRT).

    Notes
    -----
    Helps: training on imbalanced images often gives good embeddings; the imbalance does most harm in the head.

    Hurts: where the embedding itself never learned the rare classes, as after few epochs.
    """

    fresh: ClassVar[bool] = True

    def _prepare(self, head: nn.Module, embeddings: Tensor, labels: Tensor) -> nn.Module:
        return head
