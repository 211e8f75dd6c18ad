"""Stages that resample the embeddings of the training set and train a head on them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from counterpoise.balance.heads import HeadStage
from counterpoise.balance.samplers import ImageSampler, epoch_indices
from counterpoise.files import content_hash
from counterpoise.runs import training_payload
from counterpoise.training.batch_loss import LogitLoss
from counterpoise.training.batches import TensorBatches
from counterpoise.training.context import FitContext
from counterpoise.training.loop import Stage, train_stage
from counterpoise.training.predict import embed_images
from counterpoise.training.progress import HistoryEntryDict
from counterpoise.training.randomness import generator_for, seed_for


@dataclass(frozen=True)
class ResampledSet:
    """Training set in feature space: the originals in their order, then the synthetic samples.

    Attributes
    ----------
    embeddings : ndarray of shape (M, d), float32
    labels : ndarray of shape (M,), int64
    sample_weight : ndarray of shape (M,), float32
        Of mean 1.
    originals : int
        Number of originals.
    """

    embeddings: np.ndarray
    labels: np.ndarray
    sample_weight: np.ndarray
    originals: int


def resample_embeddings(context: FitContext) -> ResampledSet:
    """Embed the training set and apply the method's feature-space component, if it has one."""
    train = context.train
    with context.timed("embed"):
        embeddings = embed_images(
            context.network, train, device=context.device, workers=context.config.workers
        )
    originals, labels, weights = len(embeddings), train.labels, np.ones(len(embeddings), dtype=np.float32)
    if context.method.features is not None:
        with context.timed("oversample"):
            oversampler = context.build(context.method.features)
            embeddings, labels = oversampler.fit_resample(embeddings, labels)
            weights = np.asarray(oversampler.sample_weight_, dtype=np.float64)
        # Of mean 1, so that the learning rate means the same for every method.
        weights = (weights / weights.mean()).astype(np.float32)
    return ResampledSet(embeddings, labels.astype(np.int64), weights, originals)


def train_head(context: FitContext, resampled: ResampledSet) -> list[HistoryEntryDict]:
    """Train or replace the head on the embeddings, as the method says, and return the history."""
    network, device = context.network, context.device
    head_stage: HeadStage = context.build(context.method.head)
    if head_stage.fresh:
        seed = seed_for(context.config.seed, "head")
        network.reset_head(generator=torch.Generator().manual_seed(seed))
    network.eval()
    embeddings = torch.from_numpy(resampled.embeddings).to(device)
    labels = torch.from_numpy(resampled.labels).to(device)
    history: list[HistoryEntryDict] = []
    with context.timed("head"):
        module = head_stage.prepare(network.classifier, embeddings, labels)
        if head_stage.trains:
            weights = torch.from_numpy(resampled.sample_weight).to(device)
            history = _train(context, module, head_stage.lr_factor, embeddings, labels, weights)
        head_stage.finish(module, network.classifier)
    return history


def _train(
    context: FitContext,
    module: nn.Module,
    lr_factor: float,
    embeddings: Tensor,
    labels: Tensor,
    weights: Tensor,
) -> list[HistoryEntryDict]:
    method, seed, checkpoints = context.method, context.config.seed, context.checkpoints
    epochs = context.config.head_epochs or context.config.epochs
    sampler: ImageSampler | None = context.build(method.head_sampler, epochs=epochs)
    classes = labels.cpu().numpy()

    def order(epoch: int) -> np.ndarray:
        if sampler is None:
            return generator_for(seed, "head order", epoch).permutation(len(classes))
        return epoch_indices(sampler, classes, seed=seed_for(seed, "head order"), epoch=epoch)

    size, lr = context.config.head_batch_size, context.config.lr * lr_factor
    config = context.config.model_copy(update={"epochs": epochs, "batch_size": size, "lr": lr})
    stage = Stage(
        name="head",
        module=module,
        batch_loss=LogitLoss(context.build(method.head_loss, epochs=epochs).to(context.device)),
        batches=TensorBatches(embeddings, labels, order, batch_size=size, weights=weights),
        epochs=epochs,
        validate=context.head_validation(module),
        checkpoint=checkpoints / "head.safetensors" if checkpoints else None,
        identity=content_hash([context.identity, method.identity(), training_payload(context.config)]),
    )
    return train_stage(stage, config, context.fabric, context.progress)
