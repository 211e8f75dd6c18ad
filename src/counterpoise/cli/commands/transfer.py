"""``counterpoise transfer``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from counterpoise.cli import options as o
from counterpoise.cli.collecting import collects_options
from counterpoise.cli.printing import advise, command_line, complain, interval, print_json, print_table, say
from counterpoise.exceptions import InputError

if TYPE_CHECKING:
    from counterpoise.studies.transfer.results import TransferSummary

PANEL = "Studies"


@collects_options
def command(
    context: typer.Context,
    data: o.Source,
    *,
    split: Annotated[
        str,
        typer.Option(
            metavar="HOW",
            help="Tasks A and B: random halves of the classes, natural (A man-made, B natural; CIFAR-10), "
            'or "A=cat,dog;B=ship,truck".',
        ),
    ] = "random",
    layers: Annotated[
        str, typer.Option(metavar="WHICH", help="How many layers to copy: 1..7, or 1,3,5,7.")
    ] = "1..7",
    draws: Annotated[int, typer.Option(metavar="N", help="How often to draw tasks and images.")] = 2,
    images_per_class: Annotated[
        int, typer.Option(metavar="N", help="Training images of each class of the target B; 0: all.")
    ] = 300,
    source_images_per_class: Annotated[
        int, typer.Option(metavar="N", help="Training images of each class of the source A; 0: all.")
    ] = 2500,
    test_fraction: Annotated[
        float | None,
        typer.Option(
            "--test",
            metavar="SHARE",
            show_default="0.2",
            help="Share held out as test images, where there is no test split.",
        ),
    ] = None,
    backbone: Annotated[
        str, typer.Option(metavar="NAME", help="A chain of layers: alexnet8, convnet, lenet, vgg16.")
    ] = "alexnet8",
    epochs: Annotated[int, typer.Option(metavar="N", help="Passes over the training images.")] = 10,
    batch_size: Annotated[int, typer.Option(metavar="N", help="Images per step.")] = 64,
    lr: Annotated[float, typer.Option("--lr", metavar="RATE", help="Largest learning rate.")] = 1e-3,
    schedule: Annotated[
        str, typer.Option(metavar="NAME", help="Course of the learning rate: constant, cosine, one-cycle.")
    ] = "one-cycle",
    seed: Annotated[int, typer.Option(metavar="N", help="All that is random follows from it.")] = 0,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", show_default="out/NAME-transfer-HOW", help="Folder for all results."),
    ] = None,
    jobs: Annotated[
        int | None, typer.Option(metavar="N", show_default="one per core", help="Trainings at the same time.")
    ] = None,
    as_json: o.AsJson = False,
    reading: o.Reading,
    machine: o.Machine,
) -> None:
    """Which layers carry over from task A to task B? The lecture's baseB, BnB, BnB+, AnB, AnB+, with its figure.

    Finished trainings are kept: give the command again to go on after an interruption, or to add layers and draws.
    """
    from counterpoise.cli.running import load

    if jobs is not None and jobs < 1:
        raise InputError(
            f"--jobs {jobs}: at least one training at a time is needed; leave it out for one per core"
        )
    dataset = load(data, **vars(reading))

    from counterpoise.cli.progress import watching
    from counterpoise.cli.running import folder_for
    from counterpoise.studies.transfer.plan import make_transfer_plan
    from counterpoise.studies.transfer.study import run_transfer

    plan = make_transfer_plan(
        dataset,
        source=data,
        split=split,
        layers=layers,
        draws=draws,
        backbone=backbone,
        images_per_class=images_per_class or None,
        source_images_per_class=source_images_per_class or None,
        test_fraction=test_fraction,
        command=command_line(*context.obj),
        epochs=epochs,
        batch_size=batch_size,
        lr=lr,
        schedule=schedule,
        seed=seed,
        **machine.settings(threads=1),
    )
    folder = out or folder_for(dataset, "transfer", split)
    with watching(len(plan.cells)) as on_event:
        result = run_transfer(plan, dataset, folder, jobs=jobs, on_event=on_event)
    if as_json:
        print_json(result.summary)
    else:
        _show(result.summary, folder)
    for failure in result.summary["failed"]:
        complain(f"{failure['name']}, draw {failure['draw']}, failed: {failure['error']}")
    if result.summary["failed"]:
        raise typer.Exit(1)


def _show(summary: TransferSummary, folder: Path) -> None:
    from counterpoise.studies.transfer.page import signed, verdict
    from counterpoise.studies.transfer.plan import TREATMENTS

    points = {(point["treatment"], point["layers"]): point for point in summary["curves"]}
    rows = [
        [str(n), *(interval(points.get((treatment, n))) for treatment in TREATMENTS)]
        for n in summary["layers"]
    ]
    task = summary["tasks"][0]
    more = " (draw 0)" if summary["split"] == "random" and summary["draws"] > 1 else ""
    say(f"A: {', '.join(task['A'])}{more}")
    say(f"B: {', '.join(task['B'])}{more}")
    draws = f"{summary['draws']} draw{'s' if summary['draws'] != 1 else ''}"
    kind = "mean ± 95 % interval" if summary["draws"] > 1 else "values"
    print_table(["n", *TREATMENTS], rows, title=f"accuracy on the test images of B: {kind} of {draws}")
    say(f"baseB, trained on B from nothing: {interval(points.get(('baseB', 0)))}")
    say(f"baseA, on the test images of A: {interval(points.get(('baseA', 0)))}")
    for finding in summary["findings"]:
        advise(f"{finding['claim']}: {verdict(finding)} ({finding['measure']}: {signed(finding)})")
    if summary["curves"]:
        say(f"figure: {folder / 'transfer.png'}")
        say(f"report: {folder / 'transfer.html'}")
