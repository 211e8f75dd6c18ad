"""Adjust the decisions of a trained model, without training, and show the effect on its test images.

The network stays as it is. The adjustment of its logits is learned from the run's own validation images, or, after
`fit`, from what models that had not seen a training image predicted for it. The result is a new run folder for
`evaluate`, `predict` and `report`. An adjustment that the run has already is replaced.

class-thresholds: a threshold for each class, tuned for a metric or by costs.

logit-adjustment: subtracts the log class shares of the training set (tau=1, or tau=validation).

expected-cost: the decision of least expected cost; needs --costs, and no validation images.

temperature-scaling: calibrated probabilities, the same decisions.

required-rates: thresholds that keep the promises of --require, say recall:crack>=0.95, for new images of the same kind.

sigmoid-scores: for one-vs-rest networks (thresholds=none, youden or a score).
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from counterpoise.cli.options import Call, Command
from counterpoise.cli.printing import advise, print_json, print_table, say, score
from counterpoise.cli.running import in_data_dir, load_for, show_next, show_notes
from counterpoise.config import AdjustConfig

if TYPE_CHECKING:
    from counterpoise.inference import AdjustedRun, AdjustmentPlan

PANEL = "Use a model"
ORDER = 90
FEW_IMAGES = 10


@Command
def command(config: AdjustConfig, call: Call) -> None:
    from counterpoise.evaluation import absent_classes
    from counterpoise.inference import adjust_run, plan_adjustment
    from counterpoise.runs import RunFolder

    base = RunFolder.open(config.run)
    # A promise asks for the adjustment that makes one, unless another than the default is named.
    promises = bool(config.require) and config.adjustment == type(config).model_fields["adjustment"].default
    plan = plan_adjustment(
        base,
        "required-rates" if promises else config.adjustment,
        score=config.target,
        costs=config.costs,
        require=config.require,
        confidence=config.confidence,
        out=config.out,
    )
    dataset = load_for(base, config.source, data_dir=config.data_dir, strict=config.strict)
    plan.split(dataset)  # other images are refused before anything is said about these
    notes = [
        *absent_classes(plan.manifest.counts, plan.manifest.classes),
        *([few] if not promises and plan.build().needs_logits and (few := _few_images(plan)) else []),
    ]
    show_notes(notes, as_json=call.as_json)
    adjusted = adjust_run(plan, dataset, device=config.device, batch_size=config.batch_size)
    if call.as_json:
        paths = {"run": str(adjusted.folder.path), "from": str(plan.base.path), "with": plan.spec}
        scores = {"before": adjusted.before, "after": adjusted.after}
        costs = {"cost_before": adjusted.cost_before, "cost_after": adjusted.cost_after}
        promises = {"promises": _promises(adjusted)} if config.require else {}
        more = {"adjust": adjusted.folder.record.raw["adjust"], "notes": notes}
        print_json(paths | scores | costs | promises | more)
    else:
        _show(plan, adjusted, config)


def _kind(plan: "AdjustmentPlan") -> str:
    return "validation" if sum(plan.manifest.counts["validation"]) else "held-out"


def _few_images(plan: "AdjustmentPlan") -> str:
    """Return a warning that names the classes with few held-out images, empty without any."""
    from counterpoise.evaluation import few_classes

    counts, kind = plan.held_out_counts, _kind(plan)
    known = [(name, n) for name, n in zip(plan.manifest.classes, counts, strict=True) if n]
    names, numbers = [name for name, _ in known], [n for _, n in known]
    few = few_classes(numbers, names, fewer_than=FEW_IMAGES, unit=f"{kind} image")
    return f"few {kind} images, so the adjustment of these classes may not generalize: {few}" if few else ""


def _show(plan: "AdjustmentPlan", adjusted: "AdjustedRun", config: AdjustConfig) -> None:
    record = adjusted.folder.record
    name = record.dataset.name
    if adjusted.before is None or adjusted.after is None:
        say(f"{name} has too few images to keep any for testing: there are no scores")
    else:
        say(f"{plan.base.record.method} on {name}, adjusted by {plan.spec}")
        before = ("before", adjusted.before, adjusted.cost_before)
        learns, images = plan.build().needs_logits, f"{sum(plan.held_out_counts):,} {_kind(plan)} images"
        tuned_on = f"; tuned on {images}" if learns else ""
        _show_table(tuned_on, before, ("after", adjusted.after, adjusted.cost_after))
    for key, value in record.adjust.learned.items() if record.adjust else ():
        if isinstance(value, float):
            say(f"{key.rstrip('_')}: {value:.4g}")
    for sentence in _promises(adjusted):
        advise(sentence)
    say(f"run: {adjusted.folder.path}")
    source = config.source or plan.base.record.dataset.source
    words = ("evaluate", adjusted.folder.path, source, *in_data_dir(config.data_dir))
    show_next(adjusted.folder.path, *words)


def _promises(adjusted: "AdjustedRun") -> list[str]:
    """Return what an adjustment promises, and at which cost, in words."""
    from counterpoise.balance.adjust import RequiredRates
    from counterpoise.inference import load_adjustment

    adjustment = load_adjustment(adjusted.folder)
    return adjustment.describe() if isinstance(adjustment, RequiredRates) else []


def _show_table(tuned_on: str, *runs: tuple[str, Mapping[str, Any], float | None]) -> None:
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
    title = f"scores on the run's own {after['n']:,} test images{tuned_on}"
    print_table([*columns, *(["mean cost"] if cost is not None else [])], rows, title=title, best=1)
    say("calibration: mean gap between confidence and accuracy; lower is better")
