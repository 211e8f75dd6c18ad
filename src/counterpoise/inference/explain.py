"""Explanations of trained models on images, as pictures, a few images at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from counterpoise.datasets import ImageFiles, SkippedFile, read_images
from counterpoise.exceptions import DataError, InputError
from counterpoise.explain import EXPLAINERS, SAME_FROM, GradCAM
from counterpoise.files import write_json
from counterpoise.inference.explained_model import ExplainedModel
from counterpoise.inference.explanation import Attention, ExplainedImage, Explanation
from counterpoise.inference.explanation_pictures import write_pictures
from counterpoise.inference.model import TrainedModel
from counterpoise.inference.predict import decoded_batches
from counterpoise.runs import RunFolder

#: Names in the folder of an explanation.
EXPLANATION_CONTENTS = frozenset({"explain.html", "explain.json", "images", "parts", "feature-maps"})


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
    """Explain the classes that one or two models predict for images, and write pictures batch by batch.

    Only a few images are in memory at a time. The maps of the second model are resized to those of the first. The
    result is also written to ``explain.json``.

    Parameters
    ----------
    folders : sequence of RunFolder
        One finished run, or two that are compared.
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
    strict : bool
        Whether an unreadable image is an error.
    progress : callable, optional
        Called with (done, total).

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
            TrainedModel.open(folder, device=device),
            method,
            target=target,
            layer=layer,
            with_scores=with_scores,
            with_feature_maps=with_feature_maps,
        )
        for folder in folders
    ]
    shapes = [(model.model.channels, model.model.image_size) for model in models]
    channels, size = shapes[0]
    files, paths, skipped = read_images(
        images, channels=channels, image_size=size, strict=strict, progress=progress
    )
    sources = [ImageFiles(files.files, *shape) for shape in shapes]
    unreadable: list[SkippedFile] = []
    explained: list[ExplainedImage] = []
    for indices, batch in decoded_batches(sources, paths, unreadable, strict=strict):
        names = [paths[i] for i in indices]
        views = [model.view(pixels) for model, pixels in zip(models, batch, strict=True)]
        explained += write_pictures(out, models, names, batch[0], views, len(explained), same_from)
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


def check_options(
    method: str, *, layer: str | None, with_feature_maps: bool = False, same_from: float = SAME_FROM
) -> None:
    """Raise `InputError` if there is no such method, or an option would have no effect."""
    EXPLAINERS.get(method)
    if layer is not None and method != GradCAM.name and not with_feature_maps:
        raise InputError(f"`layer` is for grad-cam and `feature_maps`, {method} uses no layer; leave it out")
    if not -1 <= same_from <= 1:
        raise InputError(f"`same_from` is {same_from}; expected a rank correlation from -1 to 1")
