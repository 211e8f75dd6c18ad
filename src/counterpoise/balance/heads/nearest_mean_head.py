"""Head that decides for the nearest class mean."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from counterpoise.balance.heads.base import HeadStage, linear_layer


class NearestMeanHead(HeadStage):
    """Nearest class mean of the embeddings (NCM; Kang et al. 2020, section 4.2).

    Notes
    -----
    With m_c the mean embedding of class c the logit is ``2 m_c . z - ||m_c||^2``, which is ``-||z - m_c||^2`` up to a
    term that all classes share: a linear head. A class without images is never predicted.

    Helps: a class needs only a few images for its mean.

    Hurts: classes of several clusters. Probabilities are overconfident, since squared distances are large numbers.

    Examples
    --------
    >>> head = nn.Linear(1, 2)
    >>> means = NearestMeanHead().prepare(head, torch.tensor([[0.0], [3.0]]), torch.tensor([0, 1]))
    >>> NearestMeanHead().finish(means, head)
    >>> head(torch.tensor([[1.0]])).tolist()
    [[0.0, -3.0]]
    """

    replaces: ClassVar[bool] = True
    trains: ClassVar[bool] = False

    def _prepare(self, head: nn.Module, embeddings: Tensor, labels: Tensor) -> nn.Module:
        linear = linear_layer(head, "ncm")
        classes = linear.out_features
        sums = embeddings.new_zeros(classes, embeddings.shape[1], dtype=torch.float64)
        sums.index_add_(0, labels, embeddings.double())
        counts = torch.bincount(labels, minlength=classes)
        means = sums / counts.clamp(min=1)[:, None]
        result = nn.utils.skip_init(nn.Linear, linear.in_features, classes, device=embeddings.device)
        result.weight.copy_(2 * means)
        result.bias.copy_(-means.square().sum(dim=1))
        result.bias[counts == 0] = torch.finfo(result.bias.dtype).min
        return result

    def _finish(self, trained: nn.Module, head: nn.Module) -> None:
        head.load_state_dict(trained.state_dict())
