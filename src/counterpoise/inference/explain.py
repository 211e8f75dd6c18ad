"""Explaining what trained models see in images, as pictures, a few images at a time."""

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
from counterpoise.inference.explained_model import ExplainedModel, ModelView
from counterpoise.inference.explanation import ExplainedImage, Explanation, View
from counterpoise.report.kit.pictures import (
    Panel,
    explanation_figure,
    feature_map_figure,
    overlay,
    picture,
    save_figure,
)
from counterpoise.runs.folder import RunFolder
from counterpoise.training import find_device

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: What a folder with an explanation holds.
CONTENTS = frozenset({"explain.html", "explain.json", "images", "parts", "feature-maps"})

_BATCH = 32
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
    strict: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Explanation:
    """Explain the classes that one or two models see in images, and write the pictures as they come.

    Only a few images are in memory at a time. The maps of the second model are brought to the size of the first.

    Parameters
    ----------
    folders : sequence of RunFolder
        One trained model, or two to be compared.
    images : sequence of Path
        Image files, folders or zips.
    out : Path
        An empty folder.
    method : str, default="grad-cam"
        One of `counterpoise.explain.EXPLAINERS`.
    target : str, optional
        The class to explain. Default: for each image and model the predicted one.
    layer : str, optional
        The layer of Grad-CAM and of the feature maps.
    with_scores : bool, default=False
        Whether maps are scored by deletion and insertion, beside random ones.
    with_feature_maps : bool, default=False
        Whether feature maps are drawn: of `layer`, or of the first two convolutions.
    same_from : float, default=0.5
        From this rank correlation on, two maps count as the same attention.
    device : str
        ``"auto"``, ``"cpu"`` or ``"cuda"``.
    strict : bool
        Whether an unreadable image is an error.
    progress : callable, optional
        Called with (done, total).

    Returns
    -------
    Explanation
        Also written to ``explain.json``.

    Raises
    ------
    InputError
        If an option does not fit the models or the method.
    DataError
        If there is no readable image, or (with `strict`) an unreadable one.
    """
    check_options(method, layer=layer, with_feature_maps=with_feature_maps, same_from=same_from)
    models = [
        ExplainedModel(
            folder,
            method,
            device=find_device(device),
            target=target,
            layer=layer,
            with_scores=with_scores,
            with_feature_maps=with_feature_maps,
        )
        for folder in folders
    ]
    first = models[0]
    files, paths, skipped = read_images(
        images, channels=first.channels, image_size=first.size, strict=strict, progress=progress
    )
    sources = [ImageFiles(files.files, model.channels, model.size) for model in models]
    unreadable: list[SkippedFile] = []
    explained: list[ExplainedImage] = []
    for names, batch in _batches(sources, paths, strict, unreadable):
        looks = [model.look(pixels) for model, pixels in zip(models, batch, strict=True)]
        explained += _paint(out, models, names, batch[0], looks, len(explained), same_from)
        if progress is not None:
            progress(len(explained) + len(unreadable), len(paths))
    if not explained:
        raise DataError(f"no readable image in {', '.join(map(str, images))} ({unreadable[0].reason})")
    explanation = Explanation(
        folder=out,
        title=first.explainer.title,
        meaning=first.explainer.meaning,
        signed=first.explainer.signed,
        models=tuple(model.facts(len(explained)) for model in models),
        images=tuple(explained),
        skipped=(*skipped, *unreadable),
        same_from=same_from,
    )
    write_json(out / "explain.json", explanation.as_json())
    return explanation


def check_options(
    method: str, *, layer: str | None, with_feature_maps: bool = False, same_from: float = SAME_FROM
) -> None:
    """Make sure that the options of `explain_images` fit together.

    Raises
    ------
    InputError
        If there is no such method, or an option would have no effect.
    """
    EXPLAINERS.get(method)
    if layer is not None and method != GradCAM.name and not with_feature_maps:
        raise InputError(
            f"`layer` is for grad-cam and `feature_maps`, {method} looks at no layer; leave it out"
        )
    if not -1 <= same_from <= 1:
        raise InputError(f"`same_from` is {same_from}; expected a rank correlation from -1 to 1")


def _batches(
    sources: Sequence[ImageFiles], paths: Sequence[str], strict: bool, unreadable: list[SkippedFile]
) -> Iterator[tuple[list[str], list[np.ndarray]]]:
    """Yield names and, for each model, decoded images; what cannot be decoded joins `unreadable`."""
    for start in range(0, len(paths), _BATCH):
        names, decoded = [], []
        for index in range(start, min(start + _BATCH, len(paths))):
            try:
                decoded.append([source[index] for source in sources])
            except DataError as error:
                if strict:
                    raise
                unreadable.append(SkippedFile(paths[index], str(error)))
            else:
                names.append(paths[index])
        if names:
            yield names, [np.stack(each) for each in zip(*decoded, strict=True)]


