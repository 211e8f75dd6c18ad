"""What a network starts from (nothing, another run, a file), and what of it stays as it is."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from counterpoise.datasets import ImageDataset, SplitManifest
from counterpoise.exceptions import InputError
from counterpoise.networks import Network, create_network, learned_layers, load_weights
from counterpoise.runs.folder import RunFolder
from counterpoise.training.plan import RunPlan

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
