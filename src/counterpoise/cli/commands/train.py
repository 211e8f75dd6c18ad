"""``counterpoise train``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from counterpoise.cli import options as o
from counterpoise.cli.collecting import collects_options
from counterpoise.cli.printing import print_json, say

PANEL = "Train"


@collects_options
def command(
    data: o.Source,
    *,
    method: Annotated[
        str, typer.Option(metavar="NAME", help="See `counterpoise methods`; with options: ados:nu_max=30.")
    ] = "balanced-softmax",
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", show_default="out/NAME-METHOD", help="The run folder.")
    ] = None,
    as_json: o.AsJson = False,
    reading: o.Reading,
    splitting: o.Splitting,
    training: o.Training,
    machine: o.Machine,
) -> None:
    """Train one model into a run folder; give the command again to go on after an interruption."""
    from counterpoise.cli.running import load, reading_settings, show_frozen
    from counterpoise.methods import get_method

    # What is wrong with these is said before torch is imported, which takes seconds.
    chosen = get_method(method)
    dataset = load(data, **reading_settings(reading, training.weights))

    from counterpoise.cli.printing import show_scores
    from counterpoise.cli.running import folder_for, show_next, train_one
    from counterpoise.studies.engine.grid import make_grid
    from counterpoise.training import cpu_count

    study = make_grid(
        dataset,
        source=data,
        methods=[chosen],
        **vars(splitting),
        **vars(training),
        **machine.settings(threads=cpu_count()),
    )
    folder = train_one(study, dataset, out or folder_for(dataset, method), quiet=as_json)
    if as_json:
        print_json({"run": str(folder.path), "metrics": folder.metrics})
        return
    show_frozen(folder)
    scores = folder.metrics["test"]
    if scores is None:
        say(f"{dataset.name} has too few images to keep any for testing: there are no scores")
    else:
        show_scores(scores, f"{method} on the {scores['n']:,} test images of {dataset.name}")
    say(f"run: {folder.path}")
    show_next(folder.path, "report", folder.path)
