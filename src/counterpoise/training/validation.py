"""What the learning curves show: scores on the validation images after every epoch.

Training never depends on them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from counterpoise.datasets import ImageSplit
from counterpoise.evaluation import accuracy, class_recalls, confusion_matrix, geometric_mean
from counterpoise.networks import Network
from counterpoise.training.config import TrainingConfig
from counterpoise.training.predict import embed_images, predict_logits

Validate = Callable[[], dict[str, Any]]


def network_validation(network: Network, split: ImageSplit | None, config: TrainingConfig) -> Validate | None:
    """Return what validates the whole network on `split`, or None without one."""
    if split is None:
        return None

    def validate() -> dict[str, Any]:
        device = next(network.parameters()).device
        return learning_curve_scores(
            predict_logits(network, split, device=device, workers=config.workers), split.labels
        )

    return validate


def head_validation(
    network: Network, head: nn.Module, split: ImageSplit | None, config: TrainingConfig
) -> Validate | None:
    """Return what validates a head under training: the images are embedded once, not once per epoch."""
    if split is None:
        return None
    device = next(network.parameters()).device
    embeddings = torch.from_numpy(embed_images(network, split, device=device, workers=config.workers)).to(
        device
    )

    def validate() -> dict[str, Any]:
        with torch.inference_mode():
            logits = head(embeddings).float().cpu().numpy()
        return learning_curve_scores(logits, split.labels)

    return validate


def learning_curve_scores(logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Return cross entropy (nats), accuracy and G-mean of logits (N, C) under the true labels (N,)."""
    loss = torch.nn.functional.cross_entropy(torch.from_numpy(logits), torch.from_numpy(labels))
    matrix = confusion_matrix(labels, logits.argmax(axis=1), num_classes=logits.shape[1])
    return {
        "validation_loss": float(loss),
        "validation_accuracy": accuracy(matrix),
        "validation_gmean": geometric_mean(class_recalls(matrix)),
    }
