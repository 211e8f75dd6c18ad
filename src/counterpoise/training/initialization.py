"""Initial weights of a network (random, another run's, a file's) and its frozen layers."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch

from counterpoise.config import ModelConfig
from counterpoise.datasets import ImageDataset, ImageSplit, SplitManifest
from counterpoise.exceptions import InputError
from counterpoise.networks import Network, create_network, freeze, learned_layers, load_weights
from counterpoise.runs import RunFolder
from counterpoise.training.plan import RunPlan
from counterpoise.training.randomness import seed_for

#: `freeze` "auto" freezes where there are more parameters to fine-tune than this for each training image.
MOST_PARAMETERS_PER_IMAGE = 1000


def find_weights(model: ModelConfig) -> tuple[Path | None, RunFolder | None]:
    """Return the file of the pretrained weights, and the finished run that trained them where its folder is named.

    `InputError` if another network than that run's is asked for.
    """
    path = model.weights
    if path is None or not path.is_dir():
        return path, None
    run = RunFolder.open(path)
    if model.backbone not in (None, run.record.network.name):
        raise InputError(
            f"`backbone` {model.backbone}: the weights are of a run of {run.record.network.name}; "
            "leave `backbone` out"
        )
    return path / "model.safetensors", run


def resolve_freeze(
    text: str | None, plan: RunPlan, dataset: ImageDataset, images: int
) -> tuple[int | str | None, str | None]:
    """Return the frozen layers (a number, ``"all"`` or None) and, where the choice was left open, the reason.

    `text` is as asked for; nothing is frozen in `plan` yet; `images` is the number of training images. `InputError` if
    there are no such layers, or frozen layers would stay random.
    """
    frozen, reason = read_freeze(text, plan.weights), None
    if frozen is not None:
        network = create_network(
            plan.network,
            num_classes=dataset.num_classes,
            in_channels=dataset.channels,
            image_size=dataset.image_size,
            seed=0,
        )
        if frozen == "auto":
            head = sum(parameter.numel() for parameter in network.classifier.parameters())
            total = sum(parameter.numel() for parameter in network.parameters())
            frozen, reason = choose_freeze(total - head, images)
        _check_freeze(frozen, plan, network)
    if plan.cache is not None and frozen != "all":
        raise InputError("`cache` keeps the embeddings of a network frozen whole; give `freeze` all with it")
    return frozen, reason


def read_freeze(text: str | None, weights: str | Path | None) -> int | str | None:
    """Return what `freeze` says: a number of layers, ``"all"``, ``"auto"``, or None; `InputError` without weights.

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
    1,000 parameters of the layers that would be frozen for each training image.

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


def check_unseen(run: RunFolder, dataset: ImageDataset, manifests: Iterable[SplitManifest]) -> None:
    """Raise `InputError` if another run learned from images held out in any repeat: their scores would be too good."""
    if run.record.dataset.fingerprint != dataset.fingerprint:
        return
    file = run.path / "manifest.json"
    seen = SplitManifest.load(file)
    for repeat, manifest in enumerate(manifests):
        for name in ("test", "validation"):
            shared = np.intersect1d(getattr(manifest, name), seen.train).size
            if shared and manifest.sources[name] == seen.sources["train"]:
                raise InputError(
                    f"{run.path} learned from {shared:,} of the {name} images of repeat {repeat}, and scores on "
                    f"them would be too good; use its split (`split_file` {file}) or other images"
                )


def _check_freeze(frozen: int | str | None, plan: RunPlan, network: Network) -> None:
    """Refuse to freeze layers that the network has not, or that the weights leave random."""
    if frozen is None or plan.weights is None:
        return
    layers = learned_layers(network)
    if frozen != "all" and int(frozen) > len(layers):
        raise InputError(
            f"`freeze` {frozen}: {plan.network} has {len(layers)} learned layers below its head; "
            f"give 1 to {len(layers)}, or all"
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the network that is trained warns of them
        untrained = load_weights(network, plan.weights)
    random = {id(network.get_parameter(name)): name for name in untrained}
    for number, layer in enumerate(layers if frozen == "all" else layers[: int(frozen)]):
        for parameter in layer.parameters:
            if id(parameter) in random:
                most = f"; give `freeze` {number} or less" if number else ""
                raise InputError(
                    f"`freeze` {frozen}: {plan.weights} holds nothing for {random[id(parameter)]}, which would stay "
                    f"random{most}"
                )


def make_network(plan: RunPlan, splits: ImageDataset) -> Network:
    """Return the network of a plan before its training, with frozen layers, normalized by the training images."""
    with warnings.catch_warnings():
        if plan.new_head:
            # The reinitialized head is intended, and noted.
            pattern = r"weights .* tensors for (classifier\.\w+(, )?)+; they start untrained"
            warnings.filterwarnings("ignore", pattern)
        seed, layer = plan.config.seed, plan.record.head_layer
        network = initial_network(plan.network, splits, weights=plan.weights, seed=seed, head_layer=layer)
    if plan.new_head:
        seed = seed_for(plan.config.seed, "new head")
        network.reset_head(generator=torch.Generator().manual_seed(seed))
    if plan.freeze is not None:
        freeze(network, plan.freeze)  # type: ignore[arg-type]
    return network


def initial_network(
    name: str, splits: ImageDataset, *, weights: str | None, seed: int, head_layer: str
) -> Network:
    """Return a network for the images of `splits`: random by the `seed` of the run, or with pretrained weights."""
    # Pretrained weights bring the normalization that they were trained with.
    mean, std = (None, None) if weights else pixel_statistics(splits.train)
    return create_network(
        name,
        num_classes=len(splits.classes),
        in_channels=splits.channels,
        image_size=splits.image_size,
        mean=mean,
        std=std,
        weights=weights,
        seed=seed_for(seed, "network"),
        head_layer=head_layer,
    )


def pixel_statistics(split: ImageSplit, *, sample: int = 5000) -> tuple[list[float], list[float]]:
    """Return mean and standard deviation per channel, in units of [0, 1], of at most `sample` evenly spread images."""
    indices = np.unique(np.linspace(0, len(split) - 1, min(sample, len(split))).round().astype(int))
    values = np.stack([np.asarray(split.images[int(i)]) for i in indices]).astype(np.float64) / 255
    mean, std = values.mean(axis=(0, 2, 3)), values.std(axis=(0, 2, 3))
    return mean.tolist(), np.maximum(std, 1 / 255).tolist()
