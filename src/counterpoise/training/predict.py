"""Logits and embeddings of images under a network; those of a frozen one are cached on disk."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import torch
from filelock import FileLock
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from torch import Tensor

from counterpoise.datasets import ImageDataset, ImageSplit, SplitManifest
from counterpoise.evaluation import accuracy, class_recalls, confusion_matrix, geometric_mean
from counterpoise.exceptions import InputError, RunFolderError
from counterpoise.files import atomic_path, content_hash
from counterpoise.networks import Network
from counterpoise.training.batches import ordered_batches
from counterpoise.training.machine import cpu_count, cpu_threads

BATCH_SIZE = 512


class ValidationScores(TypedDict, total=False):
    """Scores on the validation images after an epoch; the last two are those of a network that copies images."""

    validation_loss: float
    validation_accuracy: float
    validation_gmean: float
    validation_entropy: float
    validation_error: float


Validate = Callable[[], ValidationScores]


def embed_images(
    network: Network, split: ImageSplit, *, device: torch.device, workers: int = 0
) -> np.ndarray:
    """Return the embeddings of a split, float32 of shape (N, d), with the network in evaluation mode."""
    if isinstance(split, EmbeddedSplit):
        return split.rows
    batches = ordered_batches(split, batch_size=BATCH_SIZE, device=device, workers=workers)
    return _outputs(network, network.embed, (batch.inputs for batch in batches), device)


def predict_logits(
    network: Network, split: ImageSplit, *, device: torch.device, workers: int = 0
) -> np.ndarray:
    """Return the logits of a split, float32 of shape (N, C), with the network in evaluation mode."""
    if isinstance(split, EmbeddedSplit):
        rows = torch.from_numpy(split.rows).to(device)
        return _outputs(network, network.head, rows.split(BATCH_SIZE), device)
    batches = ordered_batches(split, batch_size=BATCH_SIZE, device=device, workers=workers)
    return _outputs(network, network, (batch.inputs for batch in batches), device)


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
    network: Network, function: Callable[[Tensor], Tensor], inputs: Iterable[Tensor], device: torch.device
) -> np.ndarray:
    was_training = network.training
    network.to(device).eval()
    try:
        with torch.inference_mode():
            parts = [function(batch).float().cpu() for batch in inputs]
    finally:
        network.train(was_training)
    return torch.cat(parts).numpy() if parts else np.empty((0, network.num_classes), dtype=np.float32)


@dataclass(frozen=True, eq=False)
class EmbeddedSplit(ImageSplit):
    """Images with their embeddings `rows`, float32 of shape (N, d), under a network that is frozen below the head.

    Embeddings and logits of such a split are not computed from its pixels, so the network must be the one of the
    embeddings, with any head.
    """

    rows: np.ndarray = field(kw_only=True)

    @classmethod
    def of(cls, split: ImageSplit, embeddings: np.ndarray) -> EmbeddedSplit:
        """Return `split` with its embeddings; `InputError` unless they are one row for each image."""
        if embeddings.ndim != 2 or len(embeddings) != len(split):
            raise InputError(
                f"found embeddings of shape {embeddings.shape} for {len(split)} images; expected one row for each"
            )
        return cls(split.images, split.labels, split.paths, split.facts, split.groups, rows=embeddings)

    def subset(self, indices: Sequence[int] | np.ndarray) -> EmbeddedSplit:
        """Return the images at `indices`, in that order, with their embeddings."""
        return EmbeddedSplit.of(super().subset(indices), self.rows[np.asarray(indices, dtype=np.int64)])


def learning_curve_scores(logits: np.ndarray, labels: np.ndarray) -> ValidationScores:
    """Return cross entropy (nats), accuracy and G-mean of logits (N, C) under the true labels (N,)."""
    loss = torch.nn.functional.cross_entropy(torch.from_numpy(logits), torch.from_numpy(labels))
    matrix = confusion_matrix(labels, logits.argmax(axis=1), num_classes=logits.shape[1])
    return {
        "validation_loss": float(loss),
        "validation_accuracy": accuracy(matrix),
        "validation_gmean": geometric_mean(class_recalls(matrix)),
    }


def embedded_splits(
    network: Network,
    dataset: ImageDataset,
    manifest: SplitManifest,
    splits: ImageDataset,
    cache: Path,
    *,
    device: torch.device,
    workers: int = 0,
) -> ImageDataset:
    """Return the splits of a run (`dataset` split by `manifest`) with their embeddings under a network frozen whole.

    All images of `dataset` are embedded once, with all cores, and stored in the folder `cache`; concurrent users wait
    for the file. Its name is the content hash of images, their size, and the network's weights and normalization.
    `RunFolderError` if a file of the cache is damaged, or cannot be written.
    """
    key = [dataset.fingerprint, list(dataset.image_size), dataset.channels, device.type, body_hash(network)]
    path = cache / f"embeddings-{content_hash(key)[:16]}.safetensors"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunFolderError(f"cannot write {cache}: {error.strerror}; choose another `cache`") from error
    with FileLock(path.with_suffix(".lock")):
        if not path.exists():
            with cpu_threads(cpu_count()):
                embeddings = {
                    name: embed_images(network, split, device=device, workers=workers)
                    for name, split in dataset.splits.items()
                }
            try:
                with atomic_path(path) as temporary:
                    save_file(embeddings, temporary)
            except SafetensorError as error:
                raise RunFolderError(
                    f"cannot write {path}: {error}; free some space or choose another `cache`"
                ) from error
    try:
        embeddings = load_file(path)
    except (SafetensorError, OSError) as error:
        raise RunFolderError(f"cannot read {path} ({error}); delete it to recompute it") from error
    embedded: dict[str, Any] = {
        name: EmbeddedSplit.of(split, embeddings[manifest.sources[name]][getattr(manifest, name)])
        for name, split in splits.splits.items()
    }
    return replace(splits, **embedded)


def body_hash(network: Network) -> str:
    """Return the SHA-256 of all weights and buffers below the head, with their names."""
    digest = hashlib.sha256(f"{network.name}{sorted(network.options.items())}".encode())
    for name, tensor in sorted(network.state_dict().items()):
        if not name.startswith("classifier."):
            digest.update(f"{name}{tensor.dtype}{tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
