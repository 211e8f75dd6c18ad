"""``counterpoise compare``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from counterpoise.cli import options as o
from counterpoise.cli.collecting import collects_options
from counterpoise.cli.printing import command_line

PANEL = "Train"


@collects_options
def command(
    context: typer.Context,
    data: o.Source,
    *,
    methods: Annotated[
        str, typer.Option(metavar="A,B,...", help="Separated by commas; see `counterpoise methods`.")
    ] = "bl,bl-cw,balanced-softmax,ados",
    draws: o.Draws = 3,
    metric: Annotated[
        str, typer.Option(metavar="NAME", help="What the winner is chosen by, on validation images.")
    ] = "gmean",
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", show_default="out/NAME", help="Folder for runs, results and report."),
    ] = None,
    jobs: Annotated[
        int | None, typer.Option(metavar="N", show_default="one per core", help="Runs at the same time.")
    ] = None,
    as_json: o.AsJson = False,
    reading: o.Reading,
    splitting: o.Splitting,
    training: o.Training,
    machine: o.Machine,
) -> None:
    """Compare methods on the same draws: mean, 95 % interval, paired tests; the winner is kept as OUT/best.

    Finished runs are kept: give the command again to go on after an interruption, or to add methods and draws.
    """
    from counterpoise.cli.running import load, reading_settings
    from counterpoise.methods import parse_methods

    # What is wrong with these is said before torch is imported, which takes seconds.
    chosen = parse_methods(methods)
    dataset = load(data, **reading_settings(reading, training.weights))

    from counterpoise.cli.running import carry_out, conclude, folder_for
    from counterpoise.studies.engine.grid import make_grid

    study = make_grid(
        dataset,
        source=data,
        methods=chosen,
        draws=draws,
        metric=metric,
        command=command_line(*context.obj),
        **vars(splitting),
        **vars(training),
        **machine.settings(threads=1),
    )
    folder = out or folder_for(dataset)
    result = carry_out(study, dataset, folder, jobs=jobs, quiet=as_json)
    conclude(result, study, folder, data_dir=reading.data_dir, as_json=as_json)
