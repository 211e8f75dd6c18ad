"""Adjust the decisions of a trained model, without training, and show the effect on its test images.

The network stays as it is. The adjustment of its logits is learned from the run's own validation images; the result is
a new run folder for `evaluate`, `predict` and `report`. An adjustment that the run has already is replaced.

class-thresholds: a threshold for each class, tuned for a metric or by costs.

logit-adjustment: subtracts the log class shares of the training set (tau=1, or tau=validation).

expected-cost: the decision of least expected cost; needs --costs, and no validation images.

temperature-scaling: calibrated probabilities, the same decisions.

sigmoid-scores: for one-vs-rest networks (thresholds=none, youden or a score).
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from counterpoise.cli.options import Call, Command
from counterpoise.cli.printing import advise, print_json, print_table, say, score
from counterpoise.cli.running import in_data_dir, load_for, show_next
from counterpoise.config import AdjustConfig

if TYPE_CHECKING:
    from counterpoise.inference import AdjustedRun, AdjustmentPlan

PANEL = "Use a model"
ORDER = 90
FEW_IMAGES = 10


@Command
def command(config: AdjustConfig, call: Call) -> None:
    from counterpoise.inference import adjust_run, plan_adjustment
    from counterpoise.runs import RunFolder

    base = RunFolder.open(config.run)
    plan = plan_adjustment(base, config.adjustment, score=config.target, costs=config.costs, out=config.out)
    dataset = load_for(base, config.source, data_dir=config.data_dir, strict=config.strict)
    adjusted = adjust_run(plan, dataset, device=config.device)
    if call.as_json:
        paths = {"run": str(adjusted.folder.path), "from": str(plan.base.path), "with": plan.spec}
        scores = {"before": adjusted.before, "after": adjusted.after}
        costs = {"cost_before": adjusted.cost_before, "cost_after": adjusted.cost_after}
        print_json(paths | scores | costs | {"adjust": adjusted.folder.record.raw["adjust"]})
    else:
        _show(plan, adjusted, config)


def _show(plan: "AdjustmentPlan", adjusted: "AdjustedRun", config: AdjustConfig) -> None:
    record = adjusted.folder.record
    name = record.dataset.name
    if adjusted.before is None or adjusted.after is None:
        say(f"{name} has too few images to keep any for testing: there are no scores")
    else:
        say(f"{plan.base.record.method} on {name}, adjusted by {plan.spec}")
        before = ("before", adjusted.before, adjusted.cost_before)
        _show_table(before, ("after", adjusted.after, adjusted.cost_after))
    for key, value in record.adjust.learned.items() if record.adjust else ():
        if isinstance(value, float):
            say(f"{key.rstrip('_')}: {value:.4g}")
    counts = plan.manifest.counts["validation"]
    if plan.build().needs_logits and min(counts) < FEW_IMAGES:
        fewest = counts.index(min(counts))
        name, images = plan.manifest.classes[fewest], "image" if counts[fewest] == 1 else "images"
        advise(f"only {counts[fewest]} validation {images} of {name}: its adjustment may not generalize")
    say(f"run: {adjusted.folder.path}")
    source = config.source or plan.base.record.dataset.source
    words = ("evaluate", adjusted.folder.path, source, *in_data_dir(config.data_dir))
    show_next(adjusted.folder.path, *words)


def _show_table(*runs: tuple[str, Mapping[str, Any], float | None]) -> None:
    from counterpoise.evaluation import column_title, compact_columns

    shown = [(metric.name, group.name) for metric, group in compact_columns()]
    rows = [
        [
            name,
            *(score((scores[group] or {}).get(metric)) for metric, group in shown),
            score(scores["calibration_error"]),
            *([] if cost is None else [f"{cost:.4g}"]),
        ]
        for name, scores, cost in runs
    ]
    columns = ["", *(column_title(*column) for column in shown), "calibration"]
    _, after, cost = runs[-1]
    title = f"scores on the run's own {after['n']:,} test images"
    print_table([*columns, *(["mean cost"] if cost is not None else [])], rows, title=title, best=1)
    say("calibration: mean gap between confidence and accuracy; lower is better")
