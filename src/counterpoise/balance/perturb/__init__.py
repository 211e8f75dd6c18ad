"""Perturbations: changes of a batch's pixels.

They are batched, run on the device of the images, and draw from the generator that they are given.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from counterpoise.balance._slot import open_slot
from counterpoise.catalogs import Entry

if TYPE_CHECKING:
    from counterpoise.balance.perturb.aos import AOS, input_gradient
    from counterpoise.balance.perturb.base import Perturbation, PerturbedBatch
    from counterpoise.balance.perturb.cmo import CMO
    from counterpoise.balance.perturb.mixup import Mixup
    from counterpoise.balance.perturb.policies import RandAugment, TrivialAugment
    from counterpoise.balance.perturb.random_affine import RandomAffine
    from counterpoise.balance.perturb.remix import Remix

PERTURBATIONS, __getattr__, __dir__, __all__ = open_slot(
    __name__,
    "perturbation",
    [
        Entry(
            name="aos",
            target="counterpoise.balance.perturb.aos:AOS",
            summary="Adversarial examples (FGSM) in place of some minority images.",
            source="Wojciechowski & Lango, PMLR 183:98-111 (2022), Algorithm 1; Goodfellow et al. 2015",
        ),
        Entry(
            name="cmo",
            target="counterpoise.balance.perturb.cmo:CMO",
            summary="Patches of images of rare classes, pasted into other images; labels by the share of the pixels.",
            source="Park et al. 2022, Algorithm 1",
        ),
        Entry(
            name="mixup",
            target="counterpoise.balance.perturb.mixup:Mixup",
            summary="Convex combinations of two images and of their labels.",
            source="Zhang et al. 2018, section 2",
        ),
        Entry(
            name="rand-augment",
            target="counterpoise.balance.perturb.policies:RandAugment",
            summary="Random transforms of color and shape, of one strength.",
            source="Cubuk et al. 2020",
        ),
        Entry(
            name="random-affine",
            target="counterpoise.balance.perturb.random_affine:RandomAffine",
            summary="Small random shifts, rotations, zooms and mirroring.",
        ),
        Entry(
            name="remix",
            target="counterpoise.balance.perturb.remix:Remix",
            summary="Mixup whose label goes to the minority class where the class sizes differ much.",
            source="Chou et al. 2020",
        ),
        Entry(
            name="trivial-augment",
            target="counterpoise.balance.perturb.policies:TrivialAugment",
            summary="One random transform of color or shape, of random strength.",
            source="Müller and Hutter 2021",
        ),
    ],
    {
        "PERTURBATIONS": __name__,
        "Perturbation": "counterpoise.balance.perturb.base",
        "PerturbedBatch": "counterpoise.balance.perturb.base",
        "input_gradient": "counterpoise.balance.perturb.aos",
    },
)
