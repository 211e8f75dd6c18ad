"""One variant of an enhancement study, from its classifier's run to a finished run folder."""

from __future__ import annotations

import shutil
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import torch

from counterpoise._version import __version__
from counterpoise.datasets import ImageDataset, SplitManifest
from counterpoise.evaluation import confusion_matrix
from counterpoise.files import content_hash, write_json
from counterpoise.networks import EnhancedNetwork, Enhancer, Network, freeze, save_network
from counterpoise.runs.folder import RunFolder
from counterpoise.studies.enhance.copying import train_copier
from counterpoise.studies.enhance.plan import ENHANCED, FRESH, TRAINED_ON, VariantPlan
from counterpoise.training.artifacts import training_map
from counterpoise.training.environment import hardware, versions
from counterpoise.training.fit import Fitted, fit_method
from counterpoise.training.predict import predict_logits
from counterpoise.training.preparation import make_network
from counterpoise.training.progress import Named, ProgressCallback
from counterpoise.training.randomness import seed_for
from counterpoise.training.scoring import held_out_logits, write_scores


def variant_title(plan: VariantPlan) -> str:
    """Return a variant's name for people."""
    if plan.arm == ENHANCED:
        return "U-Net + the same classifier" + (", frozen" if plan.frozen else ", fine-tuned")
    return {TRAINED_ON: "Continued training", FRESH: "U-Net + a fresh classifier"}[plan.arm]


def execute_variant(
    plan: VariantPlan,
    dataset: ImageDataset,
    path: Path,
    *,
    classifier: Path,
    shared: Path,
    on_progress: ProgressCallback | None = None,
) -> RunFolder:
    """Train and evaluate one variant and write it to the run folder `path`.

    A finished run is returned as it is; an unfinished one resumes from its last checkpoint.

    Parameters
    ----------
    plan : VariantPlan
    dataset : ImageDataset
        The loaded dataset that the plan names.
    path : Path
        The run folder.
    classifier : Path
        The finished run of the second step.
    shared : Path
        Folder where variants share the U-Net of the first step.
    on_progress : ProgressCallback, optional
        Called every few steps.

    Raises
    ------
    RunFolderError
        If a folder holds another run or cannot be read or written.
    TrainingError
        If the loss is not finite.
    """
    folder = RunFolder(path)
    if folder.is_complete(plan.hash):
        return folder
    with folder.claimed(plan.hash):
        opened, on_progress = RunFolder.open(classifier), on_progress or ProgressCallback()
        _Variant(plan, dataset, folder, opened, shared, on_progress).execute()
    return RunFolder(path)


class _Variant:
    def __init__(
        self,
        plan: VariantPlan,
        dataset: ImageDataset,
        folder: RunFolder,
        classifier: RunFolder,
        shared: Path,
        on_progress: ProgressCallback,
    ) -> None:
        self.plan = plan
        self.folder = folder
        self.classifier = classifier
        self.shared = shared
        self.on_progress = on_progress
        self.manifest = SplitManifest.load(classifier.path / "manifest.json")
        self.splits = self.manifest.apply(dataset)
        self.copy_history: list[dict[str, Any]] = []
        # Other batches than those of the classifier's first epochs.
        seed = seed_for(plan.config.seed, "enhance")
        self.config = plan.config.model_copy(update={"epochs": plan.epochs, "seed": seed})

    def execute(self) -> None:
        """Train, score and write."""
        start = time.perf_counter()
        network = self._start()
        trained = time.perf_counter()
        fitted = fit_method(
            self.plan.record,
            network,
            self.splits.train,
            config=self.config,
            validation=self.splits.validation,
            checkpoints=self.folder.checkpoints,
            identity=content_hash([self.plan.hash, self.manifest.hash]),
            classes=self.splits.classes,
            progress=Named(self.on_progress, self.plan.arm),
        )
        fitted.seconds |= {"start": trained - start}
        self._write(fitted, start)

    def _start(self) -> Network:
        """Return the network before training."""
        if self.plan.arm == TRAINED_ON:
            return self._classifier()
        copier = train_copier(
            self.splits,
            width=self.plan.width,
            epochs=self.plan.copy_epochs,
            config=self.plan.config,
            folder=self.shared,
            identity=content_hash([self.manifest.hash, self.plan.image_size]),
            progress=self.on_progress,
        )
        self.copy_history = copier.history
        enhancer = Enhancer(copier.unet)
        if self.plan.arm == FRESH:
            return EnhancedNetwork(enhancer, make_network(self.plan, self.splits), frozen=False)
        return EnhancedNetwork(enhancer, self._classifier(), frozen=self.plan.frozen)

    def _classifier(self) -> Network:
        """Return the classifier of the second step, with its frozen layers."""
        network = self.classifier.load_network()
        if self.plan.freeze is not None:
            freeze(network, self.plan.freeze)  # type: ignore[arg-type]
        return network

    def _write(self, fitted: Fitted, start: float) -> None:
        folder, network = self.folder, fitted.network
        device = next(network.parameters()).device
        scored = time.perf_counter()
        self.manifest.save(folder.path / "manifest.json")
        logits = held_out_logits(network, self.splits, device=device, workers=self.config.workers)
        write_scores(folder, self.splits, self.manifest.minority, logits, None)
        train = self._confusion_on_train(network, device) if self.plan.arm == ENHANCED else None
        # Of the same images as the classifier's.
        points = training_map(network, self.splits.train, self.plan.config)
        write_json(folder.path / "embedding.json", points)
        write_json(folder.path / "history.json", fitted.history)
        save_network(network, folder.path / "model.safetensors")
        if isinstance(network, EnhancedNetwork):
            network.enhancer.save(folder.path / "enhancer.safetensors")
        finished = time.perf_counter()
        timings = fitted.seconds | {"evaluate": finished - scored, "total": finished - start}
        write_json(folder.record_path, self._record(network, device, train, timings))
        shutil.rmtree(folder.checkpoints, ignore_errors=True)

    def _confusion_on_train(self, network: Network, device: torch.device) -> dict[str, list[list[int]]]:
        """Return the confusion matrices, on the training images, of the classifier alone and behind the U-Net."""
        networks = {self.plan.classifier: self.classifier.load_network(), self.plan.arm: network}
        split, classes = self.splits.train, self.splits.num_classes
        found = {}
        for name, module in networks.items():
            predicted = predict_logits(module, split, device=device, workers=self.config.workers).argmax(
                axis=1
            )
            found[name] = np.asarray(confusion_matrix(split.labels, predicted, num_classes=classes)).tolist()
        return found

    def _record(
        self,
        network: Network,
        device: torch.device,
        train: dict[str, list[list[int]]] | None,
        timings: dict[str, float],
    ) -> dict[str, Any]:
        """Return the record: the classifier's, with the differences."""
        plan = self.plan
        return self.classifier.record | {
            "version": __version__,
            "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "method": plan.arm,
            "method_title": variant_title(plan),
            "method_options": plan.record.options(),
            "network": network.config,
            "training": self.config.model_dump(),
            "config_hash": plan.hash,
            "enhance": {
                "method": plan.method,
                "classifier": plan.classifier,
                "classifier_run": self.classifier.path.name,
                "frozen": plan.frozen if plan.arm == ENHANCED else False,
                "copy": self.copy_history,
                "train_confusion": train,
            },
            "versions": versions(),
            "hardware": hardware(device.type) | {"threads": plan.config.threads},
            "timings": {name: round(seconds, 3) for name, seconds in timings.items()},
        }
