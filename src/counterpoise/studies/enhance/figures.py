"""The slides' four comparisons for chosen images: pixels, Grad-CAM, and the maps of the first two convolutions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

import numpy as np
import pandas as pd
import torch

from counterpoise.datasets import ImageDataset
from counterpoise.explain import SAME_FROM, GradCAM, feature_maps, find_convolutions, map_similarity
from counterpoise.inference import load_network
from counterpoise.networks import EnhancedNetwork
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

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CONVOLUTIONS = 2
SMALLEST_PICTURE = 200
DRAWING = 3
"""Counts how figures are drawn: those of an earlier number are drawn again."""

WRONG_TO_RIGHT, RIGHT_TO_WRONG, RIGHT = "wrong → right", "right → wrong", "right → right"


class Chosen(TypedDict):
    """Test image to show, by its index.

    `before` and `after` are the predictions for the original and for the changed image, the probabilities are those of
    its true class in [0, 1], and `change` says what becomes of the prediction.
    """

    index: int
    path: str
    change: str
    true: str
    before: str
    after: str
    probability_before: float
    probability_after: float


class ShownImage(TypedDict):
    """A chosen image, the similarity of its Grad-CAM maps, and its figures: kind -> file."""

    image: Chosen
    similarity: float
    same: bool
    blank: bool
    figures: dict[str, str]


def choose_images(before: Predictions, after: Predictions, count: int) -> list[Chosen]:
    """Return the images to show: half turned right, a quarter turned wrong, the rest right before and after.

    Of each kind those whose probability of the true class has moved most, one of every class before a second of any,
    as far as there are such; what one kind lacks, the next gets. There are at most `count`.
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
    return sorted(chosen, key=lambda c: (WRONG_TO_RIGHT, RIGHT_TO_WRONG, RIGHT).index(c["change"]))


def _spread(classes: np.ndarray, moves: np.ndarray) -> np.ndarray:
    """Return the order in which each class's greatest move comes first, then each class's second, and so on."""
    by_move = np.argsort(-moves, kind="stable")
    turns = pd.Series(classes[by_move], index=by_move)
    turns = turns.groupby(turns).cumcount().sort_index()
    return np.lexsort((-moves, turns))


def draw_figures(
    chosen: list[Chosen],
    classifier: RunFolder,
    enhanced: RunFolder,
    splits: ImageDataset,
    folder: Path,
    progress: Callable[[int, int], None] | None = None,
) -> list[ShownImage]:
    """Draw the figures of every chosen test image and return the entries ``images`` of the summary.

    The PNGs ``pixels``, ``grad-cam``, ``conv1`` and ``conv2`` go to `folder`; `progress` is called with (done, total).
    ``similarity`` is that of the Grad-CAM maps, see `map_similarity`; attention is the ``same`` from `SAME_FROM` on.
    An image is ``blank`` if a map has no place that raises the score, so that there is little to see.

    "Old" is what the classifier makes of the original image, "new" what it makes of the one that the U-Net gives.
    """
    combined, old = load_network(enhanced), load_network(classifier).eval()
    assert isinstance(combined, EnhancedNetwork)
    assert splits.test is not None
    enhancer, new = combined.enhancer.eval(), combined.network.eval()
    shown: list[ShownImage] = []
    for number, item in enumerate(chosen, start=1):
        before = torch.from_numpy(np.array(splits.test.images[item["index"]], copy=True))[None].float() / 255
        with torch.no_grad():
            after = enhancer(before)
        sides = ((old, before), (new, after))
        maps = [
            GradCAM(net).explain(images, splits.classes.index(item["true"])).numpy() for net, images in sides
        ]
        similarity = float(map_similarity(*maps)[0])
        drawn = {
            "pixels": difference_figure(
                before[0].numpy(),
                after[0].numpy(),
                old_title=f"input: {item['true']}, taken for {item['before']}",
                new_title=f"output: taken for {item['after']}",
            ),
            "grad-cam": _attention_figure(item, before[0].numpy(), after[0].numpy(), maps, similarity),
        }
        for position, layer in enumerate(
            find_convolutions(old, (old.in_channels, *old.image_size))[:CONVOLUTIONS], start=1
        ):
            drawn[f"conv{position}"] = feature_map_figure(
                *(feature_maps(network, images, layer)[0].numpy() for network, images in sides),
                title=f"conv{position} ({layer})",
                old_title=f"old: taken for {item['before']}",
                new_title=f"new: taken for {item['after']}",
            )
        figures = {kind: f"{number:02d}-{kind}.png" for kind in drawn}
        for kind, figure in drawn.items():
            save_figure(figure, folder / figures[kind])
        shown.append(
            {
                "image": item,
                "similarity": similarity,
                "same": similarity >= SAME_FROM,
                "blank": not all(map.any() for map in maps),
                "figures": figures,
            }
        )
        if progress is not None:
            progress(number, len(chosen))
    return shown


def _attention_figure(
    item: Chosen, before: np.ndarray, after: np.ndarray, maps: list[np.ndarray], similarity: float
) -> Figure:
    sides = (
        ("old", before, item["before"], item["probability_before"], maps[0]),
        ("new", after, item["after"], item["probability_after"], maps[1]),
    )
    panels = [Panel(_large(picture(before)), f"input: {item['true']}")] + [
        Panel(
            _large(overlay(image, map[0])),
            f"{when}: taken for {answer}",
            f"probability of {item['true']}: {probability:.0%}"
            + ("" if map.any() else "\nno place raises its score"),
        )
        for when, image, answer, probability, map in sides
    ]
    legend = f"what raises the score of {item['true']}; rank correlation of the maps {similarity:.3f}"
    return explanation_figure(panels, signed=False, legend=legend)


def _large(pixels: np.ndarray) -> np.ndarray:
    """Repeat the pixels of a small picture, so that a figure does not blur them."""
    factor = max(1, -(-SMALLEST_PICTURE // min(pixels.shape[:2])))
    return pixels.repeat(factor, axis=0).repeat(factor, axis=1)
