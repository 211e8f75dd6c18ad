"""Choice among heads on frozen features by predictions of images that they did not learn from.

These are out-of-fold predictions of the training images, and the predictions of the validation images, of all repeats
together. An image that is in several repeats is one group, since it is not new evidence.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from counterpoise.datasets import ImageDataset, make_folds
from counterpoise.evaluation import FEWEST_OF_FROZEN, Candidate, Choice, Winner, choose, few_classes
from counterpoise.methods import Method, all_methods
from counterpoise.runs import RunFolder
from counterpoise.studies.engine.planned_runs import RunGrid
from counterpoise.studies.fit.evidence import evidence_path, load_evidence, save_evidence
from counterpoise.training import EmbeddedSplit, Fitted, RunPlan, log_probabilities, out_of_fold, seed_for

FOLDS = 5
CERTAIN = 1.96


def needs_evidence(plan: RunPlan, splits: ImageDataset) -> bool:
    """Return whether heads on frozen features have too few validation images of a class to be chosen by them."""
    if (
        plan.freeze != "all"
        or plan.features is None
        or splits.validation is None
        or not len(splits.validation)
    ):
        return False
    return int(splits.validation.class_counts(splits.num_classes).min()) < FEWEST_OF_FROZEN


def write_evidence(
    plan: RunPlan, fitted: Fitted, splits: ImageDataset, path: Path, *, fold_repeats: int
) -> None:
    """Store log-probabilities (fold repeats, N, C) of the training and then the validation images of a run.

    An adjustment that learns from validation images is cross-fitted to the out-of-fold logits.
    """
    train, validation = splits.train, splits.validation
    assert isinstance(train, EmbeddedSplit)
    assert validation is not None
    seed = seed_for(plan.config.seed, "folds")
    folds = make_folds(train.labels, train.groups, folds=FOLDS, repeats=fold_repeats, random_state=seed)
    penalty = next(reversed(fitted.penalties.values()), 0.0) or None
    config = plan.config.model_copy(update={"penalty": penalty})
    adjust = plan.record.adjust
    learns = adjust is not None and adjust.build(class_names=splits.classes).needs_logits
    method = replace(plan.record, adjust=None) if learns else plan.record
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # those of the whole training set were shown
        held_out = out_of_fold(method, fitted.network, train, folds, config=config)
    own = log_probabilities(replace(fitted, adjustment=None) if learns else fitted, validation)
    both = np.concatenate([held_out, np.repeat(own[None], fold_repeats, axis=0)], axis=1)
    if learns and adjust is not None:
        labels = np.concatenate([train.labels, validation.labels])
        counts = train.class_counts(splits.num_classes)
        known = np.isfinite(both[0, :, 0])
        for row in both:
            fresh = adjust.build(class_names=splits.classes)
            row[known] = fresh.cross_fit(row[known], labels[known], counts)
    save_evidence(path, both)


def choose_by_evidence(
    grid: RunGrid, dataset: ImageDataset, folder: Path, runs: Sequence[RunFolder]
) -> Winner | None:
    """Return the winner by the evidence of all runs; None unless every run of some method has evidence.

    Among candidates within one standard error of the best score, the simplest is chosen. One whose macro F1 is below
    another's by more than its interval is left out.
    """
    evidence = {
        (run.record.method, run.record.draw): load_evidence(evidence_path(folder, run.path)) for run in runs
    }
    order = simplicity(grid.methods)
    simple = sorted(grid.methods, key=lambda m: (len(m.components), order.index(m.label)))
    found: dict[str, list[np.ndarray]] = {}
    for method in grid.methods:
        arrays = [evidence.get((method.label, repeat)) for repeat in grid.repeats]
        if all(array is not None for array in arrays):
            found[method.label] = [array for array in arrays if array is not None]
    if not found:
        return None
    labels, groups = _images(grid, dataset)
    least = min(len(array) for arrays in found.values() for array in arrays)
    candidates = [
        Candidate(m.label, simple.index(m), np.concatenate([a[:least] for a in found[m.label]], axis=1))
        for m in grid.methods
        if m.label in found
    ]
    choice = _fair_choice(candidates, labels, groups)
    counts = grid.template.split.splits(dataset, grid.template.config.seed).counts["validation"]
    few = few_classes(counts, dataset.classes, fewer_than=FEWEST_OF_FROZEN)
    reason = (
        f"{few}: too few to choose by, so cross-validation over {len(np.unique(groups)):,} images decides: "
        f"{choice.reason}"
    )
    scores = {row["name"]: row["recall"]["value"] for row in choice.candidates}
    return Winner(
        choice.chosen, "cross-validation", "recall", reason, scores, choice.images, choice.to_dict()
    )


def _fair_choice(candidates: Sequence[Candidate], labels: np.ndarray, groups: np.ndarray) -> Choice:
    choice = choose(candidates, labels, groups)
    best = max(row["f1"]["value"] for row in choice.candidates)
    fair = {
        row["name"]
        for row in choice.candidates
        if row["f1"]["value"] + CERTAIN * (row["f1"]["standard_error"] or 0.0) >= best
    }
    if choice.chosen in fair:
        return choice
    again = choose([c for c in candidates if c.name in fair], labels, groups)
    rows = [{**row, "chosen": row["name"] == again.chosen} for row in choice.candidates]
    reason = f"{again.reason}; the macro F1 of {choice.chosen} is below the best by more than its interval"
    return replace(choice, chosen=again.chosen, best=again.best, reason=reason, candidates=rows)  # type: ignore[arg-type]


def _images(grid: RunGrid, dataset: ImageDataset) -> tuple[np.ndarray, np.ndarray]:
    """Return classes and groups of the images that the evidence is about, repeat by repeat."""
    labels, groups = [], []
    for plan in {plan.draw: plan for plan in grid.plans()}.values():
        manifest = plan.split.splits(dataset, plan.config.seed)
        for name in ("train", "validation"):
            source, rows = manifest.sources[name], getattr(manifest, name)
            split = dataset.splits[source]
            labels.append(split.labels[rows])
            own = (
                [f"{source} {row}" for row in rows]
                if split.groups is None
                else split.groups[rows].astype(str)
            )
            groups.append(np.asarray(own))
    return np.concatenate(labels), np.unique(np.concatenate(groups), return_inverse=True)[1]


def simplicity(methods: Sequence[Method]) -> list[str]:
    """Return the labels of methods in the order of the catalog."""
    rank = {name: index for index, name in enumerate(all_methods())}
    return [m.label for m in sorted(methods, key=lambda m: rank.get(m.name, len(rank)))]
