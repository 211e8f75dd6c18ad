"""The page about a transfer study: renders ``summary.json`` and the figure."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from counterpoise.report import Table, claim_text, count, mean_text
from counterpoise.report import write_page as write_template
from counterpoise.studies.transfer.plan import BASES, TREATMENTS

Summary = Mapping[str, Any]


def write_page(summary: Summary, picture: Path, path: Path) -> None:
    """Write the page of a summary; it holds the `picture` (a PNG) and asks nothing of the network."""
    tasks = [
        [str(t["draw"]), *(", ".join(map(str, part)) for part in (t["A"], t["B"], _trained_on(t)))]
        for t in summary["tasks"]
    ]
    write_template(
        path,
        "studies/transfer/transfer.html.j2",
        title=f"Transfer on {summary['dataset']}",
        subtitle=", ".join(
            [
                summary["network"],
                count(summary["draws"], "repeat"),
                count(summary["training"]["epochs"], "epoch"),
            ]
        ),
        sections=[
            ("claims", "Claims"),
            ("accuracy", "Accuracy"),
            ("tasks", "Tasks"),
            ("reading", "Treatments"),
        ],
        s=summary,
        file=picture,
        claims=Table(
            "Claims of the lecture", ["claim", "here", "measured"], finding_rows(summary), text=(1, 2)
        ),
        accuracy=Table("Accuracy on B", ["n", *TREATMENTS], table_rows(summary)),
        bases=base_sentences(summary),
        tasks=Table("Tasks", ["repeat", "source A", "target B", "training images A, B"], tasks, text=(1, 2)),
        failed=[f"repeat {f['draw']}, {f['name']}: {f['error']}" for f in summary["failed"]],
    )


def _trained_on(task: Mapping[str, Any]) -> list[int]:
    return [images["train"] for images in task["images"].values()]


def finding_rows(summary: Summary) -> list[list[str]]:
    """Return a row for each claim of the lecture: the claim, whether it holds here, and what was measured."""
    return [
        [f["claim"], claim_text(f["holds"], f["certain"]), f"{f['measure']}: {mean_of(f, sign=True)}"]
        for f in summary["findings"]
    ]


def table_rows(summary: Summary) -> list[list[str]]:
    """Return one row for each number of layers: n, then the accuracies of the treatments."""
    points = {(point["treatment"], point["layers"]): point for point in summary["curves"]}
    return [
        [str(n), *(mean_of(points.get((treatment, n), {})) for treatment in TREATMENTS)]
        for n in summary["layers"]
    ]


def base_sentences(summary: Summary) -> list[str]:
    """Return the accuracy of each base network, in a sentence."""
    return [
        f"{point['treatment']}: {mean_of(point)} on its own test images."
        for point in summary["curves"]
        if point["treatment"] in BASES
    ]


def mean_of(entry: Mapping[str, Any], *, sign: bool = False) -> str:
    """Return the mean of a curve's point or of a finding, with half its interval."""
    return mean_text(entry.get("mean"), entry.get("low"), entry.get("high"), sign=sign)
