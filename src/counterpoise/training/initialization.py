"""Initial weights of a network (random, another run's, a file's) and its frozen layers."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from counterpoise.config import ModelConfig
from counterpoise.datasets import ImageDataset, ImageSplit, decode_batch
from counterpoise.exceptions import InputError
from counterpoise.methods import Method
from counterpoise.networks import (
    EnsembleNetwork,
    Network,
    Pretrained,
    create_network,
    default_network_name,
    find_pretrained,
    freeze,
    has_stages,
    learned_layers,
    load_weights,
)
from counterpoise.runs import RunFolder
from counterpoise.training.fit import refuse_pixel_methods
from counterpoise.training.plan import RunPlan
from counterpoise.training.randomness import seed_for

#: Most pixel values that are held as floats at once.
_FEW_VALUES = 1 << 24


def find_weights(model: ModelConfig, dataset: ImageDataset) -> tuple[Pretrained, RunFolder | None]:
    """Return the network with the file it starts from, and the finished run that trained it where its folder is named.

    `InputError` if another network than that run's is asked for, or there are no such weights.
    """
    path, size = model.weights, dataset.image_size
    if path is None:
        return find_pretrained(
            model.pretrained, model.backbone, channels=dataset.channels, image_size=size
        ), None
    if model.pretrained not in (None, "none"):
        raise InputError(f"`pretrained` {model.pretrained} and `weights` {path}: leave one of them out")
    named = None if model.backbone == "auto" else model.backbone
    if not path.is_dir():
        return Pretrained(backbone=named or default_network_name(dataset.channels, size), file=path), None
    run = RunFolder.open(path)
    network = run.record.network.name
    if network == EnsembleNetwork.NAME:
        raise InputError(
            f"{path} is an average of two networks, which are not trained together; give the run of one of them"
        )
    if named not in (None, network):
        raise InputError(f"`backbone` {named}: the weights are of a run of {network}; leave `backbone` out")
    return Pretrained(backbone=network, file=path / "model.safetensors"), run


def resolve_freeze(text: str | None, plan: RunPlan, dataset: ImageDataset) -> int | str | None:
    """Return the frozen layers: a number, ``"all"``, ``"auto"`` or None.

    `text` is as asked for; nothing is frozen in `plan` yet. `InputError` if there are no such layers, or frozen layers
    would stay random.
    """
    frozen = read_freeze(text, plan.weights)
    if frozen is not None:
        network = create_network(
            plan.network,
            num_classes=dataset.num_classes,
            in_channels=dataset.channels,
            image_size=dataset.image_size,
            seed=0,
        )
        _check_freeze("all" if frozen == "auto" else frozen, plan, network)
    return frozen


def default_freeze(
    text: str | None, plan: RunPlan, methods: Sequence[Method]
) -> tuple[str | None, str | None]:
    """Return what `freeze` means where it was left open, and the reason: published weights stay frozen.

    Embedding each image once is about six times faster than one epoch of fine-tuning on a CPU. A method that changes
    images, or trains the embedding, needs the whole network.
    """
    if plan.adapter is not None:
        _check_adapter(text, plan)
        return None, f"adapters: {plan.adapter} and the head are trained, the network itself stays frozen"
    if text is not None or plan.origin is None:
        return text, None
    for method in methods:
        try:
            refuse_pixel_methods(method)
        except InputError:
            return None, f"fine-tuned: {method.label} needs the images, not only their features"
    return (
        "all",
        "frozen: each image is embedded once, and heads are trained on its features; `freeze` none fine-tunes",
    )


def _check_adapter(freeze: str | None, plan: RunPlan) -> None:
    if plan.weights is None:
        raise InputError(
            f"`adapter` {plan.adapter}: without pretrained weights the frozen network is random; give `pretrained` hub "
            "or NAME.TAG, or `weights`"
        )
    if freeze not in (None, "none"):
        raise InputError(f"`adapter` {plan.adapter} keeps the network itself frozen; leave `freeze` out")


def read_freeze(text: str | None, weights: str | Path | None) -> int | str | None:
    """Return what `freeze` says: a number of layers, ``"all"``, ``"auto"``, or None; `InputError` without weights.

    ``"none"`` is None, too: it says so where the default is another.

    Examples
    --------
    >>> read_freeze("3", "run"), read_freeze("all", "run"), read_freeze(None, None)
    (3, 'all', None)
    """
    if text in (None, "none"):
        return None
    if text not in ("all", "auto") and not (text.isdecimal() and int(text) > 0):
        raise InputError(f"`freeze` {text!r}: expected a number of layers from 1, all, auto, or none")
    if weights is None:
        raise InputError(
            f"`freeze` {text}: without `weights` the layers are random, and frozen they learn nothing; "
            "give `weights` RUN or FILE, or `pretrained` auto, or leave `freeze` out"
        )
    return text if text in ("all", "auto") else int(text)


def resolve_features(
    asked: str | None, frozen: int | str | None, network: str, *, head_first: bool = False
) -> str | None:
    """Return the features that a head is fitted to: as asked for, else multi-level ones where the network has stages.

    There are none where no head is fitted to frozen features; `head_first` tells that one is, before fine-tuning.

    Examples
    --------
    >>> resolve_features(None, "all", "resnet18"), resolve_features(None, "all", "lenet")
    ('multi', 'last')
    """
    if frozen not in ("all", "auto") and not head_first:
        if asked is not None:
            raise InputError(
                f"`features` {asked} are those of a network frozen whole; give `freeze` all with it"
            )
        return None
    return asked or ("multi" if has_stages(network) else "last")


def loaded_parts(run: RunFolder, plan: RunPlan) -> str:
    """Return what a plan takes over from another run, in words."""
    if plan.new_head:
        return "the other run's classes are not these: the head is new"
    levels = " of several levels" if plan.features == "multi" else ""
    if plan.freeze == "all":
        return f"weights of {run.path}: the network; a head is fitted to its features{levels}"
    features = "" if plan.features is None else f", its standardized features{levels}"
    same = run.record.network.head.get("layer") == plan.record.head_layer
    return f"weights of {run.path}: the network{features}{' and its head' if same else ''}"


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
    options: dict[str, Any] = {} if plan.features is None else {"standardize": True}
    if plan.adapter is not None:
        options["adapter"] = plan.adapter
    if plan.features == "multi":
        options["features"] = "multi"
    # The reinitialized head is intended, and noted; published weights have none for these classes.
    network = initial_network(
        plan.network,
        splits,
        weights=plan.weights,
        seed=plan.config.seed,
        head_layer=plan.record.head_layer,
        new_head=plan.new_head or plan.origin is not None,
        **options,
    )
    if plan.new_head:
        seed = seed_for(plan.config.seed, "new head")
        network.reset_head(generator=torch.Generator().manual_seed(seed))
    if plan.freeze not in (None, "auto"):
        freeze(network, plan.freeze)  # type: ignore[arg-type]
    return network


def initial_network(
    name: str,
    splits: ImageDataset,
    *,
    weights: str | None,
    seed: int,
    head_layer: str,
    new_head: bool = False,
    **options: Any,
) -> Network:
    """Return a network for the images of `splits`: random by the `seed` of the run, or with pretrained weights.

    With `new_head`, weights without a head for these classes are no reason for a warning. `options`
    are those of the network.
    """
    # Pretrained weights bring the normalization that they were trained with.
    mean, std = (None, None) if weights else pixel_statistics(splits.train)
    with warnings.catch_warnings():
        if new_head:
            pattern = r"weights .* tensors for (classifier\.\w+(, )?)+; they start untrained"
            warnings.filterwarnings("ignore", pattern)
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
            **options,
        )


def pixel_statistics(split: ImageSplit, *, sample: int = 5000) -> tuple[list[float], list[float]]:
    """Return mean and standard deviation per channel, in units of [0, 1], of at most `sample` evenly spread images."""
    indices = np.unique(np.linspace(0, len(split) - 1, min(sample, len(split))).round().astype(int))
    first = decode_batch(split.images, indices[:1])
    if first.size * len(indices) <= _FEW_VALUES:
        values = decode_batch(split.images, indices).astype(np.float64) / 255
        mean, std = values.mean(axis=(0, 2, 3)), values.std(axis=(0, 2, 3))
    else:
        counts = np.zeros((first.shape[1], 256))
        for part in np.array_split(indices, len(indices) // 64 + 1):
            channels = decode_batch(split.images, part).swapaxes(0, 1)
            counts += [np.bincount(values.ravel(), minlength=256) for values in channels]
        shares, levels = counts / counts.sum(axis=1, keepdims=True), np.arange(256) / 255
        mean = shares @ levels
        std = np.sqrt((shares * (levels - mean[:, None]) ** 2).sum(axis=1))
    return mean.tolist(), np.maximum(std, 1 / 255).tolist()
