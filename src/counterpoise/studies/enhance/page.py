"""The page about an enhancement study: renders ``summary.json`` and the figures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from counterpoise.explain import SAME_FROM
from counterpoise.report import Cell, Line, Table, count, p_text, percent
from counterpoise.report import write_page as write_template
from counterpoise.studies.enhance.conclusions import (
    Summary,
    findings,
    gain_rows,
    score_cells,
    shown_columns,
    titles_of,
)
from counterpoise.studies.enhance.plan import ENHANCED

CONVOLUTION = "The feature maps of the original image and of the changed one, and close-ups."
SECTIONS = (
    ("pixels", "Input, output and their difference", "What the U-Net adds and takes away."),
    (
        "different",
        "Grad-CAM: different",
        "The classifier attends to different regions of the changed image: the rank correlation of the maps is below "
        f"{SAME_FROM}.",
    ),
    (
        "same",
        "Grad-CAM: same",
        "The classifier attends to the same regions of both images: the rank correlation of the maps is at least "
        f"{SAME_FROM}.",
    ),
    ("conv1", "First convolution", CONVOLUTION),
    ("conv2", "Second convolution", CONVOLUTION),
)


def write_page(summary: Summary, pictures: Path, path: Path) -> None:
    """Write the page of a summary; it holds its figures, of the folder `pictures`, and asks nothing of the network."""
    sections = SECTIONS if summary["images"] else ()
    repeats = count(summary["draws"], "repeat")
    write_template(
        path,
        "studies/enhance/enhance.html.j2",
        title=f"A learned perturbation on {summary['dataset']}",
        subtitle=f"{summary['network']}, U-Net of width {summary['width']}, {repeats}",
        sections=[
            ("findings", "Findings"),
            ("scores", "Scores"),
            ("changes", "Right and wrong"),
            *((key, title) for key, title, _ in sections),
        ],
        s=summary,
        findings=[finding.text for finding in findings(summary)],
        tables=_tables(summary),
        figures=[(*section, _entries(section[0], summary["images"], pictures)) for section in sections],
        failed=[f"repeat {f['draw']}, {f['method']}: {f['error']}" for f in summary["failed"]],
    )


def _tables(summary: Summary) -> dict[str, Table]:
    titles, names = titles_of(summary), [name for name, _, _ in shown_columns(summary)]
    scores: list[list[Cell]] = [
        [[Line(entry["title"]), Line(entry["what"], "note")], *score_cells(summary, entry["scores"])]
        for entry in summary["methods"]
    ]
    main = [i for i, entry in enumerate(summary["methods"]) if entry["method"] == ENHANCED]
    full = [[titles[name], *score_cells(summary, own)] for name, own in summary["full"].items()]
    slides = [
        [p["evaluated_on"], f"{p['classifier']:.3f}", f"{p['combined']:.3f}"] for p in summary["slides"]
    ]
    changes = [
        [str(c["draw"]), titles[c["before"]]]
        + [str(c[key]) for key in ("wrong_to_right", "right_to_wrong", "both_right", "both_wrong")]
        + [p_text(c["p_value"])]
        for c in summary["changes"]
    ]
    answers = ["wrong → right", "right → wrong", "both right", "both wrong"]
    return {
        "scores": Table("Scores", ["variant", *names], scores, stressed=main),
        "gains": Table("Gains of the enhanced images", ["over", *names], gain_rows(summary)),
        "full": Table("Scores on training and test images", ["variant", *names], full),
        "slides": Table("The slides", ["accuracy on", "classifier", "combined"], slides),
        "changes": Table("Changed answers", ["repeat", "against", *answers, "p"], changes, text=(1,)),
    }


def _entries(key: str, images: list[dict[str, Any]], pictures: Path) -> list[tuple[Path, str]]:
    """Return the figures of a section, each with its caption."""
    kind = "grad-cam" if key in ("same", "different") else key
    return [
        (pictures / shown["figures"][kind], caption(shown["image"]))
        for shown in images
        if kind in shown["figures"] and (kind != "grad-cam" or shown["same"] == (key == "same"))
    ]


def caption(image: Mapping[str, Any]) -> str:
    """Return what an image is and how the prediction changes."""
    before, after = (percent(image[f"probability_{when}"]) for when in ("before", "after"))
    return (
        f"{image['path']}, true class {image['true']}: {image['before']} → {image['after']} ({image['change']}; "
        f"probability of {image['true']} {before} → {after})"
    )
