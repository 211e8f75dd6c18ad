"""Identities: hashes of everything that a result depends on, by which finished work is found again.

Version 1 writes every name out, so that renaming a class, a field or a module never orphans a finished run. A setting
that is added later enters a payload only where it differs from the fixed value that reproduces the earlier behavior.
Where data lies on disk is never part of an identity.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NotRequired, TypedDict, Unpack

from counterpoise.config import TrainConfig
from counterpoise.files import Json, content_hash

# Parts of payloads.
Payload = Mapping[str, Json]

# Settings added after the first published results, with the values that change nothing.
_ADDED: Mapping[str, tuple[Json, ...]] = {
    "ema": (None, 0),
    "layer_decay": (None, 1),
    "clip": (None,),
    "accumulate": (1,),
    "batch_norm": ("train",),
    "select": ("last",),
    "patience": (None,),
    "max_time": (None,),
}


def training_payload(config: TrainConfig) -> Payload:
    """Return the settings of a training as they enter an identity."""
    head = {"head_epochs": config.head_epochs, "head_batch_size": config.head_batch_size}
    penalty: Payload = {} if config.penalty is None else {"penalty": config.penalty}
    return {**network_payload(config), **head, **penalty}


def network_payload(config: TrainConfig) -> Payload:
    """Return the settings that a network depends on before its head is trained apart."""
    added = {
        name: value for name, neutral in _ADDED.items() if (value := getattr(config, name)) not in neutral
    }
    return {
        **added,
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


def fit_payload(fit: str) -> Payload:
    """Return how images fit their size as it enters an identity: not at all if they are cropped, as all once were."""
    return {} if fit == "crop" else {"fit": fit}


class SplitPayload(TypedDict):
    """How a dataset is split as it enters an identity."""

    profile: Mapping[str, object]
    validation_fraction: float
    test_fraction: float
    minority_ratio: float
    manifest_hash: str | None
    groups: NotRequired[str]


class VariantPayload(TypedDict):
    """What a variant (``arm``) of an enhancement study adds to the identity of a run."""

    arm: str
    classifier: str
    width: int
    copy_epochs: int
    enhance_epochs: int
    frozen: bool
    epochs: int
    unet: NotRequired[str]


class SharedSettings(TypedDict):
    """Settings that all runs of a comparison share.

    `fingerprint` is the content hash of the dataset, `image_size` height and width in pixels, `training` of
    `training_payload`, `weights_hash` the SHA-256 of the file of pretrained weights; `new_head` tells whether the head
    is reinitialized whatever the weights hold for it; `freeze` has the frozen layers: a number, "all", "auto" or None,
    and `features` the standardized features that a head is fitted to before anything else is trained, None for a head
    on plain embeddings. `adapter` is the kind of adapters in a frozen transformer. `fit` tells how images of another
    shape fit the size.
    """

    fingerprint: str
    image_size: Sequence[int]
    split: SplitPayload
    network: str
    training: Payload
    weights_hash: str | None
    new_head: bool
    freeze: int | str | None
    features: NotRequired[str | None]
    adapter: NotRequired[str | None]
    fit: NotRequired[str]


def comparison_identity(**shared: Unpack[SharedSettings]) -> str:
    """Return the hash of what all runs of a comparison share; methods and repeats may be added later."""
    return content_hash(_shared_payload(shared))


def run_identity(
    *,
    repeat: int,
    method: str,
    components: Payload,
    variant: Payload | None = None,
    **shared: Unpack[SharedSettings],
) -> str:
    """Return the hash of everything that the numbers of one run depend on.

    `components` is the method's own identity (slot -> component with its options), `method` its label; `variant` is the
    `VariantPayload` of a run of an enhancement study that has a U-Net.
    """
    own = {"draw": repeat, "method": method, "options": dict(components)}
    return content_hash(_shared_payload(shared) | own | dict(variant or {}))


def _shared_payload(shared: SharedSettings) -> dict[str, Any]:
    later = {name: shared.get(name) for name in ("features", "adapter")}
    return {name: value for name, value in later.items() if value is not None} | {
        "fingerprint": shared["fingerprint"],
        "image_size": list(shared["image_size"]),
        "split": dict(shared["split"]),
        "network": shared["network"],
        "config": dict(shared["training"]),
        "weights_hash": shared["weights_hash"],
        "new_head": shared["new_head"],
        "freeze": shared["freeze"],
        **fit_payload(shared.get("fit", "crop")),
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
    fit: str = "crop",
    groups: str | None = None,
) -> str:
    """Return the hash of what all trainings of a transfer study share; layers and repeats may be added later."""
    settings: dict[str, Any] = {"fingerprint": fingerprint, "image_size": list(image_size), "split": split}
    settings |= {"network": network, "test_fraction": test_fraction, **fit_payload(fit)}
    settings |= {} if groups is None else {"groups": groups}
    return content_hash([settings, [source_images_per_class, images_per_class], dict(training)])
