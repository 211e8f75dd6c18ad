"""Samplers: choice of the images of an epoch.

They follow imbalanced-learn. Most return indices only, so that no pixel is copied; those with ``makes_images`` return
new images.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from counterpoise.balance._slot import open_slot
from counterpoise.catalogs import Entry

if TYPE_CHECKING:
    from counterpoise.balance.samplers.base import ImageSampler, epoch_indices
    from counterpoise.balance.samplers.class_balanced import ClassBalancedSampler
    from counterpoise.balance.samplers.pixel_smote import PixelSMOTE
    from counterpoise.balance.samplers.random_over import ROS
    from counterpoise.balance.samplers.random_under import RUS
    from counterpoise.balance.samplers.ros_rus import ROSRUS

SAMPLERS, __getattr__, __dir__, __all__ = open_slot(
    __name__,
    "sampler",
    [
        Entry(
            name="ros",
            target="counterpoise.balance.samplers.random_over:ROS",
            summary="Random oversampling: copies of images of the small classes.",
            source="thesis, section 3.1.1; Buda et al. 2018",
        ),
        Entry(
            name="rosrus",
            target="counterpoise.balance.samplers.ros_rus:ROSRUS",
            summary="Over- and undersampling towards the mean class size.",
            source="thesis, section 3.1.3",
        ),
        Entry(
            name="rus",
            target="counterpoise.balance.samplers.random_under:RUS",
            summary="Random undersampling: a random part of the images of the large classes.",
            source="thesis, section 3.1.2; Buda et al. 2018",
        ),
        Entry(
            name="class-balanced-sampler",
            target="counterpoise.balance.samplers.class_balanced:ClassBalancedSampler",
            summary="Draws a class first, then one of its images.",
            source="Kang et al. 2020, Eq. 1",
        ),
        Entry(
            name="pixel-smote",
            target="counterpoise.balance.samplers.pixel_smote:PixelSMOTE",
            summary="SMOTE on flattened images.",
            source="Chawla et al. 2002; AOS poster",
        ),
    ],
    {
        "SAMPLERS": __name__,
        "ImageSampler": "counterpoise.balance.samplers.base",
        "epoch_indices": "counterpoise.balance.samplers.base",
    },
)
