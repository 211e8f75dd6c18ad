"""What is known of explained images: the records that the page and the JSON show."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from counterpoise.datasets import SkippedFile


@dataclass(frozen=True)
class View:
    """What one model makes of one image.

    Attributes
    ----------
    predicted : str
        The class with the highest probability.
    probability : float
        Its probability, in [0, 1].
    target : str
        The class that is explained.
    target_probability : float
        Its probability.
    blank : bool
        Whether the map is zero everywhere: no place speaks for the class.
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


@dataclass(frozen=True)
class ExplainedImage:
    """One image and what the models make of it.

    Attributes
    ----------
    path : str
        The image.
    true : str or None
        Its class, where the folder that it lies in is called like one.
    figure, input : str
        PNGs, relative to the folder: all of it with legend; the image as the model gets it.
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


@dataclass(frozen=True)
class ModelFacts:
    """A model that is explained.

    Attributes
    ----------
    run : str
        Its folder.
    method, network : str
        How it was trained, and what.
    layer : str or None
        The layer whose map is shown.
    places : (int, int) or None
        Height and width of that map.
    image_size : (int, int)
        Height and width of the images, in pixels.
    adjusted : bool
        Whether the run adjusts its logits after training: probabilities are after that, maps before.
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


@dataclass(frozen=True)
class Explanation:
    """What `explain_images` wrote.

    Attributes
    ----------
    folder : Path
        Where.
    title, meaning : str
        The method in words, and what a value of its maps says.
    signed : bool
        Whether the maps have values below zero.
    models : tuple of ModelFacts
        One, or two to be compared.
    images : tuple of ExplainedImage
        In the order given.
    skipped : tuple of SkippedFile
        Images that could not be read.
    same_from : float
        From this similarity on, two maps count as the same attention.
    """

    folder: Path
    title: str
    meaning: str
    signed: bool
    models: tuple[ModelFacts, ...]
    images: tuple[ExplainedImage, ...]
    skipped: tuple[SkippedFile, ...]
    same_from: float

    def as_json(self) -> dict[str, Any]:
        """Return all of it but the folder as plain values."""
        images = [asdict(image) for image in self.images]
        counted = [image.same for image in self.images if image.same is not None]
        attention = {
            "measure": "Spearman's rank correlation of the maps",
            "same_from": self.same_from,
            "same": sum(counted),
            "different": len(counted) - sum(counted),
        }
        return {
            "method": self.title,
            "models": [asdict(model) for model in self.models],
            "attention": attention if len(self.models) > 1 else None,
            "images": images,
            "skipped": [{"path": file.path, "reason": file.reason} for file in self.skipped],
        }
