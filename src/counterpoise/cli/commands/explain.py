"""``counterpoise explain``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from counterpoise.cli import options as o
from counterpoise.cli.printing import print_json, say

if TYPE_CHECKING:
    from counterpoise.inference import Explanation

PANEL = "Use a model"


def command(
    run: o.Run,
    images: Annotated[list[Path], typer.Argument(metavar="IMAGES...", help="Image files, folders or zips.")],
    against: Annotated[
        Path | None,
        typer.Option(metavar="RUN", help="A second model: which images do both see in the same way?"),
    ] = None,
    method: Annotated[str, typer.Option(metavar="NAME", help="grad-cam, lime or occlusion.")] = "grad-cam",
    target: Annotated[
        str | None,
        typer.Option(metavar="CLASS", show_default="the predicted one", help="The class to explain."),
    ] = None,
    layer: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            show_default="the last with a spatial map",
            help="The layer of grad-cam and of the feature maps.",
        ),
    ] = None,
    same_from: Annotated[
        float | None,
        typer.Option(
            metavar="R", show_default="0.5", help="Rank correlation from which two maps count as the same."
        ),
    ] = None,
    scores: Annotated[
        bool, typer.Option("--scores", help="Score the maps by deletion and insertion (slower).")
    ] = False,
    feature_maps: Annotated[
        bool,
        typer.Option("--feature-maps", help="Draw the maps of the first two convolutions, or of --layer."),
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            show_default="RUN/explain or RUN/explain-against",
            help="The folder for page and pictures.",
        ),
    ] = None,
    strict: o.Strict = False,
    device: o.Device = "auto",
    as_json: o.AsJson = False,
) -> None:
    """Show where a model looks: a picture for each image, and one HTML page of all."""
    from counterpoise.cli.progress import counting
    from counterpoise.cli.running import report_skipped
    from counterpoise.exceptions import InputError
    from counterpoise.explain.attention import SAME_FROM
    from counterpoise.files import replacing_folder
    from counterpoise.inference import EXPLANATION_CONTENTS, build_explanation_page, explain_images
    from counterpoise.runs.folder import RunFolder

    if same_from is not None and against is None:
        raise InputError("--same-from compares two models; name the second with --against, or leave it out")
    folders = [RunFolder.open(path) for path in (run, against) if path is not None]
    target_folder = out or run / ("explain" if against is None else "explain-against")
    with replacing_folder(target_folder, EXPLANATION_CONTENTS, kind="explanation") as folder:
        with counting("explaining images", "img") as update:
            explanation = explain_images(
                folders,
                images,
                folder,
                method=method,
                target=target,
                layer=layer,
                with_scores=scores,
                with_feature_maps=feature_maps,
                same_from=SAME_FROM if same_from is None else same_from,
                device=device,
                strict=strict,
                progress=update,
            )
        build_explanation_page(explanation, folder / "explain.html")
    report_skipped(explanation.skipped)
    page = target_folder / "explain.html"
    if as_json:
        print_json({"out": str(target_folder), "page": str(page), **explanation.model_dump(mode="json")})
    else:
        _show(explanation, page)


def _show(explanation: Explanation, page: Path) -> None:
    """Print what was found in a few lines."""
    count = len(explanation.images)
    known = [image for image in explanation.images if image.true is not None]
    say(f"images: {count:,}, explained by {explanation.method}")
    for index, model in enumerate(explanation.models):
        right = sum(image.views[index].predicted == image.true for image in known)
        if known:
            say(f"right: {right:,} of the {len(known):,} whose folder names their class, by {model.run}")
    if (attention := explanation.attention) is not None:
        rule = f"rank correlation of the maps {attention.same_from:g} or more"
        say(f"attention: same on {attention.same:,} ({rule}), different on {attention.different:,}")
    say(f"page: {page}")
