"""Training of one method: its stages, in order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from counterpoise.balance.adjust import Adjustment
from counterpoise.config import TrainConfig
from counterpoise.datasets import ImageSplit
from counterpoise.exceptions import InputError
from counterpoise.methods import Method
from counterpoise.networks import Network
from counterpoise.training.batches import memory_format
from counterpoise.training.machine import cpu_threads, make_fabric
from counterpoise.training.method_stages import (
    ResampledSet,
    resample_embeddings,
    train_head,
    train_network,
)
from counterpoise.training.predict import EmbeddedSplit, predict_logits
from counterpoise.training.stage import FitContext, HistoryEntryDict, ProgressCallback


@dataclass
class Fitted:
    """Result of `fit_method`.

    `network` is in evaluation mode, on the training device; `adjustment` applies to its logits. `history` has one entry
    per epoch of every stage; `seconds` is the wall time of each stage. `resampled` is the training set of the head of
    a feature-space method.
    """

    network: Network
    adjustment: Adjustment | None
    history: list[HistoryEntryDict]
    seconds: dict[str, float] = field(default_factory=dict)
    resampled: ResampledSet | None = None

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
    progress: ProgressCallback | None = None,
) -> Fitted:
    """Train `network` in place by `method`.

    Parameters
    ----------
    train : ImageSplit
        With an `EmbeddedSplit` only the head is trained, on its embeddings.
    validation : ImageSplit, optional
        Evaluated after every epoch, for the learning curves; training does not depend on it.
    checkpoints, shared : Path, optional
        Folder of checkpoints, from which an interrupted training resumes, and of networks that methods share: the first
        that needs a network trains it. The second is the first by default.
    identity : str
        Hash of the images and of the network; a checkpoint with another identity is not resumed.
    classes : sequence of str, optional
        Class names, by which a named cost matrix is ordered.

    Raises
    ------
    TrainingError
        If the loss is no longer finite.
    InputError
        If a setting of the method is refused.
    """
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
            progress=progress or ProgressCallback(),
        )
        return _fit(context)


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
    if not (embedded and head is not None and head.fresh):
        history += train_network(context)
    resampled = None
    if head is not None:
        resampled = resample_embeddings(context)
        history += train_head(context, resampled)
    if adjustment is not None:
        split = context.validation
        logits, labels = (None, None) if split is None else (context.logits(split), split.labels)
        adjustment.fit(logits, labels, context.class_counts)
    network.eval()
    return Fitted(network, adjustment, history, context.seconds, resampled if method.features else None)


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
