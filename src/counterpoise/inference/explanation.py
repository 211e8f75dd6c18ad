"""Explained models, and records of explained images as the page and the JSON show them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, field_serializer

from counterpoise.datasets import SkippedFile
from counterpoise.exceptions import UnknownNameError
from counterpoise.explain import GradCAM, create_explainer, feature_maps, find_convolutions, score_maps
from counterpoise.inference.model import TrainedModel
from counterpoise.networks import EnhancedNetwork, EnsembleNetwork
from counterpoise.training import softmax

_FIRST_CONVOLUTIONS = 2


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class View(_Record):
    """One image under one model.

    The map explains `target`, which is the class `predicted` unless another was asked for. It is `blank` where it is
    zero everywhere: no region supports the class. `overlay` is a PNG of the map over the image, relative to the
    folder. For `deletion` and `insertion` see `counterpoise.explain.score_maps`.
    """

    predicted: str
    probability: float
    target: str
    target_probability: float
    blank: bool
    overlay: str
    deletion: float | None = None
    insertion: float | None = None


class ExplainedImage(_Record):
    """One image under one or two models.

    `true` is its class, where its folder has the name of one. `figure`, `input` and `feature_maps` are PNGs, relative
    to the folder: the complete figure with legend, and the image as the model receives it. `similarity` is the rank
    correlation of the two models' maps, in [-1, 1], and `same` whether that counts as the same attention.
    """

    path: str
    true: str | None
    figure: str
    input: str
    feature_maps: tuple[str, ...]
    views: tuple[View, ...]
    similarity: float | None = None
    same: bool | None = None


class ModelFacts(_Record):
    """An explained model.

    `places` is the size of the map of `layer`; both are None where the method uses no layer. It is `bypassed` where the
    logits also depend on features beside that layer. If the run adjusts its logits, probabilities are after the
    adjustment, maps before it. The last two are mean scores of random maps.
    """

    run: str
    method: str
    network: str
    layer: str | None
    places: tuple[int, int] | None
    image_size: tuple[int, int]
    bypassed: bool = False
    adjusted: bool = False
    random_deletion: float | None = None
    random_insertion: float | None = None


class Attention(_Record):
    """Agreement of two models: maps whose similarity is `same_from` or more count as the same attention."""

    measure: str = "Spearman's rank correlation of the maps"
    same_from: float
    same: int
    different: int

    @classmethod
    def of(cls, images: list[ExplainedImage], same_from: float) -> Attention:
        """Count the images."""
        same = sum(bool(image.same) for image in images)
        return cls(same_from=same_from, same=same, different=len(images) - same)


class Explanation(_Record):
    """Result of `explain_images`; its dump is the content of ``explain.json``.

    `method` is the title of the explaining method; `meaning` that of a value of its maps, which can be below zero if
    `signed`. `attention` is the agreement of two models, and `folder` that of the pictures.
    """

    method: str
    models: tuple[ModelFacts, ...]
    attention: Attention | None
    images: tuple[ExplainedImage, ...]
    skipped: tuple[SkippedFile, ...]
    folder: Path = Field(exclude=True)
    meaning: str = Field(exclude=True)
    signed: bool = Field(exclude=True)

    @field_serializer("skipped")
    def _named(self, skipped: tuple[SkippedFile, ...]) -> list[dict[str, str]]:
        return [{"path": file.path, "reason": file.reason} for file in skipped]


@dataclass(frozen=True)
class ModelView:
    """A batch of N images under a model: maps (N, H, W) of the classes `targets`, and adjusted probabilities (N, C).

    `scores`, float64 of shape (N, 2), are deletion and insertion of each map; `features` are feature maps (N, c, h, w)
    by layer.
    """

    maps: np.ndarray
    probabilities: np.ndarray
    targets: np.ndarray
    scores: np.ndarray | None
    features: dict[str, np.ndarray]


class ExplainedModel:
    """A trained model with an explaining method; for the options see `explain_images`."""

    def __init__(
        self,
        model: TrainedModel,
        method: str,
        *,
        target: str | None = None,
        layer: str | None = None,
        with_scores: bool = False,
        with_feature_maps: bool = False,
    ) -> None:
        if target is not None and target not in model.classes:
            raise UnknownNameError(f"class of {model.run.path}", target, model.classes)
        self.model = model
        self.target = None if target is None else model.classes.index(target)
        self.explainer = create_explainer(
            method, model.network, **({"layer": layer} if method == GradCAM.name else {})
        )
        versions = vars(self.explainer).get("batch_size")
        if model.batch_size is not None and versions is not None:
            vars(self.explainer)["batch_size"] = min(versions, model.batch_size)
        shape = (model.channels, *model.image_size)
        self.map_layer = self.explainer.layer_for(shape) if isinstance(self.explainer, GradCAM) else None
        self.bypassed: bool | None = None
        self.layers: list[str] = []
        if with_feature_maps:
            self.layers = self._first_convolutions(shape) if layer is None else [layer]
        self.with_scores = with_scores
        self._random_scores: list[np.ndarray] = []
        self._generator = torch.Generator().manual_seed(0)

    def _first_convolutions(self, shape: tuple[int, int, int]) -> list[str]:
        """Return the first convolutions of the classifier; behind an enhancer, they receive its output."""
        network = self.model.network
        found = find_convolutions(network, shape)
        if isinstance(network, EnhancedNetwork):
            found = [name for name in found if name.startswith("network.")]
        elif isinstance(network, EnsembleNetwork):
            found = [name for name in found if name.startswith(f"members.{len(network.members) - 1}.")]
        return found[:_FIRST_CONVOLUTIONS]

    def view(self, pixels: np.ndarray) -> ModelView:
        """Return probabilities and maps of images, uint8 of shape (N, C, H, W)."""
        network, device = self.model.network, self.model.device
        images = torch.from_numpy(pixels).to(device).float() / 255
        with torch.no_grad():
            logits = network(images).float().cpu().numpy()
        probabilities = softmax(self.model.adjust(logits))
        chosen = probabilities.argmax(axis=1) if self.target is None else np.full(len(pixels), self.target)
        targets = torch.from_numpy(chosen).to(device)
        maps = self.explainer.explain(images, targets)
        if isinstance(self.explainer, GradCAM) and self.bypassed is None:
            self.bypassed = self.explainer.is_bypassed(images[:1])
        scores = None
        if self.with_scores:
            scores = self._score(images, maps, targets)
            random = torch.rand(maps.shape, generator=self._generator)
            self._random_scores.append(self._score(images, random, targets).sum(axis=0, keepdims=True))
        features = {name: feature_maps(network, images, name).cpu().numpy() for name in self.layers}
        return ModelView(maps.cpu().numpy(), probabilities, chosen, scores, features)

    def _score(self, images: torch.Tensor, maps: torch.Tensor, targets: torch.Tensor) -> np.ndarray:
        found = score_maps(self.model.network, images, maps, targets)
        return np.column_stack([found.deletion, found.insertion])

    def facts(self, images: int) -> ModelFacts:
        """Return the record of the model after `view` has processed so many images."""
        layer, record = self.map_layer, self.model.run.record
        random = np.concatenate(self._random_scores).sum(axis=0) / images if self._random_scores else None
        return ModelFacts(
            run=str(self.model.run.path),
            method=record.method,
            network=record.network.name,
            layer=None if layer is None else layer.name,
            places=None if layer is None else (layer.height, layer.width),
            image_size=self.model.image_size,
            bypassed=bool(self.bypassed),
            adjusted=self.model.adjustment is not None,
            random_deletion=None if random is None else float(random[0]),
            random_insertion=None if random is None else float(random[1]),
        )
