"""Scores of a run, from the logits of its network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from counterpoise.balance.adjust import Adjustment
from counterpoise.datasets import ImageDataset
from counterpoise.evaluation import evaluate
from counterpoise.files import write_json
from counterpoise.networks import Network
from counterpoise.runs import RunFolder, write_predictions
from counterpoise.training.artifacts import worst_mistakes
from counterpoise.training.predict import predict_logits, softmax

SCORED = ("test", "validation")


def held_out_logits(
    network: Network, splits: ImageDataset, *, device: torch.device, workers: int = 0
) -> dict[str, np.ndarray]:
    """Return the network's own logits of the test and validation images, where there are any."""
    return {
        name: predict_logits(network, split, device=device, workers=workers)
        for name, split in splits.splits.items()
        if name in SCORED and len(split)
    }


def write_scores(
    folder: RunFolder,
    splits: ImageDataset,
    minority: tuple[int, ...],
    logits: Mapping[str, np.ndarray],
    adjustment: Adjustment | None,
) -> dict[str, Any]:
    """Write ``metrics.json``, ``predictions.csv`` and ``mistakes.json`` (both of the test images); return the first.

    `logits` are from `held_out_logits`. Validation scores choose a winner, so an adjustment, which was learned from the
    validation images, is scored on them by a cross-fit.
    """
    metrics: dict[str, Any] = dict.fromkeys(SCORED)
    for name, adjusted in logits.items():
        split = splits.splits[name]
        if adjustment is not None and name == "validation":
            counts = splits.train.class_counts(splits.num_classes)
            adjusted = adjustment.cross_fit(adjusted, split.labels, counts)
        elif adjustment is not None:
            adjusted = adjustment.transform(adjusted)
        probabilities = softmax(adjusted)
        metrics[name] = evaluate(split.labels, probabilities, classes=splits.classes, minority=minority)
        if name == "test":
            predictions = folder.path / "predictions.csv"
            write_predictions(predictions, split.paths, splits.classes, split.labels, probabilities)
            mistakes = worst_mistakes(split, probabilities)
            write_json(folder.path / "mistakes.json", [mistake.raw for mistake in mistakes])
    write_json(folder.path / "metrics.json", metrics)
    return metrics
