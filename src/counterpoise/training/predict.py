"""Logits and embeddings of images under a trained network."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from counterpoise.datasets import ImageSplit
from counterpoise.evaluation import accuracy, class_recalls, confusion_matrix, geometric_mean
from counterpoise.exceptions import InputError
from counterpoise.networks import Network
from counterpoise.training.batches import ordered_batches
from counterpoise.training.progress import ValidationScores

BATCH_SIZE = 512

Validate = Callable[[], ValidationScores]


def embed_images(
    network: Network, split: ImageSplit, *, device: torch.device, workers: int = 0
) -> np.ndarray:
    """Return the embeddings of a split, float32 of shape (N, d), with the network in evaluation mode."""
    if isinstance(split, EmbeddedSplit):
        return split.rows
    return _outputs(network, network.embed, split, device, workers)


def predict_logits(
    network: Network, split: ImageSplit, *, device: torch.device, workers: int = 0
) -> np.ndarray:
    """Return the logits of a split, float32 of shape (N, C), with the network in evaluation mode."""
    if not isinstance(split, EmbeddedSplit):
        return _outputs(network, network, split, device, workers)
    with _inference(network, device):
        parts = torch.from_numpy(split.rows).to(device).split(BATCH_SIZE)
        return torch.cat([network.head(part).float().cpu() for part in parts]).numpy()


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return the class probabilities, float64 of shape (N, C), of logits (lecture, "Softmax function").

    Examples
    --------
    >>> softmax(np.array([[0.3, 1.6, 3.1, 5.6]])).round(4)
    array([[0.0045, 0.0166, 0.0743, 0.9047]])
    """
    from scipy.special import softmax as stable_softmax

    return stable_softmax(np.asarray(logits, dtype=np.float64), axis=1)


def _outputs(
    network: Network,
    function: Callable[[Tensor], Tensor],
    split: ImageSplit,
    device: torch.device,
    workers: int,
) -> np.ndarray:
    with _inference(network, device):
        batches = ordered_batches(split, batch_size=BATCH_SIZE, device=device, workers=workers)
        parts = [function(batch.inputs).float().cpu() for batch in batches]
    if not parts:
        return np.empty((0, network.num_classes), dtype=np.float32)
    return torch.cat(parts).numpy()


@contextmanager
def _inference(network: Network, device: torch.device) -> Iterator[None]:
    """Move the network to the device; inside the block it is in evaluation mode without gradients."""
    was_training = network.training
    network.to(device).eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        network.train(was_training)


@dataclass(frozen=True, eq=False)
class EmbeddedSplit(ImageSplit):
    """Images with their embeddings, float32 of shape (N, d), under a network that is frozen below the head.

    Embeddings and logits of such a split are not computed from its pixels, so the network must be the one of
    `embeddings`, with any head.
    """

    embeddings: np.ndarray | None = None

    @classmethod
    def of(cls, split: ImageSplit, embeddings: np.ndarray) -> EmbeddedSplit:
        """Return `split` with its embeddings; `InputError` unless they are one row for each image."""
        if embeddings.ndim != 2 or len(embeddings) != len(split):
            raise InputError(
                f"found embeddings of shape {embeddings.shape} for {len(split)} images; expected one row for each"
            )
        return cls(split.images, split.labels, split.paths, split.facts, split.groups, embeddings)

    def subset(self, indices: Sequence[int] | np.ndarray) -> EmbeddedSplit:
        """Return the images at `indices`, in that order, with their embeddings."""
        return EmbeddedSplit.of(super().subset(indices), self.rows[np.asarray(indices, dtype=np.int64)])

    @property
    def rows(self) -> np.ndarray:
        """The embeddings, float32 of shape (N, d)."""
        assert self.embeddings is not None
        return self.embeddings


def network_validation(network: Network, split: ImageSplit, *, workers: int) -> Validate:
    """Return a function that scores the network on `split`."""
    device = next(network.parameters()).device
    return lambda: learning_curve_scores(
        predict_logits(network, split, device=device, workers=workers), split.labels
    )


def head_validation(network: Network, head: nn.Module, split: ImageSplit, *, workers: int) -> Validate:
    """Return a function that scores a head during its training; the images are embedded once, not every epoch."""
    device = next(network.parameters()).device
    embeddings = torch.from_numpy(embed_images(network, split, device=device, workers=workers)).to(device)

    def validate() -> ValidationScores:
        with torch.inference_mode():
            logits = head(embeddings).float().cpu().numpy()
        return learning_curve_scores(logits, split.labels)

    return validate


def learning_curve_scores(logits: np.ndarray, labels: np.ndarray) -> ValidationScores:
    """Return cross entropy (nats), accuracy and G-mean of logits (N, C) under the true labels (N,)."""
    loss = torch.nn.functional.cross_entropy(torch.from_numpy(logits), torch.from_numpy(labels))
    matrix = confusion_matrix(labels, logits.argmax(axis=1), num_classes=logits.shape[1])
    return {
        "validation_loss": float(loss),
        "validation_accuracy": accuracy(matrix),
        "validation_gmean": geometric_mean(class_recalls(matrix)),
    }
