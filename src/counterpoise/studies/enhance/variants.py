"""Trainings of an enhancement study: the U-Net that learns to copy, and the variants that start from it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from filelock import FileLock
from torch import Tensor, nn

from counterpoise.balance.samplers import epoch_indices
from counterpoise.config import TrainConfig, fine_tuning_config
from counterpoise.datasets import ImageDataset, ImageSplit, SplitManifest
from counterpoise.evaluation import confusion_matrix
from counterpoise.files import content_hash
from counterpoise.inference import load_network
from counterpoise.networks import EnhancedNetwork, Enhancer, Network, UNet, freeze
from counterpoise.runs import RunFolder, network_payload
from counterpoise.seeding import torch_seed
from counterpoise.studies.enhance.plan import ENHANCED, FINE_TUNED, FRESH, TRAINED_ON, VariantPlan
from counterpoise.training import (
    Batch,
    FitJob,
    HistoryEntryDict,
    ProgressCallback,
    RenamedStage,
    Stage,
    ValidationScores,
    cpu_threads,
    embedded_splits,
    find_device,
    image_batches,
    make_fabric,
    make_network,
    memory_format,
    ordered_batches,
    predict_logits,
    seed_for,
    train_stage,
    write_run,
)

BATCH_SIZE = 256
NOISE = (0.0, 0.02, 0.05, 0.1, 0.2)
"""Standard deviations of the noise that is added to at most `NOISY_IMAGES` test images with pixels in [0, 1]."""
NOISY_IMAGES = 1000


@dataclass(frozen=True)
class Copier:
    """U-Net that copies images, on the training device, and one history entry per epoch of learning that."""

    unet: UNet
    history: list[HistoryEntryDict] = field(default_factory=list)


class CopyLoss:
    """Binary cross entropy between the output and the image itself, pixel by pixel (slides, "Loss Function")."""

    generator = None

    def begin_epoch(self, epoch: int) -> None:
        """Do nothing: the loss does not depend on the epoch."""

    def __call__(self, module: nn.Module, batch: Batch) -> Tensor:
        """Return the mean over all values of the batch, in nats."""
        return F.binary_cross_entropy(module(batch.inputs), batch.inputs)


def train_copier(
    splits: ImageDataset,
    *,
    width: int,
    epochs: int,
    config: TrainConfig,
    folder: Path,
    identity: str,
    progress: ProgressCallback | None = None,
) -> Copier:
    """Train a U-Net to copy the training images; labels are not used.

    The history states how well validation images are copied. State is kept in `folder`: an interrupted training
    resumes there, and concurrent users wait for the cached U-Net. `identity` is the hash of the training images.
    """
    config = config.model_copy(update={"epochs": epochs, "schedule": config.schedule or "constant"})
    identity = content_hash([identity, width, network_payload(config)])
    path = folder / f"copier-{identity[:16]}.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    with cpu_threads(config.threads), FileLock(path.with_suffix(".lock")):
        fabric = make_fabric(config)
        with torch_seed(seed_for(config.seed, "unet")):
            unet = UNet(splits.channels, width=width).to(memory_format=memory_format(splits.channels))
        train, validation, seed = splits.train, splits.validation, seed_for(config.seed, "copy order")
        stage = Stage(
            name="copy",
            module=unet,
            batch_loss=CopyLoss(),
            batches=image_batches(
                train,
                lambda epoch: epoch_indices(None, train.labels, seed=seed, epoch=epoch),
                batch_size=config.batch_size,
                device=fabric.device,
                workers=config.workers,
            ),
            epochs=epochs,
            validate=(lambda: copy_scores(unet, validation, workers=config.workers)) if validation else None,
            checkpoint=path,
            identity=identity,
        )
        history = train_stage(stage, config, fabric, progress or ProgressCallback())
    return Copier(unet.eval(), history)


def copy_scores(unet: UNet, split: ImageSplit, *, workers: int = 0) -> ValidationScores:
    """Return how well images are copied.

    ``validation_loss`` is the mean binary cross entropy in nats, ``validation_entropy`` its minimum, that of a perfect
    copy, and ``validation_error`` the mean absolute difference of the pixels in units of [0, 1].
    """
    device = next(unet.parameters()).device
    sums = np.zeros(3)
    with torch.inference_mode():
        for batch in ordered_batches(split, batch_size=BATCH_SIZE, device=device, workers=workers):
            images, copies = batch.inputs, unet(batch.inputs)
            values = (
                F.binary_cross_entropy(copies, images),
                F.binary_cross_entropy(images, images),
                (copies - images).abs().mean(),
            )
            sums += np.array([float(value) for value in values]) * len(images)
    loss, entropy, error = (sums / len(split)).tolist()
    return {"validation_loss": loss, "validation_entropy": entropy, "validation_error": error}


def noise_accuracies(
    networks: Mapping[str, Network], split: ImageSplit, *, seed: int, workers: int = 0
) -> dict[str, dict[str, float]]:
    """Return the accuracy of each network on images with Gaussian noise, by its strength: does a U-Net remove noise?

    An image x becomes ``clip(x + s n, 0, 1)`` with n from a standard normal distribution, for every s of `NOISE`; the
    networks see the same pixels. Of more than 1,000 images, 1,000 evenly spread ones are taken.
    """
    chosen = np.unique(np.linspace(0, len(split) - 1, min(NOISY_IMAGES, len(split))).round().astype(int))
    split, device = split.subset(chosen), next(next(iter(networks.values())).parameters()).device
    hits = {name: dict.fromkeys(map(str, NOISE), 0) for name in networks}
    for strength in NOISE:
        generator = torch.Generator().manual_seed(seed_for(seed, "noise"))
        for batch in ordered_batches(split, batch_size=BATCH_SIZE, device=device, workers=workers):
            noise = torch.randn(batch.inputs.shape, generator=generator).to(device)
            images = (batch.inputs + strength * noise).clamp(0, 1)
            for name, network in networks.items():
                with torch.inference_mode():
                    right = network(images).argmax(dim=1) == batch.targets
                hits[name][str(strength)] += int(right.sum())
    return {name: {key: count / len(split) for key, count in own.items()} for name, own in hits.items()}


def variant_title(variant: str, *, frozen: bool, frozen_features: bool = False) -> str:
    """Return a variant's name for people."""
    if variant == ENHANCED:
        return "U-Net + the same classifier" + (", frozen" if frozen else ", fine-tuned")
    return {
        TRAINED_ON: "Continued training" + (" of the head" if frozen_features else ""),
        FRESH: "U-Net + a fresh classifier",
        FINE_TUNED: "Whole network fine-tuned",
    }[variant]


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
    if folder.is_complete(plan.hash, plan.contents):
        return folder
    with folder.claimed(plan.hash), cpu_threads(plan.config.threads):
        run, on_progress = RunFolder.open(classifier), on_progress or ProgressCallback()
        _execute(plan, dataset, folder, run, shared, on_progress)
    return RunFolder(path)


