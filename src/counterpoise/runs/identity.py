"""Identities: hashes of everything that a result depends on, by which finished work is found again.

Version 1 writes every name out, so that renaming a class, a field or a module never orphans a finished run. A setting
that is added later enters a payload only where it differs from the fixed value that reproduces the earlier behavior.
Where data lies on disk is never part of an identity.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from counterpoise.config import TrainConfig
from counterpoise.files import content_hash

# Parts of payloads, as plain JSON.
Payload = Mapping[str, Any]


def training_payload(config: TrainConfig) -> dict[str, Any]:
    """Return the settings of a training as they enter an identity."""
    return network_payload(config) | {
        "head_epochs": config.head_epochs,
        "head_batch_size": config.head_batch_size,
    }


def network_payload(config: TrainConfig) -> dict[str, Any]:
    """Return the settings that a network depends on before its head is trained apart."""
    return {
        "epochs": config.epochs,
        "batch_size": config.batch_size,
        "lr": config.lr,
        "optimizer": config.optimizer,
        "weight_decay": config.weight_decay,
        "schedule": config.schedule,
        "seed": config.seed,
        "device": config.device,
        "precision": config.precision,
        "threads": config.threads,
        "workers": config.workers,
    }


def split_payload(
    *,
    profile: Payload,
    validation_fraction: float,
    test_fraction: float,
    minority_ratio: float,
    manifest_hash: str | None,
) -> dict[str, Any]:
    """Return how a dataset is split as it enters an identity."""
    return {
        "profile": dict(profile),
        "validation_fraction": validation_fraction,
        "test_fraction": test_fraction,
        "minority_ratio": minority_ratio,
        "manifest_hash": manifest_hash,
    }


def comparison_identity(
    *,
    fingerprint: str,
    image_size: Sequence[int],
    split: Payload,
    network: str,
    training: Payload,
    weights_hash: str | None,
    new_head: bool,
    freeze: int | str | None,
) -> str:
    """Return the hash of what all runs of a comparison share; methods and repeats may be added later.

    Parameters
    ----------
    fingerprint : str
        Content hash of the dataset.
    image_size : sequence of int
        Height and width in pixels.
    split, training : mapping
        Of `split_payload` and `training_payload`.
    network : str
        Name of the network.
    weights_hash : str or None
        SHA-256 of the file of pretrained weights.
    new_head : bool
        Whether the head is reinitialized whatever the weights hold for it.
    freeze : int, "all" or None
        Frozen layers.
    """
    return content_hash(
        _run_payload(fingerprint, image_size, split, network, training, weights_hash, new_head, freeze)
    )


def run_identity(
    *,
    fingerprint: str,
    image_size: Sequence[int],
    split: Payload,
    network: str,
    training: Payload,
    weights_hash: str | None,
    new_head: bool,
    freeze: int | str | None,
    repeat: int,
    method: str,
    components: Payload,
    variant: Payload | None = None,
) -> str:
    """Return the hash of everything that the numbers of one run depend on.

    Parameters
    ----------
    fingerprint, image_size, split, network, training, weights_hash, new_head, freeze
        As in `comparison_identity`.
    repeat : int
        Number of the resampled split.
    method : str
        Label of the method.
    components : mapping
        The method's own identity: slot -> component with its options.
    variant : mapping, optional
        Of `variant_payload`, for a run of an enhancement study that has a U-Net.
    """
    shared = _run_payload(fingerprint, image_size, split, network, training, weights_hash, new_head, freeze)
    return content_hash(
        {**shared, "draw": repeat, "method": method, "options": dict(components), **(variant or {})}
    )


def variant_payload(
    *,
    variant: str,
    classifier: str,
    width: int,
    copy_epochs: int,
    enhance_epochs: int,
    frozen: bool,
    epochs: int,
) -> dict[str, Any]:
    """Return what a variant of an enhancement study adds to the identity of a run."""
    return {
        "arm": variant,
        "classifier": classifier,
        "width": width,
        "copy_epochs": copy_epochs,
        "enhance_epochs": enhance_epochs,
        "frozen": frozen,
        "epochs": epochs,
    }


def transfer_identity(
    *,
    fingerprint: str,
    image_size: Sequence[int],
    split: str,
    network: str,
    test_fraction: float,
    source_images_per_class: int | None,
    images_per_class: int | None,
    training: Payload,
) -> str:
    """Return the hash of what all trainings of a transfer study share; layers and repeats may be added later."""
    settings = {
        "fingerprint": fingerprint,
        "image_size": list(image_size),
        "split": split,
        "network": network,
        "test_fraction": test_fraction,
    }
    return content_hash([settings, [source_images_per_class, images_per_class], dict(training)])


def _run_payload(
    fingerprint: str,
    image_size: Sequence[int],
    split: Payload,
    network: str,
    training: Payload,
    weights_hash: str | None,
    new_head: bool,
    freeze: int | str | None,
) -> dict[str, Any]:
    return {
        "fingerprint": fingerprint,
        "image_size": list(image_size),
        "split": dict(split),
        "network": network,
        "config": dict(training),
        "weights_hash": weights_hash,
        "new_head": new_head,
        "freeze": freeze,
    }
