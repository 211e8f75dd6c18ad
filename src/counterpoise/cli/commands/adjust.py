"""``counterpoise adjust``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from counterpoise.cli import options as o
from counterpoise.cli.printing import advise, print_json, print_table, say, score

if TYPE_CHECKING:
    from counterpoise.inference import AdjustedRun, AdjustmentPlan

PANEL = "Use a model"
FEW_IMAGES = 10


def command(
    run: o.Run,
    data: Annotated[
        str | None,
        typer.Argument(
            metavar="DATA",
            show_default="as the run was trained on",
            help="The data set of the run, where it lies elsewhere now.",
        ),
    ] = None,
    adjustment: Annotated[
        str,
        typer.Option("--with", metavar="NAME", help="What to do; with options: class-thresholds:score=f1."),
    ] = "class-thresholds",
    tuned_score: Annotated[
        str | None,
        typer.Option(
            "--score",
            metavar="NAME",
            show_default="gmean",
            help="What class-thresholds makes highest: gmean, f1, recall, precision, specificity, accuracy, youden.",
        ),
    ] = None,
    costs: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="What mistakes cost, a .csv or .json: a row for each true class, a column for each predicted one. "
            "Shown in the table; class-thresholds without --score and expected-cost make the cost lowest.",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", show_default="RUN-adjusted-NAME", help="The new run folder.")
    ] = None,
    data_dir: o.DataDir = None,
    strict: o.Strict = False,
    device: o.Device = "auto",
    as_json: o.AsJson = False,
) -> None:
    """Give a trained model other decisions, without training, and show what that changes on its test images.

    The network stays as it is. What is done to its outputs is learned from the run's own validation images;
    the result is a new run folder for `evaluate`, `predict` and `report`.
    An adjustment that the run has already is replaced.

    class-thresholds: a threshold for each class, tuned for a score or by costs.
    logit-adjustment: take the class shares of the training images off (tau=1, or tau=validation).
    expected-cost: the decision of least expected cost; needs --costs, and no validation images.
    temperature-scaling: honest probabilities, the same decisions.
    sigmoid-scores: for one-vs-rest networks (thresholds=none, youden or a score).
    """
    from counterpoise.cli.progress import counting
    from counterpoise.cli.running import report_skipped
    from counterpoise.inference import adjust_run, load_for_run, plan_adjustment
    from counterpoise.runs.folder import RunFolder

    plan = plan_adjustment(RunFolder.open(run), adjustment, score=tuned_score, costs=costs, out=out)
    source = data or plan.base.record["dataset"]["source"]
    with counting("reading images", "img") as update:
        dataset = load_for_run(plan.base, source, data_dir=data_dir, strict=strict, progress=update)
    report_skipped(dataset.skipped)
    adjusted = adjust_run(plan, dataset, device=device)
    if as_json:
        print_json(_summary(plan, adjusted))
    else:
        _show(plan, adjusted, source, data_dir)


def _summary(plan: AdjustmentPlan, adjusted: AdjustedRun) -> dict[str, Any]:
    return {
        "run": str(adjusted.folder.path),
        "from": str(plan.base.path),
        "with": plan.spec,
        "before": adjusted.before,
        "after": adjusted.after,
        "cost_before": adjusted.cost_before,
        "cost_after": adjusted.cost_after,
        "adjust": adjusted.folder.record["adjust"],
    }


def _show(plan: AdjustmentPlan, adjusted: AdjustedRun, source: str, data_dir: Path | None) -> None:
    from counterpoise.cli.running import show_next

    record = adjusted.folder.record
    name = record["dataset"]["name"]
    if adjusted.before is None or adjusted.after is None:
        say(f"{name} has too few images to keep any for testing: there are no scores")
    else:
        say(f"{plan.base.record['method']} on {name}, adjusted by {plan.spec}")
        _show_table(plan, adjusted.before, adjusted.after, (adjusted.cost_before, adjusted.cost_after))
    for key, value in record["adjust"]["learned"].items():
        if isinstance(value, float):
            say(f"{key.rstrip('_')}: {value:.4g}")
    _warn_of_few_images(plan)
    say(f"run: {adjusted.folder.path}")
    where = () if data_dir is None else ("--data-dir", data_dir)
    show_next(adjusted.folder.path, "evaluate", adjusted.folder.path, source, *where)


def _show_table(
    plan: AdjustmentPlan,
    before: Mapping[str, Any],
    after: Mapping[str, Any],
    costs: tuple[float | None, float | None],
) -> None:
    from counterpoise.evaluation import column_title, compact_columns

    shown = [(metric.name, group.name) for metric, group in compact_columns()]
    rows = [
        [
            name,
            *(score((scores[group] or {}).get(metric)) for metric, group in shown),
            score(scores["calibration_error"]),
            *([] if cost is None else [f"{cost:.4g}"]),
        ]
        for name, scores, cost in (("before", before, costs[0]), ("after", after, costs[1]))
    ]
    columns = ["", *(column_title(*column) for column in shown), "calibration"]
    title = f"scores on the run's own {after['n']:,} test images"
    print_table([*columns, *(["mean cost"] if plan.costs is not None else [])], rows, title=title, best=1)
    say("calibration: mean gap between how sure the model is and how often it is right; lower is better")


def _warn_of_few_images(plan: AdjustmentPlan) -> None:
    """Say so where what was learned about a class rests on a handful of images."""
    counts = plan.manifest.counts["validation"]
    if not plan.build().needs_logits or min(counts) >= FEW_IMAGES:
        return
    fewest = counts.index(min(counts))
    name, images = plan.manifest.classes[fewest], "image" if counts[fewest] == 1 else "images"
    advise(
        f"only {counts[fewest]} validation {images} of {name}: what was learned of it need not hold elsewhere"
    )
