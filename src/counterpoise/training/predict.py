"""Passing images through a trained network: logits and embeddings."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from counterpoise.datasets import ImageSplit
from counterpoise.networks import Network
from counterpoise.training.batches import image_batches
from counterpoise.training.embedded import EmbeddedSplit

BATCH_SIZE = 512


def embed_images(
    network: Network, split: ImageSplit, *, device: torch.device, workers: int = 0
) -> np.ndarray:
    """Return the embeddings of a split, float32 of shape (N, d), with the network in evaluation mode."""
    if isinstance(split, EmbeddedSplit):
        return split.rows
    return _pass(network, network.embed, split, device, workers)


def predict_logits(
    network: Network, split: ImageSplit, *, device: torch.device, workers: int = 0
) -> np.ndarray:
    """Return the logits of a split, float32 of shape (N, C), with the network in evaluation mode."""
    if isinstance(split, EmbeddedSplit):
        return _head_logits(network, split.rows, device)
    return _pass(network, network, split, device, workers)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return the class probabilities, float64 of shape (N, C), of logits (lecture, "Softmax function").

    Examples
    --------
    >>> softmax(np.array([[0.3, 1.6, 3.1, 5.6]])).round(4)
    array([[0.0045, 0.0166, 0.0743, 0.9047]])
    """
    from scipy.special import softmax as stable_softmax

    return stable_softmax(np.asarray(logits, dtype=np.float64), axis=1)


def _pass(
    network: Network,
    function: Callable[[Tensor], Tensor],
    split: ImageSplit,
    device: torch.device,
    workers: int,
) -> np.ndarray:
    was_training = network.training
    network.to(device).eval()
    order = np.arange(len(split))
    batches = image_batches(split, lambda epoch: order, batch_size=BATCH_SIZE, device=device, workers=workers)
    try:
        with torch.inference_mode():
            parts = [function(batch.inputs).float().cpu() for batch in batches.epoch(0)]
    finally:
        network.train(was_training)
    if not parts:
        return np.empty((0, network.num_classes), dtype=np.float32)
    return torch.cat(parts).numpy()


def _head_logits(network: Network, embeddings: np.ndarray, device: torch.device) -> np.ndarray:
    was_training = network.training
    network.to(device).eval()
    try:
        with torch.inference_mode():
            parts = torch.from_numpy(embeddings).to(device).split(BATCH_SIZE)
            return torch.cat([network.head(part).float().cpu() for part in parts]).numpy()
    finally:
        network.train(was_training)
