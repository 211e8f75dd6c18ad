"""Logits and embeddings of images under a network; those of a frozen one are cached on disk."""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from counterpoise.datasets import ImageDataset, ImageSplit, decode_batch
from counterpoise.evaluation import accuracy, class_recalls, confusion_matrix, geometric_mean
from counterpoise.exceptions import InputError, TrainingError
from counterpoise.files import content_hash
from counterpoise.networks import Network
from counterpoise.training.batches import memory_format, ordered_batches
from counterpoise.training.embedding_cache import EmbeddingCache
from counterpoise.training.machine import JOBS, cpu_count, cpu_threads
from counterpoise.training.prediction_batches import (
    BATCH_SIZE,
    DEVICE_BATCH,
    LARGE_IMAGE,
    SMALL_BATCH,
    prediction_batch,
    prediction_workers,
    within_memory,
)

_NOT_EMBEDDED = ("classifier.", "features_mean", "features_scale")


class ValidationScores(TypedDict, total=False):
    """Scores on the validation images after an epoch; the last two are those of a network that copies images."""

    validation_loss: float
    validation_balanced_loss: float
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
    return _image_outputs(network, network.embed, split, device, workers)


def predict_logits(
    network: Network,
    split: ImageSplit,
    *,
    device: torch.device,
    workers: int = 0,
    batch_size: int | None = None,
) -> np.ndarray:
    """Return the logits of a split, float32 of shape (N, C), with the network in evaluation mode.

    `batch_size` is the most images of a batch, on which the last bits depend. Where the memory is too small for one,
    its halves are computed.
    """
    if isinstance(split, EmbeddedSplit):
        rows = torch.from_numpy(split.rows).to(device)
        return _outputs(network, network.head, rows.split(BATCH_SIZE), device)
    return _image_outputs(network, network, split, device, workers, batch_size)


