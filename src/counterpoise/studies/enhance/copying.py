"""First step: a U-Net learns to copy images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from filelock import FileLock
from torch import Tensor, nn

from counterpoise.balance.samplers import epoch_indices
from counterpoise.config import TrainConfig
from counterpoise.datasets import ImageDataset, ImageSplit
from counterpoise.files import content_hash
from counterpoise.networks import UNet
from counterpoise.runs import network_payload
from counterpoise.training import (
    Batch,
    HistoryEntryDict,
    ProgressCallback,
    Stage,
    ValidationScores,
    cpu_threads,
    image_batches,
    make_fabric,
    memory_format,
    ordered_batches,
    seed_for,
    torch_seed,
    train_stage,
)

BATCH_SIZE = 256


@dataclass(frozen=True)
class Copier:
    """U-Net that has learned to copy images, on the training device, and one history entry per epoch."""

    unet: UNet
    history: list[HistoryEntryDict]


class CopyLoss:
    """Binary cross entropy between the output and the image itself, pixel by pixel (slides, "Loss Function")."""

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
        order_seed = seed_for(config.seed, "copy order")

        def order(epoch: int) -> np.ndarray:
            return epoch_indices(None, splits.train.labels, seed=order_seed, epoch=epoch)

        batches = image_batches(
            splits.train,
            order,
            batch_size=config.batch_size,
            device=fabric.device,
            workers=config.workers,
        )
        validation = splits.validation
        stage = Stage(
            name="copy",
            module=unet,
            batch_loss=CopyLoss(),
            batches=batches,
            epochs=epochs,
            validate=(lambda: copy_scores(unet, validation, workers=config.workers)) if validation else None,
            checkpoint=path,
            identity=identity,
        )
        history = train_stage(stage, config, fabric, progress or ProgressCallback())
    return Copier(unet.eval(), history)


def copy_scores(unet: UNet, split: ImageSplit, *, workers: int = 0) -> ValidationScores:
    """Return how well images are copied.

    Returns
    -------
    dict
        ``validation_loss``: mean binary cross entropy in nats. ``validation_entropy``: its minimum, that of a perfect
        copy. ``validation_error``: mean absolute difference of the pixels in units of [0, 1].
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
