"""``counterpoise reproduce``."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from counterpoise.cli import options as o
from counterpoise.cli.printing import advise, command_line, complain, print_json, print_table, say
from counterpoise.exceptions import InputError

if TYPE_CHECKING:
    from counterpoise.studies.reproduce.summary import TableSummary

PANEL = "Studies"


def command(
    context: typer.Context,
    table: Annotated[
        str | None,
        typer.Argument(
            metavar="[TABLE]", show_default=False, help="One of the published tables; none: list them."
        ),
    ] = None,
    *,
    draws: Annotated[
        int | None,
        typer.Option(
            metavar="N", show_default="the table's own", help="How often to draw the images and train anew."
        ),
    ] = None,
    subset: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Rehearse on N training images of each class at most: not the published protocol.",
        ),
    ] = None,
    only: Annotated[
        str | None,
        typer.Option(metavar="LINES", help="Run these lines of the table now; names with commas between."),
    ] = None,
    page_only: Annotated[
        bool,
        typer.Option(
            "--page-only", help="Run nothing: write results and page anew of the runs that there are."
        ),
    ] = False,
    publish_to: Annotated[
        Path | None,
        typer.Option("--publish", metavar="DIR", help="Copy the results, without the runs, to this folder."),
    ] = None,
    earlier: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Go on from results that --publish left in DIR, on whatever machine: their runs count as done.",
        ),
    ] = None,
    jobs: Annotated[
        int | None, typer.Option(metavar="N", show_default="one per core", help="Runs at the same time.")
    ] = None,
    backend: Annotated[
        str,
        typer.Option(metavar="NAME", help="Where runs are: loky (this machine), ray or dask (a cluster)."),
    ] = "loky",
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", show_default="out/TABLE", help="Folder for runs and results."),
    ] = None,
    data_dir: o.DataDir = None,
    device: o.Device = "auto",
    as_json: o.AsJson = False,
) -> None:
    """Make a published table again, and put its numbers beside ours.

    Every run is kept: give the command again to go on after an interruption, or to add draws.
    """
    from counterpoise.studies.reproduce.tables import all_tables, get_table

    if table is None:
        print_table(["table", "what it shows", "from"], [[t.name, t.title, t.paper] for t in all_tables()])
        return
    chosen = get_table(table)
    if chosen.study != "methods":
        from counterpoise.studies.reproduce.commands import absent_images, study_commands

        commands = " and ".join(command_line(*words) for words in study_commands(chosen, data_dir, out))
        absent = "".join(f"; {words}" for words in absent_images(chosen, data_dir))
        raise InputError(f"{table} is a study of its own, with a page of its own; give {commands}{absent}")
    if jobs is not None and jobs < 1:
        raise InputError(
            f"--jobs {jobs}: at least one run at a time is needed; leave it out for one per core"
        )

    from counterpoise.cli.progress import watching
    from counterpoise.cli.running import load
    from counterpoise.studies.reproduce.plan import plan_table
    from counterpoise.studies.reproduce.study import publish, reproduce_table

    folder = out or Path("out") / table
    plan = plan_table(
        chosen,
        draws=draws,
        subset=subset,
        data_dir=data_dir,
        device=device,
        command=command_line(*context.obj),
        load=partial(load, quiet=as_json),
    )
    lines = tuple(name.strip() for name in only.split(",")) if only else ()
    with watching(0 if page_only else len(plan.only(lines).runs())) as on_event:
        result = reproduce_table(
            plan,
            folder,
            only=lines,
            earlier=earlier,
            page_only=page_only,
            jobs=jobs,
            backend=backend,
            on_event=on_event,
        )
    if publish_to is not None:
        publish(folder, publish_to)
    if as_json:
        print_json(result.summary)
    else:
        _show(result.summary, folder)
    for failure in result.summary["failed"]:
        complain(f"{failure['method']}, draw {failure['draw']}, failed: {failure['error']}")
    if result.summary["failed"]:
        raise typer.Exit(1)


def _show(summary: TableSummary, folder: Path) -> None:
    from counterpoise.studies.reproduce import words

    for sentence in words.closeness(summary) + words.verdicts(summary):
        advise(sentence)
    runs = summary["runs"]
    earlier = f", {runs['earlier']} of them earlier" if runs["earlier"] else ""
    say(
        f"{runs['done']} of {runs['planned']} runs done{earlier}; the whole table takes {runs['trainings']} networks"
    )
    say(f"published beside ours: {folder / 'page.html'}")
