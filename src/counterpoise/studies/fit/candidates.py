"""Execution of the candidates: heads on frozen features, the fine-tuned network, and their average."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

from counterpoise.balance.adjust import LogitAdjustment
from counterpoise.datasets import ImageDataset, ImageSplit
from counterpoise.inference import load_network
from counterpoise.networks import EnsembleNetwork, Network
from counterpoise.runs import RunFolder
from counterpoise.studies.fit.evidence import save_evidence
from counterpoise.training import (
    EmbeddedSplit,
    Fitted,
    ProgressCallback,
    RunPlan,
    embedded_sample,
    execute_run,
    find_device,
    fine_tune,
    log_probabilities,
    out_of_fold,
    reused_memory,
    write_run,
)

AVERAGE = "average"
"""Name of the candidate that `run_average` makes."""

#: Images of each class in the maps of networks that are not frozen, whose embeddings take time.
MAPPED = 20
HELD_OUT = 0
"""Fold on which the fine-tuned network is judged."""


def run_head(
    plan: RunPlan,
    dataset: ImageDataset,
    run: Path,
    evidence: Path,
    *,
    folds: np.ndarray,
    shared: Path,
    progress: ProgressCallback | None = None,
) -> RunFolder:
    """Train a head on the frozen features of all training images, and store its out-of-fold predictions.

    The features are cached beside the folder `shared`, where the other heads find them.
    """

    def on_fitted(fitted: Fitted, splits: ImageDataset) -> None:
        assert isinstance(splits.train, EmbeddedSplit)
        # The penalty was chosen with all images: one number, whose reuse hardly favors a candidate.
        penalty = next(reversed(fitted.penalties.values()), 0.0) or None
        config = plan.config.model_copy(update={"penalty": penalty})
        held_out = out_of_fold(plan.record, fitted.network, splits.train, folds, config=config)
        save_evidence(evidence, held_out)
        fold_adjustment(fitted)

    return execute_run(plan, dataset, run, shared=shared, progress=progress, on_fitted=on_fitted)


def run_tuning(
    plan: RunPlan,
    dataset: ImageDataset,
    run: Path,
    evidence: Path,
    *,
    start: RunFolder,
    folds: np.ndarray,
    seconds: float,
    progress: ProgressCallback | None = None,
) -> RunFolder:
    """Fine-tune the network of the best head, `start`, for `seconds` on all training images but those of one fold."""
    folder, started = RunFolder(run), time.perf_counter()
    with folder.claimed(plan.hash), reused_memory():
        manifest = plan.split.splits(dataset, plan.config.seed)
        splits = manifest.apply(dataset)
        network = load_network(start)
        network.requires_grad_(True)
        outside = np.flatnonzero(folds[0] == HELD_OUT)
        train = splits.train.subset(np.flatnonzero(folds[0] != HELD_OUT))
        to_training_shares(network, train)
        fitted = fine_tune(
            network,
            train,
            method=plan.record,
            config=plan.config.model_copy(update={"max_time": seconds}),
            checkpoints=folder.checkpoints,
            identity=f"{start.record.config_hash} {manifest.hash}",
            classes=splits.classes,
            progress=progress,
        )
        save_evidence(evidence, _held_out(fitted, splits.train, outside))
        fold_adjustment(fitted)
        fitted.resampled = embedded_sample(fitted.network, splits.train, plan.config, most=MAPPED)
        write_run(folder, plan, splits, manifest, fitted, started=started)
    return RunFolder(run)


def run_average(
    plan: RunPlan,
    dataset: ImageDataset,
    run: Path,
    evidence: Path,
    *,
    members: tuple[RunFolder, RunFolder],
    predictions: tuple[np.ndarray, np.ndarray],
) -> RunFolder:
    """Average the log-probabilities of two finished candidates, whose evidence is `predictions`."""
    folder, started = RunFolder(run), time.perf_counter()
    with folder.claimed(plan.hash):
        manifest = plan.split.splits(dataset, plan.config.seed)
        splits = manifest.apply(dataset)
        network = EnsembleNetwork([load_network(member) for member in members])
        device = find_device(plan.config.device)
        fitted = Fitted(network.to(device).eval(), None, [])
        fitted.resampled = embedded_sample(fitted.network, splits.train, plan.config, most=MAPPED)
        save_evidence(evidence, np.mean([p[:1] for p in predictions], axis=0))
        title = "Average of frozen features and fine-tuning"
        changes = {"method": AVERAGE, "method_title": title}
        write_run(folder, plan, splits, manifest, fitted, started=started, **changes)
    return RunFolder(run)


def to_training_shares(network: Network, train: ImageSplit) -> None:
    """Move the bias of a head for balanced classes to the shares of the training set, as `fine_tune` expects it."""
    if type(network.classifier) is nn.Linear:
        shares = LogitAdjustment(tau=-1)
        shares.fit(None, None, train.class_counts(network.num_classes))
        _shift(network.classifier, shares.offset_)


def _shift(head: nn.Linear, offset: np.ndarray) -> None:
    with torch.no_grad():
        head.bias.add_(torch.as_tensor(offset).to(head.bias))


def fold_adjustment(fitted: Fitted) -> None:
    """Move a logit adjustment into the bias of a linear head, so that the network alone is the model."""
    head, adjustment = fitted.network.classifier, fitted.adjustment
    if not isinstance(adjustment, LogitAdjustment) or type(head) is not nn.Linear:
        return
    _shift(head, adjustment.offset_)
    fitted.adjustment = None


def _held_out(fitted: Fitted, train: ImageSplit, rows: np.ndarray) -> np.ndarray:
    """Return the evidence of a model that did not learn from the images `rows`, float32 (1, N, C)."""
    result = np.full((1, len(train), fitted.network.num_classes), np.nan, dtype=np.float32)
    result[0, rows] = log_probabilities(fitted, train.subset(rows))
    return result
