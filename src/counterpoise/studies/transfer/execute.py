"""One training of a transfer study."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, TypedDict, cast

import numpy as np
from lightning_fabric import Fabric
from torch import nn

from counterpoise.balance.losses import CrossEntropy
from counterpoise.balance.samplers import epoch_indices
from counterpoise.datasets import ImageDataset, ImageSplit
from counterpoise.evaluation import ScoresDict, evaluate
from counterpoise.exceptions import RunFolderError, TrainingError
from counterpoise.files import content_hash, read_object, write_json
from counterpoise.networks import (
    Network,
    NetworkConfig,
    create_network,
    cut,
    freeze,
    learned_layers,
    load_network,
    save_network,
)
from counterpoise.studies.transfer.plan import Training, TransferPlan
from counterpoise.studies.transfer.tasks import TaskImages
from counterpoise.training import (
    Batches,
    HistoryEntryDict,
    LogitLoss,
    ProgressCallback,
    Stage,
    cpu_threads,
    frozen_batches,
    hardware,
    image_batches,
    make_fabric,
    memory_format,
    pixel_statistics,
    predict_logits,
    seed_for,
    softmax,
    train_stage,
    versions,
)

FORMAT = 1


class TrainingRecord(TypedDict):
    """Record of a finished training; ``scores`` are those of `counterpoise.evaluation.evaluate` on test images."""

    format: int
    identity: str
    draw: int
    seed: int
    treatment: str
    layers: int
    name: str
    classes: list[str]
    images: dict[str, int]
    network: NetworkConfig
    scores: ScoresDict
    history: list[HistoryEntryDict]
    seconds: float
    versions: dict[str, str]
    hardware: dict[str, Any]


def cell_path(out: Path, cell: Training) -> Path:
    """Return the path of a finished training's record."""
    return out / "cells" / f"{cell.file_name}.json"


def network_path(out: Path, cell: Training) -> Path:
    """Return the path of a base network."""
    return out / "networks" / f"{cell.file_name}.safetensors"


def finished_training(plan: TransferPlan, cell: Training, out: Path) -> TrainingRecord | None:
    """Return the record of a training, or None if it is not finished."""
    path = cell_path(out, cell)
    if not path.exists() or (cell.is_base and not network_path(out, cell).exists()):
        return None
    record = read_object(path)
    if record.get("identity") != plan.identity:
        raise RunFolderError(f"{path} is of another study; choose another `out`")
    return cast(TrainingRecord, record)


def run_training(
    plan: TransferPlan,
    cell: Training,
    dataset: ImageDataset,
    out: Path,
    *,
    on_progress: ProgressCallback | None = None,
) -> TrainingRecord:
    """Execute one training and write its record; the record of a finished one is returned as it is.

    A base network is written to the study's folder `out`, and the other trainings start from these.
    """
    finished = finished_training(plan, cell, out)
    if finished is not None:
        return finished
    start = time.perf_counter()
    config = plan.config.model_copy(update={"seed": plan.seed(cell.repeat)})
    images = plan.images(dataset, cell.repeat, cell.target)
    with cpu_threads(config.threads):
        network = starting_network(plan, cell, dataset, images, out)
        fabric = make_fabric(config)
        checkpoint = out / "checkpoints" / f"{cell.file_name}.safetensors"
        stage = _stage(plan, cell, network, images.train, fabric, checkpoint)
        history = train_stage(stage, config, fabric, on_progress or ProgressCallback())
        logits = predict_logits(network, images.test, device=fabric.device, workers=config.workers)
    scores = evaluate(images.test.labels, softmax(logits), classes=images.classes)
    if cell.is_base:
        save_network(network, network_path(out, cell))
    record: TrainingRecord = {
        "format": FORMAT,
        "identity": plan.identity,
        "draw": cell.repeat,
        "seed": config.seed,
        "treatment": cell.treatment,
        "layers": cell.layers,
        "name": cell.name,
        "classes": list(images.classes),
        "images": {"train": len(images.train), "test": len(images.test)},
        "network": network.config,
        "scores": scores,
        "history": history,
        "seconds": round(time.perf_counter() - start, 3),
        "versions": versions(),
        "hardware": hardware(fabric.device.type) | {"threads": config.threads},
    }
    write_json(cell_path(out, cell), record)
    checkpoint.unlink(missing_ok=True)
    return record


def starting_network(
    plan: TransferPlan, cell: Training, dataset: ImageDataset, images: TaskImages, out: Path
) -> Network:
    """Return the network that a training starts from: new, with its first layers copied and perhaps frozen.

    The layers that are not copied start from the same values in all trainings of a repeat, and from other values than
    those of the bases: with the bases' own values, the rest of BnB would fit its copied layers from the start.
    """
    mean, std = pixel_statistics(images.train)
    network = create_network(
        plan.network,
        num_classes=len(images.classes),
        in_channels=dataset.channels,
        image_size=dataset.image_size,
        mean=mean,
        std=std,
        seed=seed_for(plan.seed(cell.repeat), "network", cell.treatment if cell.is_base else "rest"),
    ).to(memory_format=memory_format(dataset.channels))
    if cell.is_base:
        return network
    copy_layers(_base_network(cell.base, out), network, cell.layers)
    if cell.is_frozen:
        freeze(network, cell.layers)
    return network


def copy_layers(source: Network, target: Network, n: int) -> None:
    """Copy the first `n` learned layers, with their batch-norm statistics and the normalization of images."""
    target.mean.copy_(source.mean)
    target.std.copy_(source.std)
    for old, new in zip(learned_layers(source)[:n], learned_layers(target)[:n], strict=True):
        for old_module, new_module in zip(old.modules, new.modules, strict=True):
            new_module.load_state_dict(old_module.state_dict())


def _base_network(base: Training, out: Path) -> Network:
    if not cell_path(out, base).exists():
        raise TrainingError(f"{base.name} is not there to start from: its training failed")
    return load_network(read_object(cell_path(out, base))["network"], network_path(out, base))


def _stage(
    plan: TransferPlan, cell: Training, network: Network, train: ImageSplit, fabric: Fabric, checkpoint: Path
) -> Stage:
    seed = plan.seed(cell.repeat)
    order_seed = seed_for(seed, "order")

    def order(epoch: int) -> np.ndarray:
        return epoch_indices(None, train.labels, seed=order_seed, epoch=epoch)

    network.to(fabric.device)
    module, batches = _trained_part(plan, cell, network, train, order, fabric)
    return Stage(
        name="train",
        module=module,
        batch_loss=LogitLoss(CrossEntropy().to(fabric.device), seed=seed, device=fabric.device),
        batches=batches,
        epochs=plan.config.epochs,
        checkpoint=checkpoint,
        identity=content_hash([plan.identity, [cell.repeat, cell.treatment, cell.layers]]),
    )


def _trained_part(
    plan: TransferPlan, cell: Training, network: Network, train: ImageSplit, order: Any, fabric: Fabric
) -> tuple[nn.Module, Batches]:
    """Return the module to train and its batches: layers above frozen ones train on the outputs of these."""
    settings: dict[str, Any] = {
        "batch_size": plan.config.batch_size,
        "device": fabric.device,
        "workers": plan.config.workers,
    }
    if not cell.is_frozen:
        return network, image_batches(train, order, **settings)
    bottom, rest = cut(network, cell.layers)
    return rest, frozen_batches(bottom, train, order, **settings)