def predict_embedded(
    network: Network,
    split: ImageSplit,
    *,
    device: torch.device,
    workers: int = 0,
    batch_size: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the logits of `predict_logits` and the embeddings of a split, in one pass."""
    if isinstance(split, EmbeddedSplit):
        return predict_logits(network, split, device=device), split.rows

    def both(images: Tensor) -> Tensor:
        embeddings = network.embed(images)
        return torch.cat([network.head(embeddings), embeddings], dim=1)

    joined = _image_outputs(network, both, split, device, workers, batch_size)
    return joined[:, : network.num_classes], joined[:, network.num_classes :]


def check_logits(logits: np.ndarray, lr: float) -> np.ndarray:
    """Return logits of a network that was trained at a learning rate; TrainingError if one is not finite."""
    if not np.isfinite(logits).all():
        raise TrainingError(f"the network's outputs are not finite: `lr` {lr:g} is probably too high")
    return logits


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return the class probabilities, float64 of shape (N, C), of logits (lecture, "Softmax function").

    Examples
    --------
    >>> softmax(np.array([[0.3, 1.6, 3.1, 5.6]])).round(4)
    array([[0.0045, 0.0166, 0.0743, 0.9047]])
    """
    from scipy.special import softmax as stable_softmax

    return stable_softmax(np.asarray(logits, dtype=np.float64), axis=1)


def _image_outputs(
    network: Network,
    function: Callable[[Tensor], Tensor],
    split: ImageSplit,
    device: torch.device,
    workers: int,
    most: int | None = None,
) -> np.ndarray:
    device, (height, width) = torch.device(device), network.image_size
    if device.type == "cpu" and height * width >= LARGE_IMAGE and len(split):
        outputs = parallel_outputs(network, function, split, np.arange(len(split)), device, batch_size=most)
        return np.concatenate([part for _, part in outputs])
    size = prediction_batch((height, width), BATCH_SIZE, most)
    batches = ordered_batches(split, batch_size=size, device=device, workers=workers)
    return _outputs(network, function, (batch.inputs for batch in batches), device)


def _outputs(
    network: Network, function: Callable[[Tensor], Tensor], inputs: Iterable[Tensor], device: torch.device
) -> np.ndarray:
    network.to(device)
    with evaluation_mode(network), torch.inference_mode():
        parts = [within_memory(function, batch).float().cpu() for batch in inputs]
    return torch.cat(parts).numpy() if parts else np.empty((0, network.num_classes), dtype=np.float32)


@contextmanager
def evaluation_mode(network: Network) -> Iterator[None]:
    """Put a network into evaluation mode inside the block, and afterwards each module back into its own mode."""
    # Not network.train() afterwards: batch norm may be in evaluation mode while the rest is trained.
    training = [module for module in network.modules() if module.training]
    network.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


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
        return cls(
            split.images, split.labels, split.paths, split.facts, split.groups, split.keys, rows=embeddings
        )

    def subset(self, indices: Sequence[int] | np.ndarray) -> EmbeddedSplit:
        """Return the images at `indices`, in that order, with their embeddings."""
        return EmbeddedSplit.of(super().subset(indices), self.rows[np.asarray(indices, dtype=np.int64)])


def learning_curve_scores(logits: np.ndarray, labels: np.ndarray) -> ValidationScores:
    """Return cross entropy (nats; over images, and mean over classes), accuracy and G-mean of logits (N, C).

    Examples
    --------
    >>> logits = np.log(np.array([[0.5, 0.5], [0.5, 0.5], [0.9, 0.1]], dtype=np.float32))
    >>> scores = learning_curve_scores(logits, np.array([0, 0, 1]))
    >>> round(scores["validation_loss"], 3), round(scores["validation_balanced_loss"], 3)
    (1.23, 1.498)
    """
    losses = torch.nn.functional.cross_entropy(
        torch.from_numpy(logits), torch.from_numpy(labels), reduction="none"
    )
    matrix = confusion_matrix(labels, logits.argmax(axis=1), num_classes=logits.shape[1])
    of_class = np.bincount(labels, weights=losses.double().numpy())
    counts = np.bincount(labels)
    return {
        "validation_loss": float(losses.mean()),
        "validation_balanced_loss": float((of_class[counts > 0] / counts[counts > 0]).mean()),
        "validation_accuracy": accuracy(matrix),
        "validation_gmean": geometric_mean(class_recalls(matrix)),
    }


def embedded_splits(
    network: Network,
    splits: ImageDataset,
    cache: Path,
    *,
    device: torch.device,
    progress: Callable[[int, int], None] | None = None,
) -> ImageDataset:
    """Return the splits of a run with their embeddings under a network frozen whole.

    Each image is embedded once, in small batches on all cores, and stored in the folder `cache` by its content, where
    other runs find it. A network that standardizes takes mean and scale of the training images. `progress` is called
    with (done, total). `RunFolderError` if the cache cannot be written.
    """
    key = [list(splits.image_size), splits.channels, splits.fit, device.type, body_hash(network)]
    key += [] if splits.value_range is None else [list(splits.value_range)]
    path = cache / f"embeddings-{content_hash(key)[:16]}.rows"
    with EmbeddingCache(path, network.embedding_dim) as stored:
        embed_missing(network, list(splits.splits.values()), stored, device=device, progress=progress)
        rows = {name: stored.rows(split.content_keys()) for name, split in splits.splits.items()}
    if network.standardize:
        network.set_standardization(*feature_statistics(rows["train"]))
        mean, scale = (v.cpu().numpy() for v in (network.features_mean, network.features_scale))
        for values in rows.values():
            values -= mean
            values /= scale
    embedded: dict[str, Any] = {
        name: EmbeddedSplit.of(split, rows[name]) for name, split in splits.splits.items()
    }
    return replace(splits, **embedded)


def embed_missing(
    network: Network,
    splits: Sequence[ImageSplit],
    cache: EmbeddingCache,
    *,
    device: torch.device,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Embed the images of `splits` that the open `cache` lacks, batch by batch."""
    keys_of = [split.content_keys() for split in splits]
    missing = cache.missing(np.concatenate(keys_of))
    done, first = 0, 0
    for split, keys in zip(splits, keys_of, strict=True):
        inside = missing[(missing >= first) & (missing < first + len(split))] - first
        first += len(split)
        for rows, embedded in parallel_outputs(
            network, network.raw_embed, split, inside, device, filled=True
        ):
            cache.append(keys[rows], embedded)
            done += len(rows)
            if progress is not None:
                progress(done, len(missing))


def parallel_outputs(
    network: Network,
    function: Callable[[Tensor], Tensor],
    split: ImageSplit,
    rows: np.ndarray,
    device: torch.device,
    *,
    batch_size: int | None = None,
    filled: bool = False,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield, for small batches of the images at `rows`, their rows and the outputs of a part of the network.

    `batch_size` is as for `predict_logits`; under `filled`, black images fill up the last batch to its size.

    On a CPU each core decodes and computes batches of its own with one thread of torch: threads that share a batch
    would wait for each other, and the outputs would depend on their number. The workers of a study share the cores.
    """
    largest, cores = (SMALL_BATCH, cpu_count()) if device.type == "cpu" else (DEVICE_BATCH, 1)
    size = prediction_batch(network.image_size, largest, batch_size)
    workers = max(1, prediction_workers(network.image_size, size, cores) // int(os.environ.get(JOBS, 1)))

    def compute(chunk: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            pixels = torch.from_numpy(decode_batch(split.images, chunk, threads=workers == 1)).to(device)
            inputs = pixels.float().div_(255).contiguous(memory_format=memory_format(network.in_channels))
            if filled:
                inputs = functional.pad(inputs, (0,) * 7 + (-len(inputs) % min(SMALL_BATCH, size),))
            return within_memory(function, inputs)[: len(chunk)].float().cpu().numpy()

    # torch counts threads for each thread of Python, but new ones take the number that was set last.
    pool = ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,))
    with evaluation_mode(network), cpu_threads(torch.get_num_threads()), pool:
        network.to(device)
        # One batch more than there are workers: all of them at once would fill the memory.
        waiting: deque[tuple[np.ndarray, Future[np.ndarray]]] = deque()
        for start in range(0, len(rows), size):
            chunk = rows[start : start + size]
            waiting.append((chunk, pool.submit(compute, chunk)))
            if len(waiting) > workers:
                chunk, outputs = waiting.popleft()
                yield chunk, outputs.result()
        for chunk, outputs in waiting:
            yield chunk, outputs.result()


def feature_statistics(rows: np.ndarray) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation of each feature of embeddings (N, d); 1 for features that hardly vary."""
    mean, scale = rows.mean(axis=0, dtype=np.float64), rows.std(axis=0, dtype=np.float64)
    constant = scale <= 1e-6 * np.abs(mean) + 1e-12
    return torch.from_numpy(mean).float(), torch.from_numpy(np.where(constant, 1.0, scale)).float()


def body_hash(network: Network) -> str:
    """Return the SHA-256 of all weights and buffers below the head and its standardization, with their names."""
    options = sorted((k, v) for k, v in network.options.items() if k != "standardize")
    digest = hashlib.sha256(f"{network.name}{options}".encode())
    for name, tensor in sorted(network.state_dict().items()):
        if not name.startswith(_NOT_EMBEDDED):
            digest.update(f"{name}{tensor.dtype}{tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
