"""The slides' four comparisons for chosen images: pixels, Grad-CAM, and the maps of the first two convolutions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from counterpoise.datasets import ImageDataset
from counterpoise.explain import SAME_FROM, GradCAM, feature_maps, find_convolutions, map_similarity
from counterpoise.inference import load_network
from counterpoise.networks import EnhancedNetwork, Network
from counterpoise.report import (
    Panel,
    difference_figure,
    explanation_figure,
    feature_map_figure,
    overlay,
    picture,
    save_figure,
)
from counterpoise.runs import Predictions, RunFolder

CONVOLUTIONS = 2
SMALLEST_PICTURE = 200
DRAWING = 2
"""Counts how figures are drawn: those of an earlier number are drawn again."""

WRONG_TO_RIGHT, RIGHT_TO_WRONG, RIGHT = "wrong → right", "right → wrong", "right → right"


@dataclass(frozen=True)
class Chosen:
    """An image that is shown closely.

    Attributes
    ----------
    index : int
        Its place among the test images.
    path : str
        Its name.
    change : str
        What becomes of the classifier's answer.
    true, before, after : str
        Its class, and what the classifier says of the original and of the changed image.
    probability_before, probability_after : float
        Of the true class, in [0, 1].
    """

    index: int
    path: str
    change: str
    true: str
    before: str
    after: str
    probability_before: float
    probability_after: float


@dataclass(frozen=True)
class Shown:
    """An image and its figures.

    Attributes
    ----------
    image : Chosen
        Which.
    similarity : float
        Of the Grad-CAM maps before and after, see `map_similarity`.
    same : bool
        Whether that counts as the same attention.
    blank : bool
        Whether a map has no place that raises the score, so that there is little to see.
    figures : dict of str to str
        ``pixels``, ``grad-cam``, ``conv1``, ``conv2`` -> the file's name.
    """

    image: Chosen
    similarity: float
    same: bool
    blank: bool
    figures: dict[str, str]


def choose_images(before: Predictions, after: Predictions, count: int) -> list[Chosen]:
    """Return the images to show: half turned right, a quarter turned wrong, the rest right before and after.

    Of each kind those whose probability of the true class has moved most, one of every class before a second of any,
    as far as there are such; what one kind lacks, the next gets.

    Parameters
    ----------
    before, after : Predictions
        Of the same images.
    count : int
        How many at most.
    """
    rows = np.arange(len(before.true))
    old, new = before.probabilities[rows, before.true], after.probabilities[rows, before.true]
    was, is_now = before.predicted == before.true, after.predicted == before.true
    kinds = (
        (RIGHT_TO_WRONG, was & ~is_now, count // 4),
        (RIGHT, was & is_now, count - count // 2 - count // 4),
        (WRONG_TO_RIGHT, ~was & is_now, count),
    )
    chosen: list[Chosen] = []
    for change, members, share in kinds:
        found = np.flatnonzero(members)
        ordered = _spread(before.true[found], np.abs(new - old)[found])
        for index in found[ordered][: min(share, count - len(chosen))].tolist():
            chosen.append(
                Chosen(
                    index=index,
                    path=before.paths[index],
                    change=change,
                    true=before.classes[before.true[index]],
                    before=before.classes[before.predicted[index]],
                    after=before.classes[after.predicted[index]],
                    probability_before=float(old[index]),
                    probability_after=float(new[index]),
                )
            )
    return sorted(chosen, key=lambda c: (WRONG_TO_RIGHT, RIGHT_TO_WRONG, RIGHT).index(c.change))


def _spread(classes: np.ndarray, moves: np.ndarray) -> np.ndarray:
    """Return the order in which each class's greatest move comes first, then each class's second, and so on."""
    by_move = np.argsort(-moves, kind="stable")
    seen: Counter[int] = Counter()
    turns = np.empty(len(classes), dtype=np.int64)
    for index in by_move.tolist():
        turns[index] = seen[classes[index]]
        seen[classes[index]] += 1
    return np.lexsort((-moves, turns))


def draw_figures(
    chosen: list[Chosen],
    classifier: RunFolder,
    enhanced: RunFolder,
    splits: ImageDataset,
    folder: Path,
    progress: Callable[[int, int], None] | None = None,
) -> list[Shown]:
    """Draw the figures of every chosen image.

    "Old" is what the classifier makes of the original image, "new" what it makes of the one that the U-Net gives.

    Parameters
    ----------
    chosen : list of Chosen
        From `choose_images`.
    classifier, enhanced : RunFolder
        The finished runs.
    splits : ImageDataset
        With the test images.
    folder : Path
        Where the PNGs go.
    progress : callable, optional
        Called with (done, total).
    """
    network = load_network(enhanced)
    assert isinstance(network, EnhancedNetwork)
    assert splits.test is not None
    drawing = _Drawing(load_network(classifier), network, splits.classes, folder)
    shown = []
    for number, item in enumerate(chosen):
        shown.append(drawing.draw(number, item, np.asarray(splits.test.images[item.index])))
        if progress is not None:
            progress(number + 1, len(chosen))
    return shown


class _Drawing:
    def __init__(
        self, old: Network, network: EnhancedNetwork, classes: tuple[str, ...], folder: Path
    ) -> None:
        self.old = old.eval()
        self.new = network.network.eval()
        self.enhancer = network.enhancer.eval()
        self.classes = classes
        self.folder = folder
        shape = (old.in_channels, *old.image_size)
        self.convolutions = find_convolutions(old, shape)[:CONVOLUTIONS]

    def draw(self, number: int, item: Chosen, image: np.ndarray) -> Shown:
        before = torch.from_numpy(np.array(image, copy=True))[None].float() / 255
        with torch.no_grad():
            after = self.enhancer(before)
        name = f"{number + 1:02d}"
        files = {"pixels": f"{name}-pixels.png"}
        figure = difference_figure(
            before[0].numpy(),
            after[0].numpy(),
            old_title=f"input: {item.true}, taken for {item.before}",
            new_title=f"output: taken for {item.after}",
        )
        save_figure(figure, self.folder / files["pixels"])
        similarity, blank = self._grad_cam(item, before, after, name, files)
        self._feature_maps(item, before, after, name, files)
        return Shown(item, similarity, similarity >= SAME_FROM, blank, files)

    def _grad_cam(
        self, item: Chosen, before: torch.Tensor, after: torch.Tensor, name: str, files: dict[str, str]
    ) -> tuple[float, bool]:
        target = self.classes.index(item.true)
        maps = [
            GradCAM(network).explain(images, target).numpy()
            for network, images in ((self.old, before), (self.new, after))
        ]
        similarity = float(map_similarity(*maps)[0])
        panels = [
            Panel(_large(picture(before[0].numpy())), f"input: {item.true}"),
            Panel(
                _large(overlay(before[0].numpy(), maps[0][0])),
                f"old: taken for {item.before}",
                _note(item.true, item.probability_before, maps[0]),
            ),
            Panel(
                _large(overlay(after[0].numpy(), maps[1][0])),
                f"new: taken for {item.after}",
                _note(item.true, item.probability_after, maps[1]),
            ),
        ]
        files["grad-cam"] = f"{name}-grad-cam.png"
        legend = f"what raises the score of {item.true}; rank correlation of the maps {similarity:.3f}"
        save_figure(explanation_figure(panels, signed=False, legend=legend), self.folder / files["grad-cam"])
        return similarity, not all(map.any() for map in maps)

    def _feature_maps(
        self, item: Chosen, before: torch.Tensor, after: torch.Tensor, name: str, files: dict[str, str]
    ) -> None:
        for position, layer in enumerate(self.convolutions, start=1):
            figure = feature_map_figure(
                feature_maps(self.old, before, layer)[0].numpy(),
                feature_maps(self.new, after, layer)[0].numpy(),
                title=f"conv{position} ({layer})",
                old_title=f"old: taken for {item.before}",
                new_title=f"new: taken for {item.after}",
            )
            files[f"conv{position}"] = f"{name}-conv{position}.png"
            save_figure(figure, self.folder / files[f"conv{position}"])


def _note(true: str, probability: float, map: np.ndarray) -> str:
    words = f"probability of {true}: {probability:.0%}"
    return words if map.any() else f"{words}\nno place raises its score"


def _large(pixels: np.ndarray) -> np.ndarray:
    """Repeat the pixels of a small picture, so that a figure does not blur them."""
    factor = max(1, -(-SMALLEST_PICTURE // min(pixels.shape[:2])))
    return pixels.repeat(factor, axis=0).repeat(factor, axis=1)
