"""What a network starts from (nothing, another run, a file), and what of it stays as it is."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from counterpoise.datasets import ImageDataset, SplitManifest
from counterpoise.exceptions import InputError, RunFolderError
from counterpoise.experiments.environment import cpu_count
from counterpoise.experiments.folder import RunFolder
from counterpoise.experiments.plan import RunPlan
from counterpoise.files import atomic_path, content_hash
from counterpoise.networks import Network, create_network, learned_layers, load_weights
from counterpoise.training import EmbeddedSplit, embed_images
from counterpoise.training.device import cpu_threads

#: `freeze` "auto" freezes where there are more parameters to fine-tune than this for each training image.
MOST_PARAMETERS_PER_IMAGE = 1000


@dataclass(frozen=True)
class Weights:
    """Weights to start from.

    Attributes
    ----------
    file : Path
        Where they are.
    network : str or None
        The network that they are of, where they are another run's.
    new_head : bool
        Whether the head is drawn anew, because the other run's classes are not these.
    """

    file: Path
    network: str | None = None
    new_head: bool = False


def find_weights(path: Path, classes: Sequence[str]) -> Weights:
    """Return the weights that a user names: a file, or another run's folder.

    Parameters
    ----------
    path : Path
        As typed.
    classes : sequence of str
        Those to be told apart; the head of a run with others is not taken over.

    Raises
    ------
    RunFolderError
        If `path` is a folder but no finished run.
    """
    if not path.is_dir():
        return Weights(path)
    record = RunFolder.open(path).record
    return Weights(
        path / "model.safetensors",
        network=record["network"]["name"],
        new_head=list(record["dataset"]["classes"]) != list(classes),
    )


def read_freeze(text: str | None, weights: Path | None) -> int | str | None:
    """Return what `freeze` says: a number of layers, ``"all"``, ``"auto"``, or None.

    Raises
    ------
    InputError
        If it says something else, or there are no weights to keep.

    Examples
    --------
    >>> read_freeze("3", Path("run")), read_freeze("all", Path("run")), read_freeze(None, None)
    (3, 'all', None)
    """
    if text is None:
        return None
    if text not in ("all", "auto") and not (text.isdecimal() and int(text) > 0):
        raise InputError(f"`freeze` {text!r}: expected a number of layers from 1, all, or auto")
    if weights is None:
        raise InputError(
            f"`freeze` {text}: without `weights` the layers are random, and frozen they learn nothing; "
            "give `weights` RUN or FILE, or leave `freeze` out"
        )
    return text if text in ("all", "auto") else int(text)


def choose_freeze(parameters: int, images: int) -> tuple[str | None, str]:
    """Return what `freeze` "auto" means, by the lecture's rule, and why.

    "If the target dataset is very small and N layers have large number of parameter: fine tuning could lead to
    overfitting so leave it frozen. Otherwise, fine tune to the new data." Very small is here: more than
    1,000 parameters for each training image.

    Parameters
    ----------
    parameters : int
        Of the layers that would be frozen.
    images : int
        Training images.

    Examples
    --------
    >>> choose_freeze(700_000, 500)[0], choose_freeze(700_000, 5000)[0]
    ('all', None)
    """
    ratio = parameters / max(1, images)
    facts = (
        f"{images:,} training images for {parameters:,} transferred parameters, {ratio:,.0f} for each image"
    )
    if ratio > MOST_PARAMETERS_PER_IMAGE:
        return "all", f"frozen: {facts} (more than {MOST_PARAMETERS_PER_IMAGE:,}): fine-tuning could overfit"
    return None, f"fine-tuned: {facts} (at most {MOST_PARAMETERS_PER_IMAGE:,})"


def check_unseen(run: Path, dataset: ImageDataset, manifests: Iterable[SplitManifest]) -> None:
    """Make sure that another run did not learn from images that are now held out.

    Parameters
    ----------
    run : Path
        The folder of the other run.
    dataset : ImageDataset
        The loaded data set.
    manifests : iterable of SplitManifest
        How it is split, in each draw.

    Raises
    ------
    InputError
        If it did: scores on them would be too good.
    """
    record = RunFolder.open(run).record
    if record["dataset"]["fingerprint"] != dataset.fingerprint:
        return
    seen = SplitManifest.load(run / "manifest.json")
    for draw, manifest in enumerate(manifests):
        for name in ("test", "validation"):
            if manifest.sources[name] != seen.sources["train"]:
                continue
            shared = np.intersect1d(getattr(manifest, name), seen.train).size
            if shared:
                raise InputError(
                    f"{run} learned from {shared:,} of the {name} images of draw {draw}, and scores on them would be "
                    f"too good; use its split (`split` {run / 'manifest.json'}) or other images"
                )


def body_parameters(name: str, dataset: ImageDataset) -> int:
    """Return how many parameters a network has below its head for these images."""
    network = _untrained(name, dataset)
    head = sum(parameter.numel() for parameter in network.classifier.parameters())
    return sum(parameter.numel() for parameter in network.parameters()) - head


def check_freeze(plan: RunPlan, dataset: ImageDataset) -> None:
    """Make sure that what is to be frozen exists, and was trained.

    Raises
    ------
    InputError
        If the network has fewer layers, or the weights leave some of these layers untrained.
    """
    if plan.freeze is None or plan.weights is None:
        return
    network = _untrained(plan.network, dataset)
    layers = learned_layers(network)
    if plan.freeze != "all" and int(plan.freeze) > len(layers):
        raise InputError(
            f"`freeze` {plan.freeze}: {plan.network} has {len(layers)} learned layers below its head; "
            f"give 1 to {len(layers)}, or all"
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # said once the network is made in earnest
        untrained = load_weights(network, plan.weights)
    random = {id(network.get_parameter(name)): name for name in untrained}
    frozen = layers if plan.freeze == "all" else layers[: int(plan.freeze)]
    for number, layer in enumerate(frozen):
        for parameter in layer.parameters:
            if id(parameter) in random:
                most = f"; give `freeze` {number} or less" if number else ""
                raise InputError(
                    f"`freeze` {plan.freeze}: {plan.weights} holds nothing for {random[id(parameter)]}, which would "
                    f"stay random{most}"
                )


def _untrained(name: str, dataset: ImageDataset) -> Network:
    return create_network(
        name,
        num_classes=dataset.num_classes,
        in_channels=dataset.channels,
        image_size=dataset.image_size,
        seed=0,
    )


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

    All images of the data set are embedded once, with every core, and kept on disk; whoever needs the same waits
    until they are there. A file is named by the content hash of all that it depends on: images, their size,
    and the network's weights with its normalisation.

    Parameters
    ----------
    network : Network
        Frozen whole; its head does not matter.
    dataset : ImageDataset
        The loaded data set.
    manifest : SplitManifest
        How it is split.
    splits : ImageDataset
        The data set so split.
    cache : Path
        Folder for the embeddings.
    device : torch.device
        Where the network is to be.
    workers : int
        Processes that decode images.

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
                    name: np.ascontiguousarray(
                        embed_images(network, split, device=device, workers=workers), dtype=np.float32
                    )
                    for name, split in dataset.splits.items()
                }
            _write(path, embeddings)
    embeddings = _read(path)
    embedded = {
        name: EmbeddedSplit.of(split, embeddings[manifest.sources[name]][getattr(manifest, name)])
        for name, split in splits.splits.items()
    }
    return ImageDataset(
        splits.name, splits.classes, splits.channels, splits.image_size, skipped=splits.skipped, **embedded
    )


def body_hash(network: Network) -> str:
    """Return 64 hex digits that change with any weight or buffer below the head, or their names."""
    digest = hashlib.sha256(f"{network.name}{sorted(network.options.items())}".encode())
    for name, tensor in sorted(network.state_dict().items()):
        if not name.startswith("classifier."):
            digest.update(f"{name}{tensor.dtype}{tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _write(path: Path, embeddings: dict[str, np.ndarray]) -> None:
    try:
        with atomic_path(path) as temporary:
            save_file(embeddings, temporary)
    except SafetensorError as error:
        raise RunFolderError(
            f"cannot write {path}: {error}; free some space or choose another `cache`"
        ) from error


def _read(path: Path) -> dict[str, np.ndarray]:
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise RunFolderError(f"cannot read {path} ({error}); delete it to make it anew") from error