def _paint(
    out: Path,
    models: Sequence[ExplainedModel],
    names: Sequence[str],
    pixels: np.ndarray,
    looks: Sequence[ModelView],
    done: int,
    same_from: float,
) -> list[ExplainedImage]:
    """Write the pictures of a batch and return what they show."""
    size = (pixels.shape[2], pixels.shape[3])
    maps = [_resized(look.maps, size) for look in looks]
    similarity = map_similarity(*maps) if len(maps) == 2 else None
    signed = models[0].explainer.signed
    explained = []
    for i, name in enumerate(names):
        stem = f"{done + i + 1:05d}-{_plain(PurePath(name).stem)}"
        overlays = [overlay(pixels[i], each[i], signed=signed) for each in maps]
        views = [
            _view(model, look, i, f"parts/{stem}-{letter}.png")
            for model, look, letter in zip(models, looks, "ab", strict=False)
        ]
        for view, painted in zip(views, overlays, strict=True):
            _write_png(out / view.overlay, painted)
        _write_png(out / f"parts/{stem}-input.png", picture(pixels[i]))
        image = ExplainedImage(
            path=name,
            true=_true_class(name, models[0].classes),
            figure=f"images/{stem}.png",
            input=f"parts/{stem}-input.png",
            feature_maps=tuple(_paint_features(out, models, looks, i, stem)),
            views=tuple(views),
            similarity=None if similarity is None else float(similarity[i]),
            same=None if similarity is None else bool(similarity[i] >= same_from),
        )
        save_figure(_figure(models, image, picture(pixels[i]), overlays), out / image.figure)
        explained.append(image)
    return explained


def _view(model: ExplainedModel, look: ModelView, i: int, overlay_name: str) -> View:
    probabilities = look.probabilities[i]
    predicted, target = int(probabilities.argmax()), int(look.targets[i])
    deletion, insertion = (None, None) if look.scores is None else map(float, look.scores[i])
    return View(
        predicted=model.classes[predicted],
        probability=float(probabilities[predicted]),
        target=model.classes[target],
        target_probability=float(probabilities[target]),
        blank=not look.maps[i].any(),
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
    note = "" if image.true is None else f"truly {_short(image.true)}"
    panels = [Panel(pixels, "input", note)]
    names = _names(models) if len(models) > 1 else [models[0].explainer.title]
    for name, view, painted in zip(names, image.views, overlays, strict=True):
        other = "" if view.target == view.predicted else f", predicted {_short(view.predicted)}"
        title = f"{_short(view.target)} {100 * view.target_probability:.1f} %"
        blank = "\nno place speaks for it" if view.blank else ""
        panels.append(Panel(painted, title, f"{name}{other}{blank}"))
    signed = models[0].explainer.signed
    legend = f"what speaks {'against and ' if signed else ''}for the class above"
    return explanation_figure(panels, signed=signed, legend=legend)


def _names(models: Sequence[ExplainedModel]) -> list[str]:
    return [
        f"{letter}: {_short(model.folder.path.name)}" for letter, model in zip("AB", models, strict=False)
    ]


def _paint_features(
    out: Path, models: Sequence[ExplainedModel], looks: Sequence[ModelView], i: int, stem: str
) -> Iterator[str]:
    """Write the feature maps of one image, layer by layer; where there are two models, side by side."""
    for number in range(min(len(model.layers) for model in models)):
        layers = [model.layers[number] for model in models]
        maps = [look.features[layer][i] for look, layer in zip(looks, layers, strict=True)]
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
    """Bring maps (N, h, w) to another size, bilinearly."""
    if maps.shape[1:] == size:
        return maps
    tensor = torch.from_numpy(maps)[:, None]
    return torch.nn.functional.interpolate(tensor, size=size, mode="bilinear", antialias=True)[:, 0].numpy()


def _true_class(name: str, classes: Sequence[str]) -> str | None:
    """Return the class that the folder of an image is called like, if any."""
    folder = PurePath(name).parent.name
    return folder if folder in classes else None


def _plain(stem: str) -> str:
    """Return a part of a file name that needs no quoting anywhere."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", stem)[:60]


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"


def _write_png(path: Path, pixels: np.ndarray) -> None:
    from PIL import Image

    with atomic_path(path) as temporary:
        Image.fromarray(pixels).save(temporary, format="PNG")
