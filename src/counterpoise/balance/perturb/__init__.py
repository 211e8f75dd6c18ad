"""Perturbations: what happens to a batch's pixels.

They are batched, run where the images are, and draw from a generator of one's own.

Examples
--------
>>> import torch
>>> from counterpoise.balance.perturb import AOS
>>> network, loss = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2)), torch.nn.CrossEntropyLoss()
>>> images, targets = torch.full((2, 1, 2, 2), 0.5), torch.tensor([0, 1])
>>> aos = AOS(class_counts=[90, 10], p=1.0)
>>> (aos(images, targets, network, loss) != images).flatten(1).any(dim=1)
tensor([False,  True])
"""

from counterpoise.balance.perturb.aos import AOS
from counterpoise.balance.perturb.base import Perturbation, PerturbedBatch
from counterpoise.balance.perturb.input_gradient import input_gradient
from counterpoise.balance.perturb.mixup import Mixup
from counterpoise.balance.perturb.random_affine import RandomAffine
from counterpoise.balance.perturb.remix import Remix

__all__ = ["AOS", "Mixup", "Perturbation", "PerturbedBatch", "RandomAffine", "Remix", "input_gradient"]