def _execute(
    plan: VariantPlan,
    dataset: ImageDataset,
    folder: RunFolder,
    classifier: RunFolder,
    shared: Path,
    on_progress: ProgressCallback,
) -> None:
    start = time.perf_counter()
    manifest = SplitManifest.load(classifier.path / "manifest.json")
    splits = manifest.apply(dataset)
    # Other batches than those of the classifier's first epochs.
    seed = seed_for(plan.config.seed, "enhance")
    config = plan.config.model_copy(update={"epochs": plan.epochs, "seed": seed})
    # The validation images may have decided what the classifier keeps frozen.
    frozen_layers = classifier.record.start.freeze
    if plan.variant == FINE_TUNED and plan.origin is not None:
        # The rate of a U-Net from scratch would spoil published weights.
        gentle = fine_tuning_config().model_dump(include={"lr", "optimizer", "batch_norm"})
        config = config.model_copy(update=gentle)
    images = content_hash([manifest.hash, plan.image_size, plan.contents])
    copier = _copier(plan, splits, images, shared, on_progress)
    job = FitJob(
        method=plan.record,
        config=config,
        checkpoints=folder.checkpoints,
        shared=None,
        identity=content_hash([plan.hash, manifest.hash, plan.contents]),
        classes=splits.classes,
        progress=RenamedStage(on_progress, plan.variant),
    )
    if plan.variant == FRESH:
        network = make_network(replace(plan, freeze=frozen_layers), splits)
        if plan.embeds:  # as for the classifier: a random head would spoil the features
            cache, device = Path(plan.cache or shared.parent / "cache"), find_device(config.device)
            job.fit_head(network, embedded_splits(network, splits, cache, device=device))
    else:
        network = load_network(classifier)
        if frozen_layers is not None and plan.variant != FINE_TUNED:
            freeze(network, frozen_layers)  # type: ignore[arg-type]
    if copier is not None:
        frozen = plan.frozen and plan.variant == ENHANCED
        network = EnhancedNetwork(Enhancer(copier.unet), network, frozen=frozen)
    trained = time.perf_counter()
    fitted = job.fit(network, splits)
    fitted.seconds |= {"start": trained - start}
    confusion, noise = None, dict[str, dict[str, float]]()
    if plan.variant == ENHANCED:
        device = next(fitted.network.parameters()).device
        both = {plan.classifier: load_network(classifier).to(device), plan.variant: fitted.network}
        confusion = {name: _train_confusion(module, splits, config.workers) for name, module in both.items()}
        if splits.test is not None:
            noise = noise_accuracies(both, splits.test, seed=plan.config.seed, workers=config.workers)
    if isinstance(fitted.network, EnhancedNetwork):
        fitted.network.enhancer.save(folder.path / "enhancer.safetensors")
    write_run(
        folder,
        plan,
        splits,
        manifest,
        fitted,
        started=start,
        method=plan.variant,
        method_title=variant_title(plan.variant, frozen=plan.frozen, frozen_features=frozen_layers == "all"),
        training=config.model_dump(),
        enhance={
            "method": plan.method,
            "classifier": plan.classifier,
            "classifier_run": classifier.path.name,
            "frozen": plan.frozen and plan.variant == ENHANCED,
            "copy": [] if copier is None else copier.history,
            "train_confusion": confusion,
            "noise": noise,
        },
    )


def _copier(
    plan: VariantPlan, splits: ImageDataset, images: str, shared: Path, on_progress: ProgressCallback
) -> Copier | None:
    """Return the U-Net that a variant starts from, None for a variant without one; `images` is their hash."""
    if plan.variant in (TRAINED_ON, FINE_TUNED):
        return None
    if plan.unet == "residual":
        with torch_seed(seed_for(plan.config.seed, "unet")):
            return Copier(UNet(splits.channels, width=plan.width, residual=True))
    return train_copier(
        splits,
        width=plan.width,
        epochs=plan.copy_epochs,
        config=plan.config,
        folder=shared,
        identity=images,
        progress=on_progress,
    )


def _train_confusion(network: Network, splits: ImageDataset, workers: int) -> list[list[int]]:
    """Return the confusion matrix on the training images."""
    device = next(network.parameters()).device
    predicted = predict_logits(network, splits.train, device=device, workers=workers).argmax(axis=1)
    matrix = confusion_matrix(splits.train.labels, predicted, num_classes=splits.num_classes)
    return np.asarray(matrix).tolist()
