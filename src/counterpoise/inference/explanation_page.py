"""The page about explained images: written piece by piece, so that thousands of them take no memory."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from counterpoise.files import atomic_path

if TYPE_CHECKING:
    from counterpoise.inference.explanation import ExplainedImage, Explanation, ModelFacts

MOST_PICTURES = 500
"""So many images are shown; the others are linked, or the page grows too heavy to open."""

_THUMBNAIL = 160
_SMALL = 64


@dataclass(frozen=True)
class Group:
    """Images under one heading, of which the first are shown."""

    title: str
    words: str
    images: Sequence[ExplainedImage]
    shown: Sequence[ExplainedImage]


def build_explanation_page(explanation: Explanation, output: Path) -> Path:
    """Write one self-contained HTML file about explained images.

    Parameters
    ----------
    explanation : Explanation
        What `explain_images` returned, with its pictures still in its folder.
    output : Path
        The file to write; its links lead to the pictures if it lies in that folder.

    Returns
    -------
    Path
        The file written. It holds all it shows and asks nothing of the network.

    Raises
    ------
    RunFolderError
        If the file cannot be written.
    """
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    # Imported here: it brings torch, which the report of a comparison does without.
    from counterpoise.report.kit.pictures import legend_colors

    folder = files("counterpoise.report")
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string(
        files("counterpoise.inference").joinpath("explain.html.j2").read_text(encoding="utf-8")
    )
    pieces = template.stream(
        title=_title(explanation),
        subtitle=_subtitle(explanation),
        sentences=_sentences(explanation),
        signed=explanation.signed,
        colours=legend_colors(signed=explanation.signed),
        models=explanation.models,
        scores=_scores(explanation),
        groups=groups_of(explanation),
        facts=_facts(explanation),
        skipped=explanation.skipped,
        thumbnail=partial(_thumbnail, explanation.folder),
        style=Markup(folder.joinpath("report.css").read_text(encoding="utf-8")),
    )
    with atomic_path(output) as temporary, temporary.open("wb") as file:
        # A file name that is not valid UTF-8 may have come in as surrogates, which cannot be written.
        pieces.dump(file, encoding="utf-8", errors="replace")
    return output


def groups_of(explanation: Explanation) -> list[Group]:
    """Sort images under headings: two models by whether they look at the same places, one by whether it is right.

    Parameters
    ----------
    explanation : Explanation
        What `explain_images` returned.

    Returns
    -------
    list of Group
        Without empty ones. Of two models, the images whose maps differ most come first.
    """
    images = explanation.images
    if explanation.attention is not None:
        by_similarity = sorted(images, key=lambda image: image.similarity or 0.0)
        threshold = f"{explanation.attention.same_from:.2f}"
        sorted_images = [
            (
                "Different attention",
                f"The maps' rank correlation is below {threshold}; the most different come first.",
                [image for image in by_similarity if not image.same],
            ),
            (
                "Same attention",
                f"The maps' rank correlation is {threshold} or more.",
                [image for image in by_similarity if image.same],
            ),
        ]
    else:
        right = [image.true is not None and image.views[0].predicted == image.true for image in images]
        sorted_images = [
            (
                "Wrong",
                "Taken for another class than the one that the image's folder is called like.",
                [i for i, ok in zip(images, right, strict=True) if not ok and i.true is not None],
            ),
            ("Right", "", [image for image, ok in zip(images, right, strict=True) if ok]),
            (
                "Images",
                "Their folders are not called like a class, so that nothing is known of what they truly show.",
                [image for image in images if image.true is None],
            ),
        ]
    room, groups = MOST_PICTURES, []
    for title, words, chosen in sorted_images:
        if chosen:
            groups.append(Group(title, words, chosen, chosen[:room]))
            room -= len(groups[-1].shown)
    return groups


def _title(explanation: Explanation) -> str:
    names = [Path(model.run).name or model.run for model in explanation.models]
    if len(set(names)) < len(names):
        names = [model.run for model in explanation.models]
    return f"What {' and '.join(names)} look{'s' if len(names) == 1 else ''} at"


def _subtitle(explanation: Explanation) -> str:
    count = len(explanation.images)
    known = [image for image in explanation.images if image.true is not None]
    parts = [f"{count:,} image{'s' if count != 1 else ''}", explanation.method]
    for letter, index in zip("AB", range(len(explanation.models)), strict=False):
        if known:
            right = sum(image.views[index].predicted == image.true for image in known)
            who = f"{letter} is right" if len(explanation.models) > 1 else "right"
            parts.append(f"{who} on {right:,} of {len(known):,} with a known class")
    return " · ".join(parts)


def _sentences(explanation: Explanation) -> list[str]:
    """Return in words what the colours say and how images are sorted."""
    kind = "orange speaks for the class, purple against it" if explanation.signed else "yellow marks most"
    sentences = [
        f"The colours show {explanation.meaning}: {kind}. Each map is scaled to its own greatest value, so colours"
        " of different images cannot be compared."
    ]
    maps = [_map_words(model) for model in explanation.models if model.places is not None]
    if len(set(maps)) == 1:
        sentences.append(f"The map is that of {maps[0]}.")
    else:
        sentences += [
            f"{letter}'s map is that of {words}." for letter, words in zip("AB", maps, strict=False)
        ]
    if any(model.adjusted for model in explanation.models):
        sentences.append(
            "A run here adjusts the logits after training: the probabilities are those after it, the maps explain the"
            " network before it."
        )
    if explanation.attention is not None:
        (a, b), attention = explanation.models, explanation.attention
        sentences += [
            f"A is {a.run}, B is {b.run}. Each map is for the class written below it.",
            "Two maps count as the same attention if the rank correlation of their pixels (Spearman) is"
            f" {attention.same_from:.2f} or more, that is, if they put the places of the image in much the same"
            f" order, however strong they are. 1 is the same order, 0 no relation. Same: {attention.same:,},"
            f" different: {attention.different:,}.",
        ]
    return sentences


def _map_words(model: ModelFacts) -> str:
    (h, w), (height, width) = model.places or (0, 0), model.image_size
    return f"layer {model.layer}: {h} x {w} places, enlarged to {height} x {width} pixels"


def _scores(explanation: Explanation) -> list[tuple[str, float, float, float, float]]:
    rows = []
    for index, model in enumerate(explanation.models):
        views = [image.views[index] for image in explanation.images]
        deletions = [view.deletion for view in views if view.deletion is not None]
        insertions = [view.insertion for view in views if view.insertion is not None]
        if deletions and model.random_deletion is not None and model.random_insertion is not None:
            means = (sum(deletions) / len(deletions), sum(insertions) / len(insertions))
            rows.append((model.run, means[0], model.random_deletion, means[1], model.random_insertion))
    return rows


def _facts(explanation: Explanation) -> list[tuple[str, str]]:
    facts = [("Method", explanation.method)]
    for letter, model in zip("AB", explanation.models, strict=False):
        name = f"Model {letter}" if len(explanation.models) > 1 else "Model"
        facts.append((name, f"{model.run} ({model.network}, trained by {model.method})"))
    mapped = [model.run for model in explanation.models if (Path(model.run) / "embedding.json").exists()]
    if mapped:
        reports = "; ".join(f"counterpoise report {run}" for run in mapped)
        facts.append(("Map of the embedding", f"in the report: {reports}"))
    facts.append(("Skipped files", f"{len(explanation.skipped):,}"))
    return facts


def _thumbnail(folder: Path, name: str) -> str:
    """Return a picture as a data URI: small ones as they are, large ones reduced."""
    from PIL import Image

    content, kind = (folder / name).read_bytes(), "png"
    with Image.open(io.BytesIO(content)) as picture:
        if max(picture.size) > _SMALL:
            picture.thumbnail((_THUMBNAIL, _THUMBNAIL))
            buffer = io.BytesIO()
            picture.convert("RGB").save(buffer, format="JPEG", quality=85)
            content, kind = buffer.getvalue(), "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
