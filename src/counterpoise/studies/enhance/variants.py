"""One variant of an enhancement study, from its classifier's run to a finished run folder."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from counterpoise.datasets import ImageDataset, SplitManifest
from counterpoise.evaluation import confusion_matrix
from counterpoise.files import content_hash
from counterpoise.inference import load_network
from counterpoise.networks import EnhancedNetwork, Enhancer, Network, freeze
from counterpoise.runs import RunFolder
from counterpoise.studies.enhance.copying import train_copier
from counterpoise.studies.enhance.plan import ENHANCED, FRESH, TRAINED_ON, VariantPlan
from counterpoise.training import (
    Fitted,
    HistoryEntryDict,
    ProgressCallback,
    RenamedStage,
    fit_method,
    make_network,
    predict_logits,
    seed_for,
    write_run,
)


def variant_title(plan: VariantPlan) -> str:
    """Return a variant's name for people."""
    if plan.variant == ENHANCED:
        return "U-Net + the same classifier" + (", frozen" if plan.frozen else ", fine-tuned")
    return {TRAINED_ON: "Continued training", FRESH: "U-Net + a fresh classifier"}[plan.variant]


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

    A finished run is returned as it is; an unfinished one resumes from its last checkpoint. `classifier` is the run of
    the second step; variants share the U-Net of the first step in the folder `shared`.
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
        self.copy_history: list[HistoryEntryDict] = []
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
            progress=RenamedStage(self.on_progress, self.plan.variant),
        )
        fitted.seconds |= {"start": trained - start}
        self._write(fitted, start)

    def _start(self) -> Network:
        """Return the network before training."""
        if self.plan.variant == TRAINED_ON:
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
        if self.plan.variant == FRESH:
            return EnhancedNetwork(enhancer, make_network(self.plan, self.splits), frozen=False)
        return EnhancedNetwork(enhancer, self._classifier(), frozen=self.plan.frozen)

    def _classifier(self) -> Network:
        """Return the classifier of the second step, with its frozen layers."""
        network = load_network(self.classifier)
        if self.plan.freeze is not None:
            freeze(network, self.plan.freeze)  # type: ignore[arg-type]
        return network

    def _write(self, fitted: Fitted, started: float) -> None:
        plan, network = self.plan, fitted.network
        train = self._confusion_on_train(network) if plan.variant == ENHANCED else None
        if isinstance(network, EnhancedNetwork):
            network.enhancer.save(self.folder.path / "enhancer.safetensors")
        write_run(
            self.folder,
            plan,
            self.splits,
            self.manifest,
            fitted,
            started=started,
            method=plan.variant,
            method_title=variant_title(plan),
            training=self.config.model_dump(),
            enhance={
                "method": plan.method,
                "classifier": plan.classifier,
                "classifier_run": self.classifier.path.name,
                "frozen": plan.frozen if plan.variant == ENHANCED else False,
                "copy": self.copy_history,
                "train_confusion": train,
            },
        )

    def _confusion_on_train(self, network: Network) -> dict[str, list[list[int]]]:
        """Return the confusion matrices, on the training images, of the classifier alone and behind the U-Net."""
        device = next(network.parameters()).device
        networks = {self.plan.classifier: load_network(self.classifier), self.plan.variant: network}
        split, classes = self.splits.train, self.splits.num_classes
        found = {}
        for name, module in networks.items():
            predicted = predict_logits(module, split, device=device, workers=self.config.workers).argmax(
                axis=1
            )
            found[name] = np.asarray(confusion_matrix(split.labels, predicted, num_classes=classes)).tolist()
        return found
