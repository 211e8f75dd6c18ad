"""Pictures of explained images."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

import numpy as np
import torch

from counterpoise.explain import map_similarity
from counterpoise.files import atomic_path
from counterpoise.inference.explained_model import ExplainedModel, ModelView
from counterpoise.inference.explanation import ExplainedImage, View
from counterpoise.report import (
    Panel,
    explanation_figure,
    feature_map_figure,
    overlay,
    picture,
    save_figure,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LONGEST_NAME = 24


def write_pictures(
    out: Path,
    models: Sequence[ExplainedModel],
    names: Sequence[str],
    pixels: np.ndarray,
    views: Sequence[ModelView],
    done: int,
    same_from: float,
) -> list[ExplainedImage]:
    """Write the pictures of a batch, whose files are numbered from `done` + 1, and return their records."""
    size = (pixels.shape[2], pixels.shape[3])
    maps = [_resized(view.maps, size) for view in views]
    similarity = map_similarity(*maps) if len(maps) == 2 else None
    signed, classes = models[0].explainer.signed, models[0].model.classes
    explained = []
    for i, name in enumerate(names):
        stem = f"{done + i + 1:05d}-{_plain(PurePath(name).stem)}"
        overlays = [overlay(pixels[i], each[i], signed=signed) for each in maps]
        records = [
            _view_record(model, view, i, f"parts/{stem}-{letter}.png")
            for model, view, letter in zip(models, views, "ab", strict=False)
        ]
        for record, painted in zip(records, overlays, strict=True):
            _write_png(out / record.overlay, painted)
        _write_png(out / f"parts/{stem}-input.png", picture(pixels[i]))
        # The true class is that of the folder, where it is called like one.
        folder = PurePath(name).parent.name
        image = ExplainedImage(
            path=name,
            true=folder if folder in classes else None,
            figure=f"images/{stem}.png",
            input=f"parts/{stem}-input.png",
            feature_maps=tuple(_write_feature_maps(out, models, views, i, stem)),
            views=tuple(records),
            similarity=None if similarity is None else float(similarity[i]),
            same=None if similarity is None else bool(similarity[i] >= same_from),
        )
        save_figure(_figure(models, image, picture(pixels[i]), overlays), out / image.figure)
        explained.append(image)
    return explained


def _view_record(model: ExplainedModel, view: ModelView, i: int, overlay_name: str) -> View:
    probabilities, classes = view.probabilities[i], model.model.classes
    predicted, target = int(probabilities.argmax()), int(view.targets[i])
    deletion, insertion = (None, None) if view.scores is None else map(float, view.scores[i])
    return View(
        predicted=classes[predicted],
        probability=float(probabilities[predicted]),
        target=classes[target],
        target_probability=float(probabilities[target]),
        blank=not view.maps[i].any(),
        overlay=overlay_name,
        deletion=deletion,
        insertion=insertion,
    )


def _figure(
    models: Sequence[ExplainedModel],
    image: ExplainedImage,
    pixels: np.ndarray,
    overlays: Sequence[np.ndarray],
) -> Figure:
    note = "" if image.true is None else f"true class {_short(image.true)}"
    panels = [Panel(pixels, "input", note)]
    names = _names(models) if len(models) > 1 else [models[0].explainer.title]
    for name, view, painted in zip(names, image.views, overlays, strict=True):
        other = "" if view.target == view.predicted else f", predicted {_short(view.predicted)}"
        title = f"{_short(view.target)} {100 * view.target_probability:.1f} %"
        blank = "\nno region supports it" if view.blank else ""
        panels.append(Panel(painted, title, f"{name}{other}{blank}"))
    signed = models[0].explainer.signed
    legend = f"evidence {'against and ' if signed else ''}for the class above"
    return explanation_figure(panels, signed=signed, legend=legend)


def _names(models: Sequence[ExplainedModel]) -> list[str]:
    return [
        f"{letter}: {_short(model.model.run.path.name)}" for letter, model in zip("AB", models, strict=False)
    ]


def _write_feature_maps(
    out: Path, models: Sequence[ExplainedModel], views: Sequence[ModelView], i: int, stem: str
) -> Iterator[str]:
    """Write the feature maps of one image, layer by layer; those of two models side by side."""
    for number in range(min(len(model.layers) for model in models)):
        layers = [model.layers[number] for model in models]
        maps = [view.features[layer][i] for view, layer in zip(views, layers, strict=True)]
        name = f"feature-maps/{stem}-{number + 1}.png"
        figure = feature_map_figure(
            *maps,
            title=" and ".join(dict.fromkeys(layers)),
            old_title=_names(models)[0],
            new_title=_names(models)[-1],
        )
        save_figure(figure, out / name)
        yield name


def _resized(maps: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize maps (N, h, w) bilinearly."""
    if maps.shape[1:] == size:
        return maps
    tensor = torch.from_numpy(maps)[:, None]
    return torch.nn.functional.interpolate(tensor, size=size, mode="bilinear", antialias=True)[:, 0].numpy()


def _plain(stem: str) -> str:
    """Return a part of a file name that needs no quoting."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", stem)[:60]


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"


def _write_png(path: Path, pixels: np.ndarray) -> None:
    from PIL import Image

    with atomic_path(path) as temporary:
        Image.fromarray(pixels).save(temporary, format="PNG")
