"""``counterpoise report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from counterpoise.cli import options as o
from counterpoise.cli.printing import print_json, say

PANEL = "Use a model"


def command(
    paths: Annotated[
        list[Path],
        typer.Argument(metavar="PATH...", help="A comparison's folder, or one or more run folders."),
    ],
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", show_default="report.html in the first folder", help="The HTML file."),
    ] = None,
    as_json: o.AsJson = False,
) -> None:
    """Write one HTML file, readable offline, about a comparison or about runs."""
    from counterpoise.report.comparison_page import build_report

    target = build_report(paths, out or paths[0] / "report.html")
    if as_json:
        print_json({"report": str(target)})
    else:
        say(f"report: {target}")
