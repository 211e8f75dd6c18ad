"""One trained model looking at images: probabilities, and the maps that explain them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from counterpoise.exceptions import UnknownNameError
from counterpoise.explain import GradCAM, create_explainer, feature_maps, find_convolutions, score_maps
from counterpoise.inference.explanation import ModelFacts
from counterpoise.networks import EnhancedNetwork
from counterpoise.runs.folder import RunFolder
from counterpoise.training import softmax

_FIRST_CONVOLUTIONS = 2


@dataclass(frozen=True)
class ModelView:
    """What a model makes of a batch of N images.

    Attributes
    ----------
    maps : ndarray of float32, shape (N, H, W)
        What explains the target classes.
    probabilities : ndarray of float64, shape (N, C)
        In [0, 1], after what the run does to its logits.
    targets : ndarray of int64, shape (N,)
        The explained classes.
    scores : ndarray of float64, shape (N, 2), or None
        Deletion and insertion of each map.
    features : dict of str to ndarray
        Feature maps (N, c, h, w) by layer.
    """

    maps: np.ndarray
    probabilities: np.ndarray
    targets: np.ndarray
    scores: np.ndarray | None
    features: dict[str, np.ndarray]


class ExplainedModel:
    """A trained model and what explains it.

    Parameters
    ----------
    folder : RunFolder
        The trained model.
    method : str
        One of `counterpoise.explain.EXPLAINERS`.
    device : torch.device
        Where it computes.
    target : str, optional
        The class to explain. Default: the predicted one.
    layer : str, optional
        The layer of Grad-CAM and of the feature maps.
    with_scores, with_feature_maps : bool
        What is computed besides the maps.

    Raises
    ------
    InputError
        If the model has no such class or layer.
    """

    def __init__(
        self,
        folder: RunFolder,
        method: str,
        *,
        device: torch.device,
        target: str | None = None,
        layer: str | None = None,
        with_scores: bool = False,
        with_feature_maps: bool = False,
    ) -> None:
        self.folder = folder
        self.classes: tuple[str, ...] = tuple(folder.record["dataset"]["classes"])
        if target is not None and target not in self.classes:
            raise UnknownNameError(f"class of {folder.path}", target, self.classes)
        self.target = None if target is None else self.classes.index(target)
        network = folder.record["network"]
        self.channels: int = network["in_channels"]
        self.size: tuple[int, int] = (network["image_size"][0], network["image_size"][1])
        self.device = device
        self.network = folder.load_network().to(device)
        self.adjustment = folder.load_adjustment()
        self.explainer = create_explainer(
            method, self.network, **({"layer": layer} if method == GradCAM.name else {})
        )
        shape = (self.channels, *self.size)
        self.map_layer = self.explainer.layer_for(shape) if isinstance(self.explainer, GradCAM) else None
        self.layers: list[str] = []
        if with_feature_maps:
            self.layers = self._first_convolutions(shape) if layer is None else [layer]
        self.with_scores = with_scores
        self._random_scores: list[np.ndarray] = []
        self._generator = torch.Generator().manual_seed(0)

    def _first_convolutions(self, shape: tuple[int, int, int]) -> list[str]:
        """Return the first convolutions of the classifier: behind an enhancer, those that see what it changed."""
        found = find_convolutions(self.network, shape)
        if isinstance(self.network, EnhancedNetwork):
            found = [name for name in found if name.startswith("network.")]
        return found[:_FIRST_CONVOLUTIONS]

    def look(self, pixels: np.ndarray) -> ModelView:
        """Return the view of images, uint8 of shape (N, C, H, W)."""
        images = torch.from_numpy(pixels).to(self.device).float() / 255
        with torch.no_grad():
            logits = self.network(images).float().cpu().numpy()
        probabilities = softmax(logits if self.adjustment is None else self.adjustment.transform(logits))
        chosen = probabilities.argmax(axis=1) if self.target is None else np.full(len(pixels), self.target)
        targets = torch.from_numpy(chosen).to(self.device)
        maps = self.explainer.explain(images, targets)
        scores = None
        if self.with_scores:
            scores = self._score(images, maps, targets)
            random = torch.rand(maps.shape, generator=self._generator)
            self._random_scores.append(self._score(images, random, targets).sum(axis=0, keepdims=True))
        features = {name: feature_maps(self.network, images, name).cpu().numpy() for name in self.layers}
        return ModelView(maps.cpu().numpy(), probabilities, chosen, scores, features)

    def _score(self, images: torch.Tensor, maps: torch.Tensor, targets: torch.Tensor) -> np.ndarray:
        found = score_maps(self.network, images, maps, targets)
        return np.column_stack([found.deletion, found.insertion])

    def facts(self, images: int) -> ModelFacts:
        """Return what is known of the model after looking at so many images."""
        layer = self.map_layer
        random = np.concatenate(self._random_scores).sum(axis=0) / images if self._random_scores else None
        return ModelFacts(
            run=str(self.folder.path),
            method=str(self.folder.record.get("method", "")),
            network=str(self.folder.record["network"]["name"]),
            layer=None if layer is None else layer.name,
            places=None if layer is None else (layer.height, layer.width),
            image_size=self.size,
            adjusted=self.adjustment is not None,
            random_deletion=None if random is None else float(random[0]),
            random_insertion=None if random is None else float(random[1]),
        )
