"""The page about explained images, written in chunks, so that thousands of them take no memory."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from counterpoise.inference.explanation import ExplainedImage, Explanation
from counterpoise.report import Table, count, legend_colors, write_page

MOST_PICTURES = 500
"""So many images are shown; the others are linked, or the page grows too heavy to open."""

_THUMBNAIL = 160
_SMALL = 64
_BESIDE = ". It is a part of the picture: the prediction also rests on features from other layers"


@dataclass(frozen=True)
class Group:
    """Images under one heading, of which the first are shown."""

    title: str
    words: str
    images: Sequence[ExplainedImage]
    shown: Sequence[ExplainedImage]


def build_explanation_page(explanation: Explanation, output: Path) -> Path:
    """Write one self-contained HTML file about the result of `explain_images`, whose pictures are still in its folder.

    The links of the page lead to the pictures if `output` lies in that folder.
    """
    groups = groups_of(explanation)
    titles = [f"{group.title} ({len(group.images):,})" for group in groups]
    write_page(
        output,
        "inference/explain.html.j2",
        title=_title(explanation),
        subtitle=_subtitle(explanation),
        sections=[(f"group-{number}", title) for number, title in enumerate(titles, start=1)],
        e=explanation,
        maps=_maps(explanation),
        colors=legend_colors(signed=explanation.signed),
        scores=_scores(explanation),
        groups=groups,
        facts=_facts(explanation),
        thumbnail=partial(_thumbnail, explanation.folder),
    )
    return output


def groups_of(explanation: Explanation) -> list[Group]:
    """Sort images under headings: of two models by whether their maps agree, of one by whether it is correct.

    Empty groups are left out. Of two models, the images whose maps differ most come first.
    """
    images = explanation.images
    if explanation.attention is not None:
        ordered = sorted(images, key=lambda image: image.similarity or 0.0)
        limit = f"{explanation.attention.same_from:.2f}"
        different = f"The maps' rank correlation is below {limit}; the most different come first."
        same = f"The maps' rank correlation is {limit} or more."
        found = [
            ("Different attention", different, [image for image in ordered if not image.same]),
            ("Same attention", same, [image for image in ordered if image.same]),
        ]
    else:
        known = [image for image in images if image.true is not None]
        wrong = [image for image in known if image.views[0].predicted != image.true]
        unknown = "True class unknown: the folders are not named like a class."
        found = [
            ("Wrong", "The prediction differs from the folder's class.", wrong),
            ("Right", "", [image for image in known if image.views[0].predicted == image.true]),
            ("Images", unknown, [image for image in images if image.true is None]),
        ]
    room, groups = MOST_PICTURES, []
    for title, words, chosen in found:
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
    known = [image for image in explanation.images if image.true is not None]
    parts = [count(len(explanation.images), "image"), explanation.method]
    for letter, index in zip("AB", range(len(explanation.models)), strict=False):
        if known:
            right = sum(image.views[index].predicted == image.true for image in known)
            who = f"{letter} is correct" if len(explanation.models) > 1 else "correct"
            parts.append(f"{who} on {right:,} of {len(known):,} with a known class")
    return " · ".join(parts)


def _maps(explanation: Explanation) -> list[str]:
    """Return which map is shown, once where it is the same for both models."""
    maps = [
        f"layer {model.layer}: {model.places[0]} x {model.places[1]} places, enlarged to "
        f"{model.image_size[0]} x {model.image_size[1]} pixels{_BESIDE if model.bypassed else ''}"
        for model in explanation.models
        if model.places is not None
    ]
    if len(set(maps)) == 1:
        return [f"The map is that of {maps[0]}."]
    return [f"{letter}'s map is that of {words}." for letter, words in zip("AB", maps, strict=False)]


def _scores(explanation: Explanation) -> Table:
    rows = []
    for index, model in enumerate(explanation.models):
        views = [image.views[index] for image in explanation.images]
        deletions = [view.deletion for view in views if view.deletion is not None]
        insertions = [view.insertion for view in views if view.insertion is not None]
        if deletions and model.random_deletion is not None and model.random_insertion is not None:
            means = (sum(deletions) / len(deletions), sum(insertions) / len(insertions))
            values = (means[0], model.random_deletion, means[1], model.random_insertion)
            rows.append([model.run, *(f"{value:.3f}" for value in values)])
    head = ["Model", "Deletion", "of random maps", "Insertion", "of random maps"]
    return Table("Scores of the maps", head, rows, wide=True)


def _facts(explanation: Explanation) -> list[tuple[str, str]]:
    facts = [("Method", explanation.method)]
    for letter, model in zip("AB", explanation.models, strict=False):
        name = f"Model {letter}" if len(explanation.models) > 1 else "Model"
        facts.append((name, f"{model.run} ({model.network}, trained by {model.method})"))
    mapped = [model.run for model in explanation.models if (Path(model.run) / "embedding.json").exists()]
    if mapped:
        reports = "; ".join(f"counterpoise report {run}" for run in mapped)
        facts.append(("Map of the embedding", f"in the report: {reports}"))
    return [*facts, ("Skipped files", f"{len(explanation.skipped):,}")]


def _thumbnail(folder: Path, name: str) -> str:
    """Return a picture as a data URI, a large one reduced."""
    from PIL import Image

    content, kind = (folder / name).read_bytes(), "png"
    with Image.open(io.BytesIO(content)) as picture:
        if max(picture.size) > _SMALL:
            picture.thumbnail((_THUMBNAIL, _THUMBNAIL))
            buffer = io.BytesIO()
            picture.convert("RGB").save(buffer, format="JPEG", quality=85)
            content, kind = buffer.getvalue(), "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
