"""Execution of the candidates: heads on frozen features, trained networks, a refitted head, and an average."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from scipy.special import log_softmax
from torch import nn

from counterpoise.balance.adjust import LogitAdjustment
from counterpoise.config import TrainConfig
from counterpoise.datasets import ImageDataset, ImageSplit
from counterpoise.inference import load_network
from counterpoise.methods import get_method
from counterpoise.networks import EnsembleNetwork, Network
from counterpoise.runs import RunFolder
from counterpoise.studies.fit.evidence import Evidence, save_evidence
from counterpoise.studies.fit.plan import AVERAGE, SCRATCH
from counterpoise.training import (
    EmbeddedSplit,
    Fitted,
    ProgressCallback,
    RunPlan,
    cpu_threads,
    embedded_sample,
    embedded_splits,
    execute_run,
    find_device,
    fine_tune,
    fit_memory,
    fit_method,
    log_probabilities,
    make_network,
    out_of_fold,
    reused_memory,
    with_own_head,
    write_run,
)

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
    penalty: float | None = None,
    changes: Mapping[str, object] | None = None,
) -> RunFolder:
    """Train a head on the frozen features of all training images, and store its out-of-fold predictions.

    The features are cached beside the folder `shared`, where the other heads find them. `penalty` and `changes` are
    those of `execute_run`.
    """

    def on_fitted(fitted: Fitted, splits: ImageDataset) -> None:
        assert isinstance(splits.train, EmbeddedSplit)
        # The penalty was chosen with all images: one number, whose reuse hardly favors a candidate.
        penalty = next(reversed(fitted.penalties.values()), 0.0) or None
        config = plan.config.model_copy(update={"penalty": penalty})
        held_out = out_of_fold(plan.record, fitted.network, splits.train, folds, config=config)
        save_evidence(evidence, held_out)
        fold_adjustment(fitted)
        fitted.evidence = held_out

    return execute_run(
        plan,
        dataset,
        run,
        shared=shared,
        progress=progress,
        on_fitted=on_fitted,
        penalty=penalty,
        changes=changes,
    )


class Start(NamedTuple):
    """Finished head that fine-tuning starts from, the settings of its training, and the folder of its embeddings."""

    run: RunFolder
    config: TrainConfig
    cache: Path

    def without(self, splits: ImageDataset, rows: np.ndarray) -> Network:
        """Return its network with a head that learned from these training images alone.

        Its own head has seen them all, and would carry what it learned from held-out images into the network.
        """
        network = load_network(self.run)
        train = embedded_splits(network, splits, self.cache, device=find_device(self.config.device)).train
        alone, method = with_own_head(network, self.config.seed), get_method(self.run.record.method)
        fitted = fit_method(method, alone, train.subset(rows), config=self.config)
        fold_adjustment(fitted)
        network.classifier = fitted.network.classifier
        return network


def run_network(
    plan: RunPlan,
    dataset: ImageDataset,
    run: Path,
    evidence: Path,
    *,
    start: Start | None,
    folds: np.ndarray,
    seconds: float,
    progress: ProgressCallback | None = None,
) -> RunFolder:
    """Train a network for `seconds` on all training images but those of one fold.

    It is fine-tuned from the head `start`, retrained without the fold; without one, it is trained from scratch.
    """
    folder, started = RunFolder(run), time.perf_counter()
    with folder.claimed(plan.hash), reused_memory(), cpu_threads(plan.config.threads):
        manifest = plan.split.splits(dataset, plan.config.seed)
        splits = manifest.apply(dataset)
        outside = np.flatnonzero(folds[0] == HELD_OUT)
        inside = np.flatnonzero(folds[0] != HELD_OUT)
        train = splits.train.subset(inside)
        if start is None:
            network = make_network(plan, splits)
        else:
            network = start.without(splits, inside)
            network.requires_grad_(True)
            to_training_shares(network, train)
        left = max(1.0, seconds - (time.perf_counter() - started))
        config = plan.config.model_copy(update={"max_time": left if left < np.inf else None})
        if start is not None:
            config = fit_memory(config, network.to(find_device(config.device)))
        fitted = (fit_method if start is None else fine_tune)(
            method=plan.record,
            network=network,
            train=train,
            config=config,
            checkpoints=folder.checkpoints,
            identity=f"{'' if start is None else start.run.record.config_hash} {manifest.hash} {plan.contents}",
            classes=splits.classes,
            progress=progress,
        )
        held_out = _held_out(fitted, splits.train, outside)
        save_evidence(evidence, held_out)
        fold_adjustment(fitted)
        fitted.evidence = held_out
        fitted.resampled = embedded_sample(fitted.network, splits.train, plan.config, most=MAPPED)
        named = {"method": SCRATCH, "method_title": "Small network from scratch"} if start is None else {}
        used = config.model_copy(update={"max_time": plan.config.max_time}).model_dump()
        write_run(folder, plan, splits, manifest, fitted, started=started, training=used, **named)
    return RunFolder(run)


def run_average(
    plan: RunPlan,
    dataset: ImageDataset,
    run: Path,
    evidence: Path,
    *,
    members: Sequence[Evidence],
    temperatures: Sequence[float],
) -> RunFolder:
    """Average the calibrated log-probabilities of finished candidates: one that is too certain would decide alone."""
    folder, started = RunFolder(run), time.perf_counter()
    with folder.claimed(plan.hash), cpu_threads(plan.config.threads):
        manifest = plan.split.splits(dataset, plan.config.seed)
        splits = manifest.apply(dataset)
        network = EnsembleNetwork([load_network(member.run) for member in members])
        softened = map(_soften, network.members, (m.log_probabilities[:1] for m in members), temperatures)
        device = find_device(plan.config.device)
        fitted = Fitted(network.to(device).eval(), None, [])
        fitted.evidence = np.mean(list(softened), axis=0)
        save_evidence(evidence, fitted.evidence)
        fitted.resampled = embedded_sample(fitted.network, splits.train, plan.config, most=MAPPED)
        changes = {"method": AVERAGE, "method_title": "Average of frozen features and fine-tuning"}
        write_run(folder, plan, splits, manifest, fitted, started=started, **changes)
    return RunFolder(run)


def _soften(network: nn.Module, evidence: np.ndarray, temperature: float) -> np.ndarray:
    """Divide the logits of a linear head by a temperature above 1, and return its evidence, softened likewise."""
    head = network.classifier
    if temperature <= 1 or type(head) is not nn.Linear:
        return evidence
    with torch.no_grad():
        head.weight.div_(temperature)
        head.bias.div_(temperature)
    return log_softmax(evidence / temperature, axis=2)


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
