"""Where a network looks: Grad-CAM, LIME, occlusion; differences of images; feature maps; how good a map is.

Examples
--------
>>> import torch
>>> from counterpoise.explain import GradCAM
>>> from counterpoise.networks import create_network
>>> network = create_network("lenet", num_classes=10, in_channels=1, image_size=(28, 28), seed=0)
>>> GradCAM(network).explain(torch.rand(5, 1, 28, 28)).shape
torch.Size([5, 28, 28])
"""

from counterpoise.explain.attention import SAME_FROM, map_similarity
from counterpoise.explain.base import Explainer
from counterpoise.explain.differences import PixelDifference, pixel_difference
from counterpoise.explain.feature_maps import feature_maps
from counterpoise.explain.grad_cam import GradCAM
from counterpoise.explain.layers import MapLayer, find_convolutions, find_map_layer, map_layers
from counterpoise.explain.lime import LIME
from counterpoise.explain.occlusion import Occlusion
from counterpoise.explain.registry import EXPLAINERS, create_explainer
from counterpoise.explain.scores import MapScores, area_under_curve, score_maps
from counterpoise.explain.superpixels import superpixels

__all__ = [
    "EXPLAINERS",
    "LIME",
    "SAME_FROM",
    "Explainer",
    "GradCAM",
    "MapLayer",
    "MapScores",
    "Occlusion",
    "PixelDifference",
    "area_under_curve",
    "create_explainer",
    "feature_maps",
    "find_convolutions",
    "find_map_layer",
    "map_layers",
    "map_similarity",
    "pixel_difference",
    "score_maps",
    "superpixels",
]
