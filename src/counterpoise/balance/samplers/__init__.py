"""Samplers: which images an epoch holds.

They follow imbalanced-learn, and can return indices only, so that no pixel is copied; those that make new images
(``makes_images``) return these.

Examples
--------
>>> import numpy as np
>>> from counterpoise.balance.samplers import RUS
>>> indices = RUS(random_state=0).resample_indices(np.array([0, 0, 0, 0, 1, 1]))
>>> len(indices), indices[-2:]
(4, array([4, 5]))
"""

from counterpoise.balance.samplers.base import ImageSampler
from counterpoise.balance.samplers.class_balanced import ClassBalancedSampler
from counterpoise.balance.samplers.epoch import EpochSampler, epoch_indices
from counterpoise.balance.samplers.pixel_smote import PixelSMOTE
from counterpoise.balance.samplers.random_over import ROS
from counterpoise.balance.samplers.random_under import RUS
from counterpoise.balance.samplers.ros_rus import ROSRUS

__all__ = [
    "ROS",
    "ROSRUS",
    "RUS",
    "ClassBalancedSampler",
    "EpochSampler",
    "ImageSampler",
    "PixelSMOTE",
    "epoch_indices",
]
