"""Summary of an enhancement study: scores, gains, and what becomes right and wrong."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from counterpoise.evaluation import (
    ScoresDict,
    count_changes,
    evaluate_predictions,
    mean_interval,
    scores_to_rows,
)
from counterpoise.runs import (
    RESULT_COLUMNS,
    RunFolder,
    by_draw,
    compare_methods,
    method_scores,
    result_rows,
)
from counterpoise.studies.engine.method_summary import GridSummary, GroupScores, MethodSummary, method_summary
from counterpoise.studies.engine.planned_runs import RunOutcome
from counterpoise.studies.engine.tasks import failed_runs, not_applicable, results_of
from counterpoise.studies.enhance.plan import (
    CONTROLS,
    ENHANCED,
    FRESH,
    TRAINED_ON,
    VARIANTS,
    EnhancePlan,
    VariantPlan,
)
from counterpoise.studies.enhance.variants import variant_title
from counterpoise.studies.published import published_numbers

GAINED = (("accuracy", "all"), ("gmean", "all"), ("recall", "minority"), ("recall", "majority"))
"""Metrics, each of a group of classes."""


class EnhanceSummary(GridSummary):
    """Content of ``summary.json``."""

    kind: str
    rare: bool
    network: str
    classifier: str
    method: str
    frozen: bool
    width: int
    epochs: dict[str, int]
    copy: list[dict[str, Any]]
    full: dict[str, GroupScores]
    changes: list[dict[str, Any]]
    gains: list[dict[str, Any]]
    slides: list[dict[str, Any]]
    images: list[dict[str, Any]]


def summarize(
    study: EnhancePlan,
    outcomes: Sequence[RunOutcome],
    table: pd.DataFrame,
    *,
    seconds: float,
) -> EnhanceSummary:
    """Return the conclusions of a study; `table` holds the test scores of its runs in long format."""
    folders = results_of(outcomes)
    any_record = folders[0].record if folders else None
    minority = bool(any_record and any_record.dataset.minority)
    metric = "gmean" if minority else "accuracy"
    base = study.classifiers
    dataset = any_record.dataset.name if any_record else base.template.source
    imbalance = any_record.imbalance.raw if any_record else base.template.split.profile
    return {
        "format": 1,
        "kind": "enhance",
        "dataset": dataset,
        "imbalance": imbalance,
        "rare": minority,
        "draws": len(base.repeats),
        "metric": metric,
        "network": base.template.network,
        "classifier": study.classifier.label,
        "method": study.method.label,
        "frozen": study.frozen,
        "width": study.width,
        "epochs": {
            "classifier": base.config.epochs,
            "copy": study.copy_epochs,
            "enhance": study.enhance_epochs,
            "fresh": study.fresh_epochs,
        },
        "copy": _copies(folders),
        "methods": _methods(study, outcomes, folders, table),
        "full": _full_scores(study, full_table(folders)),
        "changes": _changes(study, folders),
        "gains": _gains(study, table),
        "tests": compare_methods(table, metric),
        # The slides' classes are all of the same size.
        "slides": _published(dataset) if imbalance["profile"] == "natural" else [],
        "images": [],
        "winner": None,
        "failed": failed_runs(outcomes),
        **not_applicable(outcomes),  # type: ignore[typeddict-item]
        "command": base.command,
        "wall_seconds": round(seconds, 3),
    }


def full_table(folders: Sequence[RunFolder]) -> pd.DataFrame:
    """Return scores on training and test images together, which the slides call full, in long format.

    They are of the classifier alone and behind the U-Net. Both have learned from the training images, so that these
    scores say little about new images.
    """
    rows: list[dict[str, Any]] = []
    for folder in folders:
        if folder.record.method != ENHANCED:
            continue
        variant = folder.record.enhance
        assert variant is not None
        assert variant.train_confusion is not None
        matrices, classifier = variant.train_confusion, variant.classifier
        for method, run in ((classifier, _sibling(folders, folder, classifier)), (ENHANCED, folder)):
            scores = _scores_of(np.add(matrices[method], run.metrics.raw["test"]["confusion_matrix"]), run)
            common = {name: result_rows(run)[0][name] for name in RESULT_COLUMNS[:6]}
            rows += [common | row for row in scores_to_rows(scores)]
    return pd.DataFrame(rows, columns=list(RESULT_COLUMNS))


def _sibling(folders: Sequence[RunFolder], folder: RunFolder, method: str) -> RunFolder:
    draw = folder.record.draw
    return next(f for f in folders if (f.record.draw, f.record.method) == (draw, method))


def _scores_of(matrix: np.ndarray, run: RunFolder) -> ScoresDict:
    """Return all scores that follow from a confusion matrix (rows are true classes)."""
    true, predicted = (axis.repeat(matrix.ravel()) for axis in map(np.ravel, np.indices(matrix.shape)))
    record = run.record.dataset
    return evaluate_predictions(true, predicted, classes=record.classes, minority=record.minority)


def _published(dataset: str) -> list[dict[str, Any]]:
    """Return the accuracies that the slides give for a dataset."""
    rows: dict[str, dict[str, Any]] = {}
    for number in published_numbers("slides-accuracy"):
        if number.setting == dataset:
            row = rows.setdefault(number.classes, {"evaluated_on": number.classes})
            row[number.method] = number.value
    return list(rows.values())


def _methods(
    study: EnhancePlan,
    outcomes: Sequence[RunOutcome],
    folders: Sequence[RunFolder],
    table: pd.DataFrame,
) -> list[MethodSummary]:
    plans = {o.plan.variant: o.plan for o in outcomes if isinstance(o.plan, VariantPlan)}
    names = [study.classifier.label, *reversed(VARIANTS)]
    titles = {study.classifier.label: "Classifier"} | {n: variant_title(plan) for n, plan in plans.items()}
    if study.new_head is not None:
        names.append(study.new_head.label)
        titles[study.new_head.label] = "Classifier, head retrained"
    found: list[MethodSummary] = []
    for name in names:
        title = titles.get(name, name)
        first = {"method": name, "title": title, "what": describe(name, study)}
        found.append(first | method_summary(name, title, folders, table))  # type: ignore[arg-type]
    return found


def describe(name: str, study: EnhancePlan) -> str:
    """Return the description of a variant, one sentence."""
    first, more = study.classifiers.config.epochs, study.enhance_epochs
    by = f"with {study.method.label}"
    if name == ENHANCED:
        kept = (
            "which is frozen with its batch-norm statistics"
            if study.frozen
            else "which is fine-tuned with it"
        )
        return (
            f"the U-Net learns to copy for {_epochs(study.copy_epochs)} and is then trained {by} for {_epochs(more)} "
            f"before the same classifier, {kept}"
        )
    if name == TRAINED_ON:
        return f"training of the classifier alone continues {by} for as many steps: {_epochs(more)}"
    if name == FRESH:
        return (
            f"the copying U-Net and a classifier from scratch are trained together {by} for "
            f"{_epochs(study.fresh_epochs)}; the classifier and the U-Net had {first + more} one after the other"
        )
    if name == study.classifier.label:
        return f"trained on the original images with {name} for {_epochs(first)}"
    head = study.classifiers.config.head_epochs or first
    return f"the classifier's head is retrained under balanced softmax for {_epochs(head)}"


def _epochs(count: int) -> str:
    return f"{count} epoch{'' if count == 1 else 's'}"


def _full_scores(study: EnhancePlan, table: pd.DataFrame) -> dict[str, GroupScores]:
    return {name: method_scores(table, name) for name in (study.classifier.label, ENHANCED)}


def _copies(folders: Sequence[RunFolder]) -> list[dict[str, Any]]:
    """Return, for each repeat, how well the U-Net copied images before it was trained before the classifier."""
    return [
        {"draw": folder.record.draw} | folder.record.raw["enhance"]["copy"][-1]
        for folder in folders
        if folder.record.method == ENHANCED
    ]


def _changes(study: EnhancePlan, folders: Sequence[RunFolder]) -> list[dict[str, Any]]:
    """Return, for each repeat, what becomes right and wrong between the other variants and the enhanced classifier."""
    runs = {(f.record.draw, f.record.method): f for f in folders}
    found = []
    for repeat in study.classifiers.repeats:
        if (repeat, ENHANCED) not in runs:
            continue
        after = runs[repeat, ENHANCED].need_predictions()
        for name in (study.classifier.label, *CONTROLS):
            if (repeat, name) in runs:
                before = runs[repeat, name].need_predictions()
                changes = count_changes(after.true, before.predicted, after.predicted)
                found.append(
                    {"draw": repeat, "before": name, "after": ENHANCED, "n": len(after.true)}
                    | changes._asdict()
                )
    return found


def _gains(study: EnhancePlan, table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return how far the enhanced classifier is above each other variant, over the repeats that both have."""
    found = []
    for metric, classes in GAINED:
        values = by_draw(table, metric, classes)
        enhanced = values.get(ENHANCED, {})
        others = [study.classifier.label, *CONTROLS]
        for name in others + ([study.new_head.label] if study.new_head is not None else []):
            gains = [enhanced[d] - value for d, value in values.get(name, {}).items() if d in enhanced]
            if gains:
                interval = mean_interval(gains)._asdict()
                found.append({"over": name, "metric": metric, "classes": classes} | interval)
    return found
