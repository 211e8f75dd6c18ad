"""``counterpoise demo``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from counterpoise.cli import options as o
from counterpoise.cli.printing import command_line

PANEL = "Start here"
METHODS = "bl,bl-cw,ros,bl-ros-rus,fs-smote,ados,balanced-softmax,logit-adjusted"


def command(
    context: typer.Context,
    draws: o.Draws = 5,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for runs, results and report.")] = Path(
        "out/demo"
    ),
    as_json: o.AsJson = False,
) -> None:
    """Compare methods on handwritten digits, four of them made 20 times rarer; no download, under a minute."""
    from counterpoise.cli.running import carry_out, conclude, load
    from counterpoise.methods import parse_methods
    from counterpoise.studies.engine.grid import make_grid

    dataset = load("digits")
    study = make_grid(
        dataset,
        source="digits",
        methods=parse_methods(METHODS),
        draws=draws,
        imbalance="step",
        ratio=20,
        minority="4",
        epochs=15,
        batch_size=32,
        command=command_line(*context.obj),
    )
    result = carry_out(study, dataset, out, jobs=None)
    conclude(result, study, out, as_json=as_json)
