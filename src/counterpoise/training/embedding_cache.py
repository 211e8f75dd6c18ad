"""Embeddings of a frozen network, cached on disk."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from filelock import FileLock
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from counterpoise.datasets import ImageDataset, SplitManifest
from counterpoise.exceptions import RunFolderError
from counterpoise.files import atomic_path, content_hash
from counterpoise.networks import Network
from counterpoise.training.device import cpu_threads
from counterpoise.training.environment import cpu_count
from counterpoise.training.predict import EmbeddedSplit, embed_images


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
    """Return the three splits of a run with the embeddings of a network that is frozen whole.

    All images of `dataset` are embedded once, with all cores, and stored in the folder `cache`; concurrent users wait
    for the file. Its name is the content hash of everything it depends on: images, their size, and the network's
    weights with its normalization. `splits` is `dataset` split by `manifest`.

    Raises
    ------
    RunFolderError
        If a file of the cache is damaged, or cannot be written.
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
    embedded = {
        name: EmbeddedSplit.of(split, embeddings[manifest.sources[name]][getattr(manifest, name)])
        for name, split in splits.splits.items()
    }
    return ImageDataset(
        splits.name, splits.classes, splits.channels, splits.image_size, skipped=splits.skipped, **embedded
    )


def body_hash(network: Network) -> str:
    """Return the SHA-256 of all weights and buffers below the head, with their names."""
    digest = hashlib.sha256(f"{network.name}{sorted(network.options.items())}".encode())
    for name, tensor in sorted(network.state_dict().items()):
        if not name.startswith("classifier."):
            digest.update(f"{name}{tensor.dtype}{tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
