"""Records of explained images, as the page and the JSON show them."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, field_serializer

from counterpoise.datasets import SkippedFile


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

    Attributes
    ----------
    true : str or None
        Its class, where its folder has the name of one.
    figure, input, feature_maps
        PNGs, relative to the folder: the complete figure with legend; the image as the model receives it; feature maps.
    similarity : float or None
        Rank correlation of the two models' maps, in [-1, 1].
    same : bool or None
        Whether that counts as the same attention.
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

    Attributes
    ----------
    run, method, network : str
        Its folder, training method and network.
    layer, places
        The layer whose map is shown, and height and width of that map; None where the method uses no layer.
    adjusted : bool
        Whether the run adjusts its logits: probabilities are after the adjustment, maps before it.
    random_deletion, random_insertion : float or None
        Mean scores of random maps.
    """

    run: str
    method: str
    network: str
    layer: str | None
    places: tuple[int, int] | None
    image_size: tuple[int, int]
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

    Attributes
    ----------
    method, meaning, signed
        Title of the explaining method, meaning of a value of its maps, and whether values can be below zero.
    attention : Attention or None
        Agreement of two models.
    folder : Path
        The folder of the pictures.
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
