"""``counterpoise enhance``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from counterpoise.cli import options as o
from counterpoise.cli.collecting import collects_options
from counterpoise.cli.printing import advise, command_line, complain, interval, print_json, print_table, say
from counterpoise.exceptions import InputError

if TYPE_CHECKING:
    from counterpoise.runs.folder import RunFolder
    from counterpoise.studies.enhance.summary import EnhanceSummary

PANEL = "Studies"


@collects_options
def command(
    context: typer.Context,
    data: o.Source,
    *,
    method: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="What the U-Net is trained with before the classifier: bl, balanced-softmax, ros or any other that "
            "acts on the images or by its loss.",
        ),
    ] = "bl",
    classifier_method: Annotated[
        str,
        typer.Option(metavar="NAME", help="What the classifier is trained with; see `counterpoise methods`."),
    ] = "bl",
    draws: o.Draws = 1,
    width: Annotated[
        int, typer.Option(metavar="N", help="Channels of the U-Net at the full size of the images.")
    ] = 16,
    copy_epochs: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            show_default="as many as give 250 steps",
            help="Epochs in which the U-Net learns to copy images.",
        ),
    ] = None,
    enhance_epochs: Annotated[
        int, typer.Option(metavar="N", help="Epochs in which it is trained on before the classifier.")
    ] = 3,
    fresh_epochs: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            show_default="as many as the two had one after the other",
            help="Epochs of the control: the U-Net and a fresh classifier, trained together.",
        ),
    ] = None,
    train_classifier: Annotated[
        bool, typer.Option("--train-classifier", help="Train the classifier on together with the U-Net.")
    ] = False,
    figures: Annotated[
        int, typer.Option(metavar="N", help="How many test images to show closely; 0 for none.")
    ] = 8,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", show_default="out/NAME-enhance", help="Folder for all results."),
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
    """Put a U-Net before a classifier and train it there: does that help, and more than training on would have?

    Finished runs are kept: give the command again to go on after an interruption, or to add draws.
    """
    from counterpoise.cli.running import load, reading_settings, show_notes
    from counterpoise.methods import get_method

    # What is wrong with these is said before torch is imported, which takes seconds.
    for name in (method, classifier_method):
        get_method(name)
    if jobs is not None and jobs < 1:
        raise InputError(
            f"--jobs {jobs}: at least one run at a time is needed; leave it out for one per core"
        )
    if figures < 0:
        raise InputError(f"--figures {figures}: give a number of images, or 0 for none")
    dataset = load(data, **reading_settings(reading, training.weights))

    from counterpoise.cli.progress import counting, watching
    from counterpoise.cli.running import folder_for
    from counterpoise.report.comparison_page import build_report
    from counterpoise.studies.enhance.plan import make_enhance_study
    from counterpoise.studies.enhance.study import first_pair, run_enhance, show_images

    study = make_enhance_study(
        dataset,
        source=data,
        method=method,
        classifier_method=classifier_method,
        draws=draws,
        width=width,
        copy_epochs=copy_epochs,
        enhance_epochs=enhance_epochs,
        fresh_epochs=fresh_epochs,
        train_classifier=train_classifier,
        command=command_line(*context.obj),
        **vars(splitting),
        **vars(training),
        **machine.settings(threads=1),
    )
    if not as_json:
        show_notes(study.classifiers)
    folder = out or folder_for(dataset, "enhance")
    runs = len(study.classifiers.plans(dataset)) + len(study.variant_plans(dataset))
    with watching(runs) as on_event:
        result = run_enhance(study, dataset, folder, jobs=jobs, on_event=on_event)
    if figures:
        with counting("drawing figures", "img") as update:
            show_images(result, dataset, folder, count=figures, on_progress=update)
    if len(result.table):
        build_report([folder], folder / "report.html")
    if as_json:
        print_json(result.summary)
    elif len(result.table):
        pair = first_pair(result)
        _show(result.summary, folder, pair and pair[1])
    for failure in result.summary["failed"]:
        complain(f"{failure['method']}, draw {failure['draw']}, failed: {failure['error']}")
    if result.summary["failed"]:
        raise typer.Exit(1)


def _show(summary: EnhanceSummary, folder: Path, enhanced: RunFolder | None) -> None:
    from counterpoise.report.kit.wording import describe_imbalance
    from counterpoise.studies.enhance.page import findings, gain_rows, shown_columns
    from counterpoise.studies.enhance.plan import ENHANCED

    columns = shown_columns(summary)

    def row(title: str, scores: dict[str, Any]) -> list[str]:
        return [title, *(interval(scores.get(group, {}).get(metric)) for _, group, metric in columns)]

    names = ["", *(name for name, _, _ in columns)]
    kind = "mean ± 95 % interval" if summary["draws"] > 1 else "values"
    draws = f"{kind} of {summary['draws']} draw{'s' if summary['draws'] != 1 else ''}"
    say(f"{summary['dataset']}, {describe_imbalance(summary['imbalance'])}, {summary['network']}")
    rows = [row(entry["title"], entry["scores"]) for entry in summary["methods"]]
    best = next(i for i, entry in enumerate(summary["methods"]) if entry["method"] == ENHANCED)
    print_table(names, rows, title=f"scores on test images: {draws}", best=best)
    print_table(names, gain_rows(summary), title=f"what the enhanced images gain over: {draws}")
    titles = {entry["method"]: entry["title"] for entry in summary["methods"]}
    full = [row(titles[name], scores) for name, scores in summary["full"].items()]
    print_table(names, full, title="on train+test, which the slides call full: no measure of new images")
    for entry in summary["slides"]:
        say(
            f"the slides, with VGG-16, on {entry['evaluated_on']}: accuracy {entry['classifier']:.3f} -> "
            f"{entry['combined']:.3f}"
        )
    for sentence in findings(summary):
        advise(sentence)
    say(f"figures: {folder / 'enhance.html'}")
    say(f"report: {folder / 'report.html'}")
    if enhanced is not None:
        say(f"next: {command_line('predict', enhanced.path)} PHOTOS   (the U-Net with its classifier)")
