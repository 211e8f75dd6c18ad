"""Training one method: the stages, in order."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock
from lightning_fabric import Fabric
from torch import Tensor, nn

from counterpoise.balance.adjust import Adjustment
from counterpoise.balance.heads import HeadStage
from counterpoise.balance.losses import ClassificationLoss
from counterpoise.balance.objectives import Objective
from counterpoise.balance.samplers import ImageSampler, epoch_indices
from counterpoise.config.train import TrainConfig
from counterpoise.datasets import ImageSplit
from counterpoise.exceptions import InputError
from counterpoise.files import content_hash
from counterpoise.methods import CROSS_ENTROPY, Component, Method
from counterpoise.networks import Network
from counterpoise.runs.identity import (
    network_payload,
    training_payload,
)
from counterpoise.training.batch_loss import BatchLoss, LogitLoss, ObjectiveLoss
from counterpoise.training.batches import TensorBatches, memory_format
from counterpoise.training.device import cpu_threads, make_fabric
from counterpoise.training.frozen import refuse_pixel_methods, trained_part, trains_in_vain
from counterpoise.training.loop import Stage, train_stage
from counterpoise.training.predict import EmbeddedSplit, embed_images, head_validation, predict_logits
from counterpoise.training.progress import ProgressCallback
from counterpoise.training.randomness import generator_for, seed_for

# Where a method acts on the network itself; how a head is made afterwards is not part of it.
NETWORK_PLACES = ("sampler", "augment", "perturb", "loss", "objective")


@dataclass(frozen=True)
class ResampledSet:
    """The training set in feature space, after a feature-space method has grown it.

    Attributes
    ----------
    embeddings : ndarray of shape (M, d), float32
        The originals in their order, then the synthetic points.
    labels : ndarray of shape (M,), int64
        Their classes.
    sample_weight : ndarray of shape (M,), float32
        Their weights, of mean 1.
    originals : int
        How many of them are originals.
    """

    embeddings: np.ndarray
    labels: np.ndarray
    sample_weight: np.ndarray
    originals: int


@dataclass
class Fitted:
    """A trained method.

    Attributes
    ----------
    network : Network
        In evaluation mode, on the training device.
    adjustment : Adjustment or None
        Applied to the logits of the network.
    history : list of dict
        One entry per epoch of every stage.
    seconds : dict of str to float
        Wall time of each stage.
    grown : ResampledSet or None
        What the head of a feature-space method was trained on.
    """

    network: Network
    adjustment: Adjustment | None
    history: list[dict[str, Any]]
    seconds: dict[str, float] = field(default_factory=dict)
    grown: ResampledSet | None = None

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
    """Train `network` in place as `method` says.

    Parameters
    ----------
    method : Method
        The record.
    network : Network
        A freshly made or pretrained network; trained in place.
    train : ImageSplit
        The training images and labels. Of an `EmbeddedSplit` the head alone is trained, on its embeddings.
    config : TrainConfig
        All settings.
    validation : ImageSplit, optional
        Evaluated after every epoch, for the learning curves; training does not depend on it.
    checkpoints : Path, optional
        Folder that a killed training is resumed from.
    shared : Path, optional
        Folder where methods that train the network in the same way find each other's: the first trains it, the
        others go on from there. `checkpoints` by default.
    identity : str
        Hash of the images and of the network; a checkpoint of another is not resumed.
    classes : sequence of str, optional
        The names of the classes; a cost matrix with names is put into their order.
    progress : ProgressCallback, optional
        Hears of every few steps.

    Returns
    -------
    Fitted

    Raises
    ------
    TrainingError
        If the loss is no longer finite.
    InputError
        If a setting of the method is refused.
    """
    with cpu_threads(config.threads):
        fabric = make_fabric(config)
        fit = _MethodFit(
            method,
            network,
            train,
            config,
            validation,
            checkpoints,
            shared,
            identity,
            classes,
            progress,
            fabric,
        )
        return fit.run()


class _MethodFit:
    def __init__(
        self,
        method: Method,
        network: Network,
        train: ImageSplit,
        config: TrainConfig,
        validation: ImageSplit | None,
        checkpoints: Path | None,
        shared: Path | None,
        identity: str,
        classes: Sequence[str] | None,
        progress: ProgressCallback | None,
        fabric: Fabric,
    ) -> None:
        self.method = method
        self.network = network.to(memory_format=memory_format(network.in_channels))
        self.train = train
        self.config = config.model_copy(update={"schedule": config.schedule or method.schedule})
        self.validation = validation if validation is not None and len(validation) else None
        self.checkpoints = checkpoints
        self.shared = shared or checkpoints
        self.identity = identity
        self.classes = classes
        self.progress = progress or ProgressCallback()
        self.fabric = fabric
        self.class_counts = train.class_counts(network.num_classes)
        self.seconds: dict[str, float] = {}

    def run(self) -> Fitted:
        """Run the stages that the method asks for."""
        adjustment: Adjustment | None = self._build(self.method.adjust)
        if adjustment is not None and adjustment.needs_logits and self.validation is None:
            raise InputError(f"{self.method.label} learns from validation images; keep some")
        if isinstance(self.train, EmbeddedSplit):
            refuse_pixel_methods(self.method)
        history = [] if trains_in_vain(self.method, self.train) else self._train_network()
        grown = None
        if self.method.head is not None:
            grown = self._grow()
            history += self._make_head(grown)
        if adjustment is not None:
            self._fit_adjustment(adjustment)
        self.network.eval()
        return Fitted(
            self.network, adjustment, history, self.seconds, grown if self.method.features else None
        )

    def _train_network(self) -> list[dict[str, Any]]:
        name = "train" if self.method.head is None else "representation"
        train, sampler = self._sampled_images()
        order_seed = seed_for(self.config.seed, "order")

        def order(epoch: int) -> np.ndarray:
            return epoch_indices(sampler, train.labels, seed=order_seed, epoch=epoch)

        module, batches, validate = trained_part(
            self.network, train, self.validation, order, self.config, self.fabric.device
        )
        objective = self._build(self.method.objective)
        stage = Stage(
            name=name,
            module=module,
            batch_loss=self._batch_loss(train, objective),
            batches=batches,
            epochs=self.config.epochs,
            # A head that is not in use yet has no learning curve.
            validate=None if objective is not None and objective.classifies_by_distance else validate,
            identity=self._network_identity(),
        )
        with self._timed(name), self._claimed(stage) as claimed:
            history = train_stage(claimed, self.config, self.fabric, self.progress)
        if objective is not None:
            self._take_prototypes(objective)
        # Another method may have trained it, under its own name for the stage.
        return [entry | {"stage": name} for entry in history]

    def _sampled_images(self) -> tuple[ImageSplit, ImageSampler | None]:
        """Return the images that the network is trained on, and what samples them epoch by epoch."""
        sampler = self._build(self.method.sampler)
        if sampler is None or not sampler.makes_images:
            return self.train, sampler
        if not self.train.in_memory:
            raise InputError(
                f"{self.method.label} makes new images of those in memory, and these are read when they are needed; "
                "use smaller images or another method"
            )
        with self._timed("oversample"):
            images, labels = sampler.fit_resample(self.train.images, self.train.labels)
        names = (*self.train.paths, *(f"new/{i:06d}" for i in range(len(labels) - len(self.train))))
        return ImageSplit(images, labels, names), None

    def _batch_loss(self, train: ImageSplit, objective: Objective | None) -> BatchLoss:
        device, seed = self.fabric.device, self.config.seed
        loss = self._build(self.method.loss).to(device)
        augment = [piece for piece in (self._build(self.method.augment),) if piece is not None]
        perturb = self._build(self.method.perturb)
        if any(piece.mixes_classes for piece in augment) and (perturb is not None or objective is not None):
            raise InputError(
                f"{self.method.label}: images of mixed classes must come last; mix them as perturb="
            )
        if objective is None:
            return LogitLoss(
                loss, augment if perturb is None else [*augment, perturb], seed=seed, device=device
            )
        if perturb is not None:
            raise InputError(
                f"{self.method.label}: an objective and a perturbation cannot act together; leave one out"
            )
        self._refuse_idle_loss(objective, loss)
        labels = torch.from_numpy(train.labels).to(device)
        return ObjectiveLoss(
            objective,
            loss,
            partial(self._embed_training_set, train),
            labels,
            seed=seed,
            augment=augment,
            autocast=self.fabric.autocast,
        )

    def _refuse_idle_loss(self, objective: Objective, loss: ClassificationLoss) -> None:
        plain = self.method.loss.identity() == CROSS_ENTROPY.identity()
        if plain or objective.loss_epochs is None or loss.first_epoch < objective.loss_epochs:
            return
        raise InputError(
            f"{self.method.label}: the loss would change nothing, as only the first {objective.loss_epochs} of "
            f"{self.config.epochs} epochs look at it; leave it out, or raise objective.defer_epochs"
        )

    def _embed_training_set(self, train: ImageSplit, rows: Tensor | None = None) -> Tensor:
        device = self.fabric.device
        if rows is not None:
            train = train.subset(rows.cpu().numpy())
        embeddings = embed_images(self.network, train, device=device, workers=self.config.workers)
        return torch.from_numpy(embeddings).to(device)

    def _take_prototypes(self, objective: Objective) -> None:
        if not objective.classifies_by_distance:
            return
        embeddings = self._embed_training_set(self.train)
        labels = torch.from_numpy(self.train.labels).to(embeddings.device)
        found = objective.prototypes(embeddings, labels, generator_for(self.config.seed, "prototypes"))
        if found is not None:
            self.network.set_prototypes(*found)

    def _build(self, component: Component | None, *, epochs: int | None = None) -> Any:
        """Return the built component, or None; `epochs` are those of its stage."""
        if component is None:
            return None
        return component.build(
            class_counts=self.class_counts,
            class_names=self.classes,
            epochs=epochs or self.config.epochs,
            random_state=seed_for(self.config.seed, "oversample"),
            n_jobs=self.config.threads,
        )

    def _network_identity(self) -> str:
        """Hash of all that the trained network depends on; how a head is trained afterwards is not part of it."""
        components = {
            slot: component.identity()
            for slot, component in self.method.components.items()
            if slot in NETWORK_PLACES
        }
        return content_hash([self.identity, components, self.method.head_layer, network_payload(self.config)])

    @contextmanager
    def _claimed(self, stage: Stage) -> Iterator[Stage]:
        """Give a stage its checkpoint; whoever wants the same network waits until this one has trained it."""
        if self.shared is None:
            yield stage
            return
        path = self.shared / f"network-{stage.identity[:16]}.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock")):
            yield replace(stage, checkpoint=path)

    def _grow(self) -> ResampledSet:
        with self._timed("embed"):
            embeddings = embed_images(
                self.network, self.train, device=self.fabric.device, workers=self.config.workers
            )
        labels, weights = self.train.labels, np.ones(len(embeddings), dtype=np.float32)
        grown = embeddings
        if self.method.features is not None:
            with self._timed("oversample"):
                oversampler = self._build(self.method.features)
                grown, labels = oversampler.fit_resample(embeddings, labels)
                weights = np.asarray(oversampler.sample_weight_, dtype=np.float64)
            # Of mean 1, so that the learning rate means the same for every method.
            weights = (weights / weights.mean()).astype(np.float32)
        return ResampledSet(grown, labels.astype(np.int64), weights, originals=len(embeddings))

    def _make_head(self, grown: ResampledSet) -> list[dict[str, Any]]:
        device = self.fabric.device
        head_stage: HeadStage = self._build(self.method.head)
        if head_stage.fresh:
            seed = seed_for(self.config.seed, "head")
            self.network.reset_head(generator=torch.Generator().manual_seed(seed))
        self.network.eval()
        embeddings = torch.from_numpy(grown.embeddings).to(device)
        labels = torch.from_numpy(grown.labels).to(device)
        with self._timed("head"):
            head = self.network.classifier
            module = head_stage.prepare(head, embeddings, labels)
            history = []
            if head_stage.trains:
                history = self._train_head(module, head_stage.lr_factor, embeddings, labels, grown)
            head_stage.finish(module, head)
        return history

    def _train_head(
        self, module: nn.Module, lr_factor: float, embeddings: Tensor, labels: Tensor, grown: ResampledSet
    ) -> list[dict[str, Any]]:
        seed, device = self.config.seed, self.fabric.device
        epochs = self.config.head_epochs or self.config.epochs
        sampler = self._build(self.method.head_sampler, epochs=epochs)

        def order(epoch: int) -> np.ndarray:
            if sampler is None:
                return generator_for(seed, "head order", epoch).permutation(len(grown.labels))
            return epoch_indices(sampler, grown.labels, seed=seed_for(seed, "head order"), epoch=epoch)

        config = self.config.model_copy(
            update={
                "epochs": epochs,
                "batch_size": self.config.head_batch_size,
                "lr": self.config.lr * lr_factor,
            }
        )
        stage = Stage(
            name="head",
            module=module,
            batch_loss=LogitLoss(self._build(self.method.head_loss, epochs=epochs).to(device)),
            batches=TensorBatches(
                embeddings,
                labels,
                order,
                batch_size=config.batch_size,
                weights=torch.from_numpy(grown.sample_weight).to(device),
            ),
            epochs=config.epochs,
            validate=head_validation(self.network, module, self.validation, self.config),
            checkpoint=self.checkpoints / "head.safetensors" if self.checkpoints else None,
            identity=content_hash([self.identity, self.method.identity(), training_payload(self.config)]),
        )
        return train_stage(stage, config, self.fabric, self.progress)

    def _fit_adjustment(self, adjustment: Adjustment) -> None:
        split = self.validation
        if split is None:
            adjustment.fit(None, None, self.class_counts)
            return
        logits = predict_logits(self.network, split, device=self.fabric.device, workers=self.config.workers)
        adjustment.fit(logits, split.labels, self.class_counts)

    @contextmanager
    def _timed(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - start
