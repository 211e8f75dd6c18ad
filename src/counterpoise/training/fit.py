"""Training of one method: its stages, in order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from counterpoise.balance.adjust import Adjustment, LogitAdjustment
from counterpoise.config import TrainConfig, fine_tuning_config
from counterpoise.datasets import ImageSplit
from counterpoise.exceptions import InputError
from counterpoise.files import content_hash
from counterpoise.methods import Method, get_method
from counterpoise.networks import Network
from counterpoise.training.batches import memory_format
from counterpoise.training.machine import cpu_threads, make_fabric
from counterpoise.training.method_stages import ResampledSet, resample_embeddings, train_head, train_network
from counterpoise.training.predict import EmbeddedSplit, predict_logits
from counterpoise.training.stage import FitContext, HistoryEntryDict, ProgressCallback


@dataclass
class Fitted:
    """Result of `fit_method`.

    `network` is in evaluation mode, on the training device; `adjustment` applies to its logits. `history` has one entry
    per epoch of every stage; `seconds` is the wall time of each stage, and `penalties` is the L2 penalty of each stage
    that trains a head to convergence. `resampled` is the training set of the head of a feature-space method.
    `evidence` has log-probabilities (repeats, N, C) of the training images under models that did not learn from them,
    NaN for images that always trained.
    """

    network: Network
    adjustment: Adjustment | None
    history: list[HistoryEntryDict]
    seconds: dict[str, float] = field(default_factory=dict)
    resampled: ResampledSet | None = None
    penalties: dict[str, float] = field(default_factory=dict)
    evidence: np.ndarray | None = None

    def logits(self, split: ImageSplit, *, workers: int = 0) -> np.ndarray:
        """Return the adjusted logits of a split, float32 of shape (N, C)."""
        device = next(self.network.parameters()).device
        logits = predict_logits(self.network, split, device=device, workers=workers)
        return logits if self.adjustment is None else self.adjustment.transform(logits)


def fit_method(
    method: Method,
    network: Network,
    train: ImageSplit,
    *,
    config: TrainConfig,
    validation: ImageSplit | None = None,
    checkpoints: Path | None = None,
    shared: Path | None = None,
    identity: str = "",
    classes: Sequence[str] | None = None,
    minority: Sequence[int] | None = None,
    sample_weight: np.ndarray | None = None,
    progress: ProgressCallback | None = None,
) -> Fitted:
    """Train `network` in place by `method`.

    Parameters
    ----------
    train : ImageSplit
        With an `EmbeddedSplit` only the head is trained, on its embeddings: to convergence if the network standardizes
        them, else for the epochs of `config`.
    validation : ImageSplit, optional
        Evaluated after every epoch, for the learning curves; training depends on it only where `config` selects the
        best epoch or has patience.
    checkpoints, shared : Path, optional
        Folder of checkpoints, from which an interrupted training resumes, and of networks that methods share: the first
        that needs a network trains it. The second is the first by default.
    identity : str
        Hash of the images and of the network; a checkpoint with another identity is not resumed.
    classes : sequence of str, optional
        Class names, by which a named cost matrix is ordered.
    minority : sequence of int, optional
        Minority classes, for components that treat them differently; by default they follow from the class sizes.
    sample_weight : ndarray of float, shape (N,), optional
        Factors, best of mean 1, of the training images' losses. With checkpoints, `identity` must depend on them.

    Raises
    ------
    TrainingError
        If the loss is no longer finite.
    InputError
        If a setting of the method is refused, or it cannot weight images.
    """
    check_epochs_compare(config, validation)
    if sample_weight is not None:
        _refuse_weights(method, network)
    with cpu_threads(config.threads):
        fabric = make_fabric(config)
        context = FitContext(
            method=method,
            network=network.to(fabric.device).to(memory_format=memory_format(network.in_channels)),
            train=train,
            config=config.model_copy(update={"schedule": config.schedule or method.schedule}),
            fabric=fabric,
            validation=validation if validation is not None and len(validation) else None,
            checkpoints=checkpoints,
            shared=shared or checkpoints,
            identity=identity,
            classes=classes,
            minority=minority,
            weights=None if sample_weight is None else torch.tensor(sample_weight).float().to(fabric.device),
            progress=progress or ProgressCallback(),
        )
        return _fit(context)


def fine_tune(
    network: Network,
    train: ImageSplit,
    *,
    method: Method | None = None,
    config: TrainConfig | None = None,
    validation: ImageSplit | None = None,
    checkpoints: Path | None = None,
    shared: Path | None = None,
    identity: str = "",
    classes: Sequence[str] | None = None,
    minority: Sequence[int] | None = None,
    progress: ProgressCallback | None = None,
) -> Fitted:
    """Train a pretrained network whose head is fitted to its embeddings (LP-FT; Kumar et al. 2022).

    The head is expected to give probabilities under the shares of the training set, as a fit without weights does.
    Where `method` samples classes by ``n_c ** q`` and adjusts logits for it, the head's bias first moves to those
    shares, so that training need not learn it.

    Parameters
    ----------
    method : Method, optional
        By default ``fine-tuned``.
    config : TrainConfig, optional
        By default `fine_tuning_config()`, which selects the best epoch and so needs `validation`.

    The other parameters, and what is raised, are those of `fit_method`.
    """
    method = method or get_method("fine-tuned")
    power = 1.0 if method.adjust is None else method.adjust.defaults().get("power", 1.0)
    bias = getattr(network.classifier, "bias", None)
    if power != 1 and isinstance(bias, Tensor):
        adjustment = LogitAdjustment(tau=1 - power)
        adjustment.fit(None, None, train.class_counts(network.num_classes))
        with torch.no_grad():
            bias.add_(torch.as_tensor(adjustment.offset_).to(bias))
    return fit_method(
        method,
        network,
        train,
        config=config or fine_tuning_config(),
        validation=validation,
        checkpoints=checkpoints,
        shared=shared,
        # Methods may share a network only if they start from the same head.
        identity=content_hash([identity, power]),
        classes=classes,
        minority=minority,
        progress=progress,
    )


def _fit(context: FitContext) -> Fitted:
    method, network = context.method, context.network
    adjustment: Adjustment | None = context.build(method.adjust)
    if adjustment is not None and adjustment.needs_logits and context.validation is None:
        raise InputError(
            f"{method.label} learns from validation images, and there are none; set `validation_fraction` above 0"
        )
    head: Any = None if method.head is None else method.head.load()
    history: list[HistoryEntryDict] = []
    embedded = isinstance(context.train, EmbeddedSplit)
    if embedded:
        refuse_pixel_methods(method)
    # A network that is frozen whole learns nothing where the method replaces its head.
    if not (embedded and head is not None and (head.fresh or head.replaces)):
        history += train_network(context)
    resampled = None
    if head is not None:
        if network.standardize and not embedded:
            # The network is trained, and its embeddings stay the same from here on.
            context = _embedded(context)
        resampled = resample_embeddings(context)
        history += train_head(context, resampled)
    if adjustment is not None:
        split = context.validation
        logits, labels = (None, None) if split is None else (context.logits(split), split.labels)
        adjustment.fit(logits, labels, context.class_counts)
    network.eval()
    shown = resampled if method.features else None
    return Fitted(network, adjustment, history, context.seconds, shown, context.penalties)


def _embedded(context: FitContext) -> FitContext:
    """Return the context of a network that is trained below its head, with the embeddings of its images."""
    train, validation = (
        None if split is None else EmbeddedSplit.of(split, context.embed(split).cpu().numpy())
        for split in (context.train, context.validation)
    )
    assert train is not None
    return replace(context, train=train, validation=validation)


def check_epochs_compare(config: TrainConfig, validation: ImageSplit | None) -> None:
    """Raise `InputError` where epochs are to be compared and there are no validation images."""
    if config.compares_epochs and not validation:
        asked = "`select` best" if config.select == "best" else "`patience`"
        raise InputError(
            f"{asked} compares epochs on validation images, and there are none; set `validation_fraction` above 0"
        )


def _refuse_weights(method: Method, network: Network) -> None:
    sampler, head = (None if part is None else part.load() for part in (method.sampler, method.head))
    changes: list[Any] = [part.load() for part in (method.augment, method.perturb) if part is not None]
    reasons = {
        "makes synthetic samples": method.features is not None or getattr(sampler, "makes_images", False),
        "mixes images": any(change.mixes_classes for change in changes),
        "compares embeddings of all images": method.objective is not None,
        "computes its head from all embeddings": getattr(head, "replaces", False),
        "chooses the penalty of its head by images of equal weight": network.standardize,
    }
    for reason in (text for text, holds in reasons.items() if holds):
        raise InputError(f"{method.label} {reason} and takes no `sample_weight`; leave it out or use bl-cw")


def refuse_pixel_methods(method: Method) -> None:
    """Raise `InputError` for a method that changes images or has an objective: a frozen network makes it void."""
    sampler = method.sampler.load() if method.sampler is not None else None
    if method.augment is not None or method.perturb is not None or getattr(sampler, "makes_images", False):
        raise InputError(
            f"{method.label} changes images, and a network frozen whole sees each only once, unchanged; "
            "freeze fewer layers (`freeze` N) or use another method"
        )
    if method.objective is not None:
        raise InputError(
            f"{method.label} trains the embedding, and the network is frozen whole; freeze fewer layers (`freeze` N) "
            "or use another method"
        )
