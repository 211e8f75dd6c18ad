"""Explanations of trained models on images, as pictures, a few images at a time."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

import numpy as np
import torch

from counterpoise.datasets import ImageFiles, SkippedFile, read_images
from counterpoise.exceptions import DataError, InputError
from counterpoise.explain import EXPLAINERS, SAME_FROM, GradCAM, map_similarity
from counterpoise.files import atomic_path, write_json
from counterpoise.inference.explanation import (
    Attention,
    ExplainedImage,
    ExplainedModel,
    Explanation,
    ModelView,
    View,
)
from counterpoise.inference.model import BATCH_SIZE, TrainedModel, decoded_batches
from counterpoise.report import Panel, explanation_figure, feature_map_figure, overlay, picture, save_figure
from counterpoise.runs import RunFolder

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Names in the folder of an explanation.
EXPLANATION_CONTENTS = frozenset({"explain.html", "explain.json", "images", "parts", "feature-maps"})

_LONGEST_NAME = 24


def explain_images(
    folders: Sequence[RunFolder],
    images: Sequence[Path],
    out: Path,
    *,
    method: str = "grad-cam",
    target: str | None = None,
    layer: str | None = None,
    with_scores: bool = False,
    with_feature_maps: bool = False,
    same_from: float = SAME_FROM,
    device: str = "auto",
    batch_size: int | None = None,
    strict: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Explanation:
    """Explain the classes that one or two models predict for images, and write pictures batch by batch.

    Only a few images are in memory at a time. The maps of the second model are resized to those of the first. The
    result is also written to ``explain.json``.

    Parameters
    ----------
    folders : sequence of RunFolder
        One finished run, or two that are compared.
    out : Path
        An empty folder.
    method : str, default="grad-cam"
        One of `counterpoise.explain.EXPLAINERS`.
    target : str, optional
        The class to explain. Default: for each image and model the predicted one.
    layer : str, optional
        The layer of Grad-CAM and of the feature maps (default: of the first two convolutions).
    with_scores, with_feature_maps : bool, default=False
        Whether maps are scored by deletion and insertion, beside random ones; whether feature maps are drawn.
    same_from : float, default=0.5
        From this rank correlation on, two maps count as the same attention.
    images, batch_size, strict, progress
        As for `predict_images`.

    Raises
    ------
    InputError
        If an option does not fit the models or the method.
    """
    EXPLAINERS.get(method)
    if layer is not None and method != GradCAM.name and not with_feature_maps:
        raise InputError(f"`layer` is for grad-cam and `feature_maps`, {method} uses no layer; leave it out")
    if not -1 <= same_from <= 1:
        raise InputError(f"`same_from` is {same_from}; expected a rank correlation from -1 to 1")
    models = [
        ExplainedModel(
            TrainedModel.open(folder, device=device, batch_size=batch_size),
            method,
            target=target,
            layer=layer,
            with_scores=with_scores,
            with_feature_maps=with_feature_maps,
        )
        for folder in folders
    ]
    opened = [each.model for each in models]
    shapes = [(each.channels, each.image_size, each.fit, each.value_range) for each in opened]
    channels, size, fit, value_range = shapes[0]
    files, paths, skipped = read_images(
        images,
        channels=channels,
        image_size=size,
        fit=fit,
        value_range=value_range,
        strict=strict,
        progress=progress,
    )
    most = max(1, min(BATCH_SIZE, BATCH_SIZE * 224 * 224 // (size[0] * size[1])))  # a gradient takes memory
    sources = [ImageFiles(files.files, *shape) for shape in shapes]
    unreadable: list[SkippedFile] = []
    explained: list[ExplainedImage] = []
    at_once = min(batch_size or most, most)
    for indices, batch in decoded_batches(sources, paths, unreadable, strict=strict, size=at_once):
        names = [paths[i] for i in indices]
        views = [model.view(pixels) for model, pixels in zip(models, batch, strict=True)]
        explained += _write_pictures(out, models, names, batch[0], views, len(explained), same_from)
        if progress is not None:
            progress(len(explained) + len(unreadable), len(paths))
    if not explained:
        raise DataError(f"no readable image in {', '.join(map(str, images))} ({unreadable[0].reason})")
    explainer = models[0].explainer
    explanation = Explanation(
        method=explainer.title,
        models=tuple(model.facts(len(explained)) for model in models),
        attention=Attention.of(explained, same_from) if len(models) > 1 else None,
        images=tuple(explained),
        skipped=(*skipped, *unreadable),
        folder=out,
        meaning=explainer.meaning,
        signed=explainer.signed,
    )
    write_json(out / "explain.json", explanation.model_dump(mode="json"))
    return explanation


def _write_pictures(
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
        # Of the name, what needs no quoting in a shell or a link.
        stem = f"{done + i + 1:05d}-{re.sub(r'[^A-Za-z0-9._-]+', '_', PurePath(name).stem)[:60]}"
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
    names = (_short(model.model.run.path.name) for model in models)
    return [f"{letter}: {name}" for letter, name in zip("AB", names, strict=False)]


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


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"


def _write_png(path: Path, pixels: np.ndarray) -> None:
    from PIL import Image

    with atomic_path(path) as temporary:
        Image.fromarray(pixels).save(temporary, format="PNG")
