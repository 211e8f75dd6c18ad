"""Summary of an enhancement study: scores, gains, and what becomes right and wrong."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict, cast

import numpy as np
import pandas as pd

from counterpoise.datasets import ProfileDict
from counterpoise.evaluation import (
    MeanEntry,
    ScoresDict,
    count_changes,
    evaluate_predictions,
    mean_interval,
    scores_to_rows,
)
from counterpoise.report import count
from counterpoise.runs import (
    RESULT_COLUMNS,
    ResultRow,
    RunFolder,
    by_draw,
    compare_methods,
    method_scores,
    result_rows,
)
from counterpoise.studies.engine.planned_runs import RunOutcome, method_summary
from counterpoise.studies.engine.summaries import GridSummary, GroupMeans, grouping_entry
from counterpoise.studies.engine.tasks import failed_runs, not_applicable, results_of
from counterpoise.studies.enhance.figures import ShownImage
from counterpoise.studies.enhance.page import COLUMNS
from counterpoise.studies.enhance.plan import (
    CONTROLS,
    ENHANCED,
    FEATURES,
    FINE_TUNED,
    FRESH,
    TRAINED_ON,
    EnhancePlan,
)
from counterpoise.studies.enhance.variants import variant_title
from counterpoise.studies.published import published_numbers


class Change(TypedDict):
    """What becomes right and wrong from one variant to another, on `n` images of one repeat."""

    draw: int
    before: str
    after: str
    n: int
    both_right: int
    wrong_to_right: int
    right_to_wrong: int
    both_wrong: int
    p_value: float


class Gain(MeanEntry):
    """How far the enhanced classifier is above another variant."""

    over: str
    metric: str
    classes: str


class NoiseEntry(TypedDict):
    """Accuracy under noise (see `noise_accuracies`) without the U-Net, with it, and the difference."""

    strength: float
    classifier: MeanEntry
    enhanced: MeanEntry
    gain: MeanEntry


class EnhanceSummary(GridSummary):
    """Content of ``summary.json``; frozen features that the study learned itself are of `features_classes`."""

    kind: str
    frozen_features: bool
    features_classes: list[str]
    classes: list[str]
    unet: str
    noise: list[NoiseEntry]
    rare: bool
    network: str
    classifier: str
    method: str
    frozen: bool
    width: int
    epochs: dict[str, int]
    copy: list[dict[str, str | float | None]]
    full: dict[str, GroupMeans]
    changes: list[Change]
    gains: list[Gain]
    slides: list[dict[str, str | float]]
    images: list[ShownImage]


def summarize(
    study: EnhancePlan, outcomes: Sequence[RunOutcome], table: pd.DataFrame, *, seconds: float
) -> EnhanceSummary:
    """Return the conclusions of a study; `table` holds the test scores of its runs in long format."""
    folders = results_of(outcome for outcome in outcomes if outcome.task.name != FEATURES)
    any_record = folders[0].record if folders else None
    minority = bool(any_record and any_record.dataset.minority)
    metric = "gmean" if minority else "accuracy"
    base, full = study.classifiers, full_table(folders)
    dataset = any_record.dataset.name if any_record else base.template.source
    raw = any_record.imbalance.raw if any_record else base.template.split.profile
    imbalance = cast(ProfileDict, raw)
    return {
        "format": 1,
        "kind": "enhance",
        "frozen_features": study.frozen_features,
        "features_classes": [] if study.halves is None else list(study.halves.features),
        "classes": list(any_record.dataset.classes) if any_record else [],
        "unet": study.unet,
        "noise": _noise(study, folders),
        "dataset": dataset,
        "imbalance": imbalance,
        "rare": minority,
        "draws": len(base.repeats),
        "metric": metric,
        "grouping": grouping_entry(base.grouping),
        "network": base.template.network,
        "classifier": study.classifier.label,
        "method": study.method.label,
        "frozen": study.frozen,
        "width": study.width,
        "epochs": {
            "classifier": study.config.epochs,
            "copy": study.copy_epochs,
            "enhance": study.enhance_epochs,
            "fresh": study.fresh_epochs,
        },
        "copy": [
            {"draw": f.record.draw} | f.record.raw["enhance"]["copy"][-1]
            for f in folders
            if f.record.method == ENHANCED and f.record.raw["enhance"]["copy"]
        ],
        "methods": [
            {"method": name, "title": title, "what": what, **method_summary(name, title, folders, table)}
            for name, (title, what) in _variants(study).items()
        ],
        "full": {name: method_scores(full, name) for name in (study.classifier.label, ENHANCED)},
        "changes": _changes(study, folders),
        "gains": _gains(study, table),
        "tests": compare_methods(table, metric),
        # The slides' classes are all of the same size.
        "slides": _published(dataset) if imbalance["profile"] == "natural" and study.halves is None else [],
        "images": [],
        "winner": None,
        "failed": failed_runs(outcomes),
        **not_applicable(outcomes),
        "command": base.command,
        "wall_seconds": round(seconds, 3),
    }


def full_table(folders: Sequence[RunFolder]) -> pd.DataFrame:
    """Return scores on training and test images together, which the slides call full, in long format.

    They are of the classifier alone and behind the U-Net. Both have learned from the training images, so that these
    scores say little about new images.
    """
    rows: list[ResultRow] = []
    runs = {(f.record.draw, f.record.method): f for f in folders}
    for folder in folders:
        if folder.record.method != ENHANCED:
            continue
        variant = folder.record.enhance
        assert variant is not None
        assert variant.train_confusion is not None
        for method in (variant.classifier, ENHANCED):
            run = runs[folder.record.draw, method]
            test = run.metrics.raw["test"]["confusion_matrix"]
            scores = _scores_of(np.add(variant.train_confusion[method], test), run)
            rows += [{**result_rows(run)[0], **row} for row in scores_to_rows(scores)]
    return pd.DataFrame(rows, columns=list(RESULT_COLUMNS))


def noise_table(folders: Sequence[RunFolder]) -> pd.DataFrame:
    """Return the accuracies under noise in long format, with the strength of the noise in a column of its own."""
    rows = [
        {**result_rows(folder)[0], "method": method, "noise": float(strength), "classes": "all"}
        | {"metric": "accuracy", "value": value}
        for folder in folders
        if folder.record.enhance is not None
        for method, accuracies in folder.record.enhance.noise.items()
        for strength, value in accuracies.items()
    ]
    columns = [*RESULT_COLUMNS]
    columns.insert(columns.index("classes"), "noise")
    return pd.DataFrame(rows, columns=columns)


def _noise(study: EnhancePlan, folders: Sequence[RunFolder]) -> list[NoiseEntry]:
    found: list[NoiseEntry] = []
    for strength, rows in noise_table(folders).groupby("noise"):
        values = rows.pivot(index="draw", columns="method", values="value")
        pairs = values[[study.classifier.label, ENHANCED]].to_numpy().T
        before, after, gain = (mean_interval(row.tolist()).entry() for row in (*pairs, pairs[1] - pairs[0]))
        means = {"classifier": before, "enhanced": after, "gain": gain}
        found.append(cast(NoiseEntry, {"strength": strength, **means}))
    return found


def _scores_of(matrix: np.ndarray, run: RunFolder) -> ScoresDict:
    """Return all scores that follow from a confusion matrix (rows are true classes)."""
    true, predicted = (axis.repeat(matrix.ravel()) for axis in map(np.ravel, np.indices(matrix.shape)))
    record = run.record.dataset
    return evaluate_predictions(true, predicted, classes=record.classes, minority=record.minority)


def _published(dataset: str) -> list[dict[str, str | float]]:
    """Return the accuracies that the slides give for a dataset."""
    rows: dict[str, dict[str, str | float]] = {}
    for number in published_numbers("slides-accuracy"):
        if number.setting == dataset:
            row = rows.setdefault(number.classes, {"evaluated_on": number.classes})
            row[number.method] = number.value
    return list(rows.values())


def _variants(study: EnhancePlan) -> dict[str, tuple[str, str]]:
    """Return the title of each variant and its description, one sentence."""
    config, by = study.config, f"with {study.method.label}"
    copy, more = count(study.copy_epochs, "epoch"), count(study.enhance_epochs, "epoch")
    frozen = "frozen with its batch-norm statistics" if study.frozen else "fine-tuned with it"
    residual = study.unet == "residual"
    learns = ", which at first adds nothing, is" if residual else f" learns to copy for {copy} and is then"
    part = "the head, on the frozen features," if study.frozen_features else "the classifier alone"
    texts = {
        ENHANCED: f"the U-Net{learns} trained {by} for {more} before the same classifier, which is {frozen}",
        TRAINED_ON: f"training of {part} continues {by} for as many steps: {more}",
        FINE_TUNED: f"all of the classifier is trained {by} for as many steps: {more}",
        FRESH: f"the copying U-Net and a classifier from scratch are trained together {by} for "
        f"{count(study.fresh_epochs, 'epoch')}; the classifier and the U-Net had "
        f"{config.epochs + study.enhance_epochs} one after the other",
    }
    label = study.classifier.label
    if study.frozen_features:
        source = "of given weights" if study.halves is None else "learned from the other classes"
        text = f"frozen features {source}, and a head trained on them to convergence"
    else:
        text = f"trained on the original images with {label} for {count(config.epochs, 'epoch')}"
    found = {label: ("Classifier", text)}
    for name in sorted(study.variants, key=(ENHANCED, *CONTROLS).index):
        title = variant_title(name, frozen=study.frozen, frozen_features=study.frozen_features)
        found[name] = (title, texts[name])
    for method in study.classifiers.methods[1:]:
        epochs = count(config.head_epochs or config.epochs, "epoch")
        text = f"the classifier's head is retrained under balanced softmax for {epochs}"
        found[method.label] = ("Classifier, head retrained", text)
    return found


def _changes(study: EnhancePlan, folders: Sequence[RunFolder]) -> list[Change]:
    """Return, for each repeat, what becomes right and wrong between the other variants and the enhanced classifier."""
    runs = {(f.record.draw, f.record.method): f for f in folders}
    found = []
    for repeat in study.classifiers.repeats:
        for name in (study.classifier.label, *CONTROLS):
            if (repeat, ENHANCED) in runs and (repeat, name) in runs:
                before, after = (runs[repeat, method].need_predictions() for method in (name, ENHANCED))
                changes = count_changes(after.true, before.predicted, after.predicted)
                entry = {"draw": repeat, "before": name, "after": ENHANCED, "n": len(after.true)}
                found.append(cast(Change, entry | changes._asdict()))
    return found


def _gains(study: EnhancePlan, table: pd.DataFrame) -> list[Gain]:
    """Return how far the enhanced classifier is above each other variant, over the repeats that both have."""
    found: list[Gain] = []
    others = [study.classifier.label, *CONTROLS, *(method.label for method in study.classifiers.methods[1:])]
    for metric, classes in COLUMNS:
        values = by_draw(table, metric, classes)
        enhanced = values.get(ENHANCED, {})
        for name in others:
            gains = [enhanced[d] - value for d, value in values.get(name, {}).items() if d in enhanced]
            if gains:
                interval = mean_interval(gains).entry()
                found.append({"over": name, "metric": metric, "classes": classes, **interval})
    return found
