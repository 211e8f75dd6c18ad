"""Likely label errors: images on which heads on pretrained features, trained on the others, contradict the label."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from counterpoise.config import DataConfig, FitConfig
from counterpoise.datasets import ImageDataset, find_minority, make_folds
from counterpoise.evaluation import suspect_labels
from counterpoise.report import count, duration, write_page
from counterpoise.studies.fit.plan import FOLDS, FitPlan, load_for_fit, make_fit_plan
from counterpoise.training import (
    Budget,
    EmbeddedSplit,
    cpu_count,
    cpu_threads,
    embedded_splits,
    find_device,
    fit_method,
    log_probabilities,
    make_network,
    out_of_fold,
    png_data_uri,
    reused_memory,
    seed_for,
)

#: So many pictures are shown, or the page grows too heavy to open.
MOST_PICTURES = 500


class SuspectLabel(NamedTuple):
    """Image whose label is likely wrong, with the probabilities of the suggested class and of its label."""

    path: str
    split: str
    row: int
    label: str
    suggested: str
    probability: float
    label_probability: float
    rare: bool


def plan_deep_audit(data: DataConfig) -> tuple[ImageDataset, FitPlan, str]:
    """Load a dataset as `fit` does, time a few images, and return dataset, plan and the time to expect, in words."""
    config = FitConfig(data=data, methods="logit-adjusted", tune=False)
    dataset = load_for_fit(config)
    if dataset.test is None:  # every label is judged: nothing is held out
        config = config.model_copy(update={"test_fraction": 0.0})
    dataset, plan = make_fit_plan(dataset, config, Budget())
    seconds = duration(dataset.total / plan.images_per_second)
    expected = (
        f"deep audit: embedding {count(dataset.total, 'image')} at {dataset.image_size[0]}x{dataset.image_size[1]} "
        f"pixels takes about {seconds} ({plan.images_per_second:,.0f} images a second, measured), or less where that "
        "was done before"
    )
    return dataset, plan, expected


def find_label_errors(
    dataset: ImageDataset,
    plan: FitPlan,
    cache: Path,
    *,
    minority_ratio: float = 2.0,
    progress: Callable[[int, int], None] | None = None,
) -> list[SuspectLabel]:
    """Return images of all splits whose label is likely wrong: those of rare classes first, then the likeliest.

    Training images are judged out of fold, with groups kept together; others by a head trained on all training images.
    Probabilities count each class the same, so that images are not accused for being of a rare class. Embeddings are
    stored in the folder `cache`; `progress` is called with the number of embedded images, and of all.
    """
    config, method, network = plan.config, plan.heads[0], make_network(plan.template, dataset)
    with cpu_threads(cpu_count()), reused_memory():
        device = find_device(config.device)
        splits = embedded_splits(network, dataset, cache, device=device, progress=progress)
        seed = seed_for(config.seed, "folds")
        folds = make_folds(splits.train.labels, splits.train.groups, folds=FOLDS, random_state=seed)
        fitted = fit_method(method, network, splits.train, config=config)
        config = config.model_copy(update={"penalty": next(reversed(fitted.penalties.values()), 0.0) or None})
        assert isinstance(splits.train, EmbeddedSplit)
        judged = [out_of_fold(method, network, splits.train, folds, config=config)[0]]
        judged += [log_probabilities(fitted, split) for split in list(splits.splits.values())[1:]]
    logs, labels = np.concatenate(judged), np.concatenate([s.labels for s in splits.splits.values()])
    places = [(name, index) for name, split in splits.splits.items() for index in range(len(split))]
    rare = find_minority(splits.train.class_counts(dataset.num_classes), minority_ratio)
    suspects = []
    for row, p in zip(*suspect_labels(labels, logs, rare), strict=True):
        (name, index), own, best = places[row], int(labels[row]), int(p.argmax())
        named = dataset.splits[name].paths[index], name, index, dataset.classes[own], dataset.classes[best]
        rounded = round(float(p[best]), 4), round(float(p[own]), 4)
        suspects.append(SuspectLabel(*named, *rounded, rare=own in rare or best in rare))
    return suspects


def write_audit_page(
    path: Path, dataset: ImageDataset, suspects: Sequence[SuspectLabel], advice: Sequence[str]
) -> None:
    """Write one self-contained HTML file with the pictures of `suspects`, and the `advice` of the audit in words."""
    write_page(
        path,
        "studies/audit/audit.html.j2",
        title=f"Audit of {dataset.name}",
        subtitle=f"{count(dataset.total, 'image')} in {dataset.num_classes} classes",
        sections=[("labels", "Labels"), ("advice", "Advice")],
        images=dataset.total,
        suspects=suspects,
        shown=suspects[:MOST_PICTURES],
        advice=advice,
        picture_of=lambda item: png_data_uri(np.asarray(dataset.splits[item.split].images[item.row])),
    )
