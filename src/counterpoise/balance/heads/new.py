"""Head trained from scratch."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from counterpoise.balance.heads.base import HeadStage


class NewHead(HeadStage):
    """Reinitialized head, trained on the embeddings (thesis, section 4.2; Kang et al. 2020, section 4.1, cRT).

    Examples
    --------
    >>> NewHead.fresh, NewHead.trains
    (True, True)
    """

    fresh: ClassVar[bool] = True

    def _prepare(self, head: nn.Module, embeddings: Tensor, labels: Tensor) -> nn.Module:
        return head
