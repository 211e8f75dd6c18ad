"""Initial weights of a network (random, another run's, a file's) and its frozen layers."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from counterpoise.config import ModelConfig
from counterpoise.datasets import ImageDataset, SplitManifest
from counterpoise.exceptions import InputError
from counterpoise.networks import Network, create_network, learned_layers, load_weights
from counterpoise.runs import RunFolder
from counterpoise.training.plan import RunPlan

#: `freeze` "auto" freezes where there are more parameters to fine-tune than this for each training image.
MOST_PARAMETERS_PER_IMAGE = 1000


@dataclass(frozen=True)
class Weights:
    """Pretrained weights.

    Attributes
    ----------
    file : Path
        File of the weights.
    run : Path or None
        Folder of the run that trained them, if a run was named.
    network : str or None
        Name of that run's network.
    new_head : bool
        Whether the head is reinitialized, because that run has other classes.
    """

    file: Path
    run: Path | None = None
    network: str | None = None
    new_head: bool = False


def find_weights(model: ModelConfig, classes: Sequence[str]) -> Weights | None:
    """Return the weights that a user names, a file or another run's folder; None for a network from scratch.

    Parameters
    ----------
    model : ModelConfig
        As asked for.
    classes : sequence of str
        Classes of the new network.

    Raises
    ------
    RunFolderError
        If a folder is named that is no finished run.
    InputError
        If another network than that run's is asked for.
    """
    path = model.weights
    if path is None or not path.is_dir():
        return None if path is None else Weights(path)
    record = RunFolder.open(path).record
    network = record.network.name
    if model.backbone not in (None, network):
        raise InputError(
            f"`backbone` {model.backbone}: the weights are of a run of {network}; leave `backbone` out"
        )
    new_head = list(record.dataset.classes) != list(classes)
    return Weights(path / "model.safetensors", path, network, new_head)


def resolve_freeze(
    text: str | None, plan: RunPlan, dataset: ImageDataset, images: int
) -> tuple[int | str | None, str | None]:
    """Return the frozen layers (a number, ``"all"`` or None) and, where the choice was left open, the reason.

    Parameters
    ----------
    text : str or None
        As asked for.
    plan : RunPlan
        The run; nothing is frozen in it yet.
    dataset : ImageDataset
        The loaded dataset.
    images : int
        Number of training images.

    Raises
    ------
    InputError
        If there are no such layers, or frozen layers would stay random.
    """
    freeze, reason = read_freeze(text, plan.weights), None
    if freeze is not None:
        network = create_network(
            plan.network,
            num_classes=dataset.num_classes,
            in_channels=dataset.channels,
            image_size=dataset.image_size,
            seed=0,
        )
        if freeze == "auto":
            freeze, reason = choose_freeze(_body_parameters(network), images)
        _check_freeze(freeze, plan, network)
    if plan.cache is not None and freeze != "all":
        raise InputError("`cache` keeps the embeddings of a network frozen whole; give `freeze` all with it")
    return freeze, reason


def read_freeze(text: str | None, weights: str | Path | None) -> int | str | None:
    """Return what `freeze` says: a number of layers, ``"all"``, ``"auto"``, or None.

    Raises
    ------
    InputError
        If it says something else, or there are no weights to keep.

    Examples
    --------
    >>> read_freeze("3", "run"), read_freeze("all", "run"), read_freeze(None, None)
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
        Parameters of the layers that would be frozen.
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
        Folder of the other run.
    dataset : ImageDataset
        The loaded dataset.
    manifests : iterable of SplitManifest
        Its split in each repeat.

    Raises
    ------
    InputError
        If it did: scores on them would be too good.
    """
    record = RunFolder.open(run).record
    if record.dataset.fingerprint != dataset.fingerprint:
        return
    seen = SplitManifest.load(run / "manifest.json")
    for repeat, manifest in enumerate(manifests):
        for name in ("test", "validation"):
            if manifest.sources[name] != seen.sources["train"]:
                continue
            shared = np.intersect1d(getattr(manifest, name), seen.train).size
            if shared:
                raise InputError(
                    f"{run} learned from {shared:,} of the {name} images of repeat {repeat}, and scores on them would "
                    f"be too good; use its split (`split_file` {run / 'manifest.json'}) or other images"
                )


def _body_parameters(network: Network) -> int:
    head = sum(parameter.numel() for parameter in network.classifier.parameters())
    return sum(parameter.numel() for parameter in network.parameters()) - head


def _check_freeze(freeze: int | str | None, plan: RunPlan, network: Network) -> None:
    """Refuse to freeze layers that the network has not, or that the weights leave random."""
    if freeze is None or plan.weights is None:
        return
    layers = learned_layers(network)
    if freeze != "all" and int(freeze) > len(layers):
        raise InputError(
            f"`freeze` {freeze}: {plan.network} has {len(layers)} learned layers below its head; "
            f"give 1 to {len(layers)}, or all"
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the network that is trained warns of them
        untrained = load_weights(network, plan.weights)
    random = {id(network.get_parameter(name)): name for name in untrained}
    for number, layer in enumerate(layers if freeze == "all" else layers[: int(freeze)]):
        for parameter in layer.parameters:
            if id(parameter) in random:
                most = f"; give `freeze` {number} or less" if number else ""
                raise InputError(
                    f"`freeze` {freeze}: {plan.weights} holds nothing for {random[id(parameter)]}, which would stay "
                    f"random{most}"
                )
