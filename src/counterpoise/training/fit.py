"""Training one method: the stages, in order."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock
from lightning_fabric import Fabric

from counterpoise.balance.adjust import Adjustment
from counterpoise.balance.samplers import epoch_indices
from counterpoise.datasets import ImageSplit
from counterpoise.files import content_hash
from counterpoise.methods import Method
from counterpoise.networks import Network
from counterpoise.training.batches import TensorBatches, image_batches, memory_format
from counterpoise.training.config import TrainingConfig
from counterpoise.training.device import cpu_threads, make_fabric
from counterpoise.training.loop import Stage, train_stage
from counterpoise.training.predict import embed_images, predict_logits
from counterpoise.training.progress import Progress
from counterpoise.training.randomness import generator_for, seed_for
from counterpoise.training.validation import head_validation, network_validation


@dataclass(frozen=True)
class GrownSet:
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
    grown : GrownSet or None
        What the head of a feature-space method was trained on.
    """

    network: Network
    adjustment: Adjustment | None
    history: list[dict[str, Any]]
    seconds: dict[str, float] = field(default_factory=dict)
    grown: GrownSet | None = None

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
    config: TrainingConfig,
    validation: ImageSplit | None = None,
    checkpoints: Path | None = None,
    shared: Path | None = None,
    identity: str = "",
    progress: Progress | None = None,
) -> Fitted:
    """Train `network` in place as `method` says.

    Parameters
    ----------
    method : Method
        The record.
    network : Network
        A freshly made or pretrained network; trained in place.
    train : ImageSplit
        The training images and labels.
    config : TrainingConfig
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
    progress : Progress, optional
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
            method, network, train, config, validation, checkpoints, shared, identity, progress, fabric
        )
        return fit.run()


class _MethodFit:
    def __init__(
        self,
        method: Method,
        network: Network,
        train: ImageSplit,
        config: TrainingConfig,
        validation: ImageSplit | None,
        checkpoints: Path | None,
        shared: Path | None,
        identity: str,
        progress: Progress | None,
        fabric: Fabric,
    ) -> None:
        self.method = method
        self.network = network.to(memory_format=memory_format(network.in_channels))
        self.train = train
        self.config = config
        self.validation = validation if validation is not None and len(validation) else None
        self.checkpoints = checkpoints
        self.shared = shared or checkpoints
        self.identity = identity
        self.progress = progress or Progress()
        self.fabric = fabric
        self.class_counts = train.class_counts(network.num_classes)
        self.seconds: dict[str, float] = {}

    def run(self) -> Fitted:
        """Run the stages that the method asks for."""
        history = self._train_network()
        grown = None
        if self.method.features is not None:
            grown = self._grow()
            history += self._train_head(grown)
        adjustment = self._adjust()
        self.network.eval()
        return Fitted(self.network, adjustment, history, self.seconds, grown)

    def _train_network(self) -> list[dict[str, Any]]:
        name = "representation" if self.method.features is not None else "train"
        seed = self.config.seed
        sampler = self.method.sampler.build() if self.method.sampler else None
        labels = self.train.labels

        def order(epoch: int) -> np.ndarray:
            return epoch_indices(sampler, labels, seed=seed_for(seed, "order"), epoch=epoch)

        batches = image_batches(
            self.train,
            order,
            batch_size=self.config.batch_size,
            device=self.fabric.device,
            workers=self.config.workers,
        )
        stage = Stage(
            name=name,
            module=self.network,
            loss=self.method.loss.build(class_counts=self.class_counts),
            batches=batches,
            epochs=self.config.epochs,
            validate=network_validation(self.network, self.validation, self.config),
            identity=self._network_identity(),
        )
        with self._timed(name), self._claimed(stage) as claimed:
            history = train_stage(claimed, self.config, self.fabric, self.progress)
        # Another method may have trained it, under its own name for the stage.
        return [entry | {"stage": name} for entry in history]

    def _network_identity(self) -> str:
        """Hash of all that the trained network depends on; how a head is trained afterwards is not part of it."""
        pieces = {
            place: [piece.name, piece.defaults()]
            for place, piece in self.method.places.items()
            if place in ("sampler", "loss")
        }
        config = self.config.model_dump(exclude={"head_epochs", "head_batch_size"})
        return content_hash([self.identity, pieces, config])

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

    def _grow(self) -> GrownSet:
        assert self.method.features is not None
        with self._timed("embed"):
            embeddings = embed_images(
                self.network, self.train, device=self.fabric.device, workers=self.config.workers
            )
        with self._timed("oversample"):
            oversampler = self.method.features.build(
                random_state=seed_for(self.config.seed, "oversample"), n_jobs=self.config.threads
            )
            grown, labels = oversampler.fit_resample(embeddings, self.train.labels)
            weights = np.asarray(oversampler.sample_weight_, dtype=np.float64)
        # Of mean 1, so that the learning rate means the same for every method.
        weights = (weights / weights.mean()).astype(np.float32)
        return GrownSet(grown, labels.astype(np.int64), weights, originals=len(embeddings))

    def _train_head(self, grown: GrownSet) -> list[dict[str, Any]]:
        seed, device = self.config.seed, self.fabric.device
        self.network.reset_head(generator=torch.Generator().manual_seed(seed_for(seed, "head")))
        self.network.eval()
        batches = TensorBatches(
            torch.from_numpy(grown.embeddings).to(device),
            torch.from_numpy(grown.labels).to(device),
            lambda epoch: generator_for(seed, "head order", epoch).permutation(len(grown.labels)),
            batch_size=self.config.head_batch_size,
            weights=torch.from_numpy(grown.sample_weight).to(device),
        )
        config = self.config.model_copy(
            update={
                "epochs": self.config.head_epochs or self.config.epochs,
                "batch_size": self.config.head_batch_size,
            }
        )
        with self._timed("head"):
            stage = Stage(
                name="head",
                module=self.network.classifier,
                loss=self.method.head_loss.build(class_counts=self.class_counts),
                batches=batches,
                epochs=config.epochs,
                validate=head_validation(self.network, self.validation, self.config),
                checkpoint=self.checkpoints / "head.safetensors" if self.checkpoints else None,
                identity=content_hash([self.identity, self.method.options(), self.config.model_dump()]),
            )
            return train_stage(stage, config, self.fabric, self.progress)

    def _adjust(self) -> Adjustment | None:
        if self.method.adjust is None:
            return None
        adjustment = self.method.adjust.build()
        split = self.validation
        logits = np.empty((0, self.network.num_classes), dtype=np.float32)
        if split is not None:
            logits = predict_logits(
                self.network, split, device=self.fabric.device, workers=self.config.workers
            )
        labels = split.labels if split is not None else np.empty(0, dtype=np.int64)
        return adjustment.fit(logits, labels, self.class_counts)

    @contextmanager
    def _timed(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - start
