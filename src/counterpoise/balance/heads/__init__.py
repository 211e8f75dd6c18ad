"""Heads: what becomes of a trained network's last layer, its embedding left as it is.

Examples
--------
>>> import torch
>>> from counterpoise.balance.heads import NearestMeanHead
>>> head = torch.nn.Linear(2, 2)
>>> z, y = torch.tensor([[0.0, 0.0], [0.0, 2.0], [4.0, 1.0]]), torch.tensor([0, 0, 1])
>>> NearestMeanHead().finish(NearestMeanHead().prepare(head, z, y), head)
>>> head(torch.tensor([[1.0, 1.0], [3.0, 1.0]])).argmax(dim=1)
tensor([0, 1])
"""

from counterpoise.balance.heads.base import HeadStage
from counterpoise.balance.heads.fine_tuned import FineTunedHead
from counterpoise.balance.heads.nearest_mean import NearestMeanHead
from counterpoise.balance.heads.new import NewHead
from counterpoise.balance.heads.normalised import NormalisedHead
from counterpoise.balance.heads.scaled import ScaledHead

__all__ = ["FineTunedHead", "HeadStage", "NearestMeanHead", "NewHead", "NormalisedHead", "ScaledHead"]
