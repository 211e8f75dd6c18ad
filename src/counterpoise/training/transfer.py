"""Training from pretrained weights: frozen, fine-tuned after its head (LP-FT), or whichever validation prefers."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from counterpoise.config import TrainConfig
from counterpoise.datasets import ImageDataset, ImageSplit
from counterpoise.files import content_hash
from counterpoise.methods import Method, get_method
from counterpoise.networks import Network, freeze
from counterpoise.training.fit import Fitted, fine_tune, fit_method
from counterpoise.training.predict import learning_curve_scores
from counterpoise.training.stage import ProgressCallback, RenamedStage

HEAD_FIRST = "head first"
"""Stage that fits the head to frozen features before fine-tuning."""


@dataclass(frozen=True, kw_only=True)
class FitJob:
    """Arguments of `fit_method` that do not depend on what is frozen."""

    method: Method
    config: TrainConfig
    checkpoints: Path
    shared: Path | None
    identity: str
    classes: Sequence[str]
    progress: ProgressCallback
    minority: Sequence[int] | None = None

    def fit(self, network: Network, splits: ImageDataset) -> Fitted:
        """Train a network, or, on embedded splits, its head."""
        return fit_method(
            self.method,
            network,
            splits.train,
            config=self.config,
            validation=splits.validation,
            checkpoints=self.checkpoints,
            shared=self.shared,
            identity=self.identity,
            classes=self.classes,
            minority=self.minority,
            progress=self.progress,
        )

    def fit_head(self, network: Network, embedded: ImageDataset) -> Fitted:
        """Fit the head to frozen features without weights, whatever the method, which acts afterwards."""
        start = replace(get_method("bl"), head_layer=self.method.head_layer)
        progress = RenamedStage(self.progress, HEAD_FIRST)
        return replace(self, method=start, progress=progress).fit(network, embedded)

    def fine_tune(self, network: Network, splits: ImageDataset, embedded: ImageDataset) -> Fitted:
        """Fit the head to the frozen features of all images, and train the whole network from there.

        The head converges within seconds and so has no checkpoint: an interrupted run fits it once more, to the same.
        """
        head = self.fit_head(network, embedded)
        tuned = fine_tune(
            head.network,
            splits.train,
            method=self.method,
            config=self.config,
            validation=splits.validation,
            checkpoints=self.checkpoints,
            shared=self.shared,
            identity=content_hash([self.identity, self.config.penalty]),
            classes=self.classes,
            minority=self.minority,
            progress=self.progress,
        )
        seconds = {HEAD_FIRST: sum(head.seconds.values())}
        penalties = {HEAD_FIRST: head.penalties["train"]}
        return replace(tuned, seconds=seconds | tuned.seconds, penalties=penalties | tuned.penalties)


@dataclass(frozen=True)
class FreezeEvidence:
    """Class-balanced validation log loss of the frozen and the fine-tuned network; None without validation images."""

    frozen: float | None = None
    fine_tuned: float | None = None

    @property
    def prefers_frozen(self) -> bool:
        """Whether the frozen network is at least as good, or there is no evidence."""
        return self.frozen is None or self.fine_tuned is None or self.frozen <= self.fine_tuned


def fit_by_validation(
    job: FitJob, network: Network, splits: ImageDataset, embedded: ImageDataset
) -> tuple[Fitted, FreezeEvidence]:
    """Train the network frozen and fine-tuned, and return the one with the lower class-balanced validation loss.

    Without validation images it stays frozen, and is not fine-tuned.
    """
    body = copy.deepcopy(network)
    freeze(body, "all")
    frozen = job.fit(body, embedded)
    if not splits.validation or not embedded.validation:
        return frozen, FreezeEvidence()
    tuned = job.fine_tune(network, splits, embedded)
    counts = splits.train.class_counts(splits.num_classes)
    evidence = FreezeEvidence(
        _balanced_loss(frozen, embedded.validation, counts), _balanced_loss(tuned, splits.validation, counts)
    )
    return frozen if evidence.prefers_frozen else tuned, evidence


def _balanced_loss(fitted: Fitted, validation: ImageSplit, counts: np.ndarray) -> float:
    """Return the class-balanced log loss; an adjustment that learns from the images is cross-fitted to them."""
    logits = replace(fitted, adjustment=None).logits(validation)
    if fitted.adjustment is not None:
        logits = fitted.adjustment.cross_fit(logits, validation.labels, counts)
    return learning_curve_scores(logits, validation.labels)["validation_balanced_loss"]
