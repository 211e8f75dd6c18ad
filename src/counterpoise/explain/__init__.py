"""Explanations of predictions: Grad-CAM, LIME, occlusion; pixel differences; feature maps; scores of maps.

Examples
--------
>>> import torch
>>> from counterpoise.explain import GradCAM
>>> from counterpoise.networks import create_network
>>> network = create_network("lenet", num_classes=10, in_channels=1, image_size=(28, 28), seed=0)
>>> GradCAM(network).explain(torch.rand(5, 1, 28, 28)).shape
torch.Size([5, 28, 28])
"""

from typing import TYPE_CHECKING

from counterpoise.catalogs import lazy_exports

if TYPE_CHECKING:
    from counterpoise.explain.attention import SAME_FROM as SAME_FROM
    from counterpoise.explain.attention import map_similarity as map_similarity
    from counterpoise.explain.base import Explainer as Explainer
    from counterpoise.explain.catalog import EXPLAINERS as EXPLAINERS
    from counterpoise.explain.catalog import create_explainer as create_explainer
    from counterpoise.explain.differences import PixelDifference as PixelDifference
    from counterpoise.explain.differences import as_floats as as_floats
    from counterpoise.explain.differences import pixel_difference as pixel_difference
    from counterpoise.explain.grad_cam import GradCAM as GradCAM
    from counterpoise.explain.layers import MapLayer as MapLayer
    from counterpoise.explain.layers import feature_maps as feature_maps
    from counterpoise.explain.layers import find_convolutions as find_convolutions
    from counterpoise.explain.layers import find_map_layer as find_map_layer
    from counterpoise.explain.layers import map_layers as map_layers
    from counterpoise.explain.lime import LIME as LIME
    from counterpoise.explain.lime import superpixels as superpixels
    from counterpoise.explain.occlusion import Occlusion as Occlusion
    from counterpoise.explain.scores import MapScores as MapScores
    from counterpoise.explain.scores import area_under_curve as area_under_curve
    from counterpoise.explain.scores import score_maps as score_maps

_MODULES = {
    "attention": ("SAME_FROM", "map_similarity"),
    "base": ("Explainer",),
    "catalog": ("EXPLAINERS", "create_explainer"),
    "differences": ("PixelDifference", "as_floats", "pixel_difference"),
    "grad_cam": ("GradCAM",),
    "layers": ("MapLayer", "feature_maps", "find_convolutions", "find_map_layer", "map_layers"),
    "lime": ("LIME", "superpixels"),
    "occlusion": ("Occlusion",),
    "scores": ("MapScores", "area_under_curve", "score_maps"),
}

__getattr__, __dir__, __all__ = lazy_exports(
    __name__, {name: f"{__name__}.{module}" for module, names in _MODULES.items() for name in names}
)
