"""Records of explained images, as the page and the JSON show them."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, field_serializer

from counterpoise.datasets import SkippedFile


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class View(_Record):
    """One image under one model.

    Attributes
    ----------
    predicted : str
        The class with the highest probability.
    probability : float
        Its probability, in [0, 1].
    target : str
        The explained class.
    target_probability : float
        Its probability.
    blank : bool
        Whether the map is zero everywhere: no region supports the class.
    overlay : str
        The map over the image: a PNG, relative to the folder.
    deletion, insertion : float or None
        See `counterpoise.explain.score_maps`.
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
    path : str
        The image.
    true : str or None
        Its class, where its folder has the name of one.
    figure, input : str
        PNGs, relative to the folder: the complete figure with legend; the image as the model receives it.
    feature_maps : tuple of str
        PNGs of feature maps.
    views : tuple of View
        One for each model.
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
    run : str
        Its folder.
    method, network : str
        Training method and name of the network.
    layer : str or None
        The layer whose map is shown.
    places : (int, int) or None
        Height and width of that map.
    image_size : (int, int)
        Height and width of the images, in pixels.
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
    """Agreement of two models.

    Attributes
    ----------
    measure : str
        Similarity of two maps, in words.
    same_from : float
        From this similarity on, two maps count as the same attention.
    same, different : int
        Images with the same attention, and the others.
    """

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
    method : str
        Title of the explaining method.
    models : tuple of ModelFacts
        One model, or two that are compared.
    attention : Attention or None
        Agreement of two models.
    images : tuple of ExplainedImage
        In the order given.
    skipped : tuple of SkippedFile
        Images that could not be read.
    folder : Path
        The folder of the pictures.
    meaning : str
        Meaning of a value of the maps.
    signed : bool
        Whether the maps have values below zero.
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
