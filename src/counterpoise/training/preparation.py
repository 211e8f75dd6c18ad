"""From what a user types to a plan; everything wrong is found before anything is written."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from counterpoise.balance.samplers import epoch_indices
from counterpoise.config.train import TrainConfig
from counterpoise.datasets import ImageDataset, ImageSplit, SplitManifest, create_profile
from counterpoise.exceptions import CounterpoiseError, InputError, UnknownNameError
from counterpoise.methods import Method
from counterpoise.networks import Network, create_network, freeze
from counterpoise.training.device import make_fabric
from counterpoise.training.plan import RunPlan, SplitPlan
from counterpoise.training.randomness import seed_for


def read_split_plan(
    dataset: ImageDataset,
    *,
    imbalance: str = "natural",
    ratio: float | None = None,
    minority: str | None = None,
    minority_ratio: float | None = None,
    validation_fraction: float | None = None,
    test_fraction: float | None = None,
    manifest: Path | None = None,
) -> SplitPlan:
    """Return how `dataset` is to be split, from options as typed.

    Parameters
    ----------
    dataset : ImageDataset
        Its class names may be used in `minority`.
    imbalance : {"natural", "step", "linear", "long-tail"}
        The profile.
    ratio : float, optional
        Largest class over smallest.
    minority : str, optional
        ``"4"`` (so many random classes), ``"0.4"`` (that share), or class names separated by commas.
    minority_ratio : float, optional
        Thesis Def. 1.3; 2 if not given. A step imbalance names its own minority classes.
    validation_fraction, test_fraction : float, optional
        Shares held out where the data set brings no such split; 0.1 and 0.2 if not given.
    manifest : Path, optional
        A saved split, used as it is.

    Raises
    ------
    InputError
        If an option does not fit the data set or the other options.
    """
    settings = {
        "validation_fraction": validation_fraction,
        "test_fraction": test_fraction,
        "minority_ratio": minority_ratio,
    }
    given: dict[str, Any] = {name: value for name, value in settings.items() if value is not None}
    if manifest is not None:
        if imbalance != "natural" or ratio is not None or minority is not None or given:
            raise InputError(
                "`split` gives the whole split; leave out `imbalance`, `ratio`, `minority`, `minority_ratio`, "
                "`validation_fraction` and `test_fraction`"
            )
        return SplitPlan(manifest=str(manifest), manifest_hash=SplitManifest.load(manifest).hash)
    for name in ("validation", "test"):
        if f"{name}_fraction" in given and getattr(dataset, name) is not None:
            raise InputError(
                f"`{name}_fraction`: {dataset.name} has {name} images of its own; leave `{name}_fraction` out"
            )
    classes = None if minority is None else read_minority(minority, dataset.classes)
    profile = create_profile(imbalance, ratio=ratio, minority=classes)
    if minority is not None and minority_ratio is not None:
        raise InputError("`minority` says which classes are rare; leave `minority_ratio` out")
    return SplitPlan(profile=profile.to_dict(), **given)


def read_minority(text: str, classes: Sequence[str]) -> int | float | list[int]:
    """Return a number of classes, a share, or class indices from what a user typed.

    A number alone is how many or what share; classes whose names are numbers are named with a comma: ``"4,"``.

    Examples
    --------
    >>> read_minority("4", ["cat", "dog"]), read_minority("0.5", ["cat", "dog"]), read_minority("dog", ["cat", "dog"])
    (4, 0.5, [1])
    >>> read_minority("4,", ["3", "4"])
    [1]
    """
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise InputError(
            f"`minority` {text!r} names no class; give a number, a share, or names from {', '.join(classes)}"
        )
    for name in names:
        if name not in classes:
            raise UnknownNameError("minority class", name, classes)
    return [classes.index(name) for name in names]


def check_machine(config: TrainConfig) -> None:
    """Make sure that this machine has the device, and computes in the precision, of a configuration.

    Raises
    ------
    InputError
        If it has not, or does not.
    """
    on_cpu = config.device == "cpu" or not torch.cuda.is_available()
    if config.precision == "16-mixed" and on_cpu:
        # Fabric would quietly take bf16-mixed instead.
        raise InputError("`precision` 16-mixed needs a GPU; use bf16-mixed or 32-true on a CPU")
    make_fabric(config)


def _check_method(method: Method, splits: ImageDataset, epochs: int) -> None:
    """Build every component of a method and try it on these classes, with made-up values for a network's."""
    generator = np.random.default_rng(0)
    labels, counts = splits.train.labels, splits.train.class_counts(len(splits.classes))
    for place, component in method.components.items():
        built = component.build(
            class_counts=counts, class_names=splits.classes, epochs=epochs, random_state=0
        )
        try:
            if place in ("sampler", "head_sampler") and not built.makes_images:
                epoch_indices(built, labels, seed=0, epoch=0)
            elif place in ("sampler", "features"):
                built.fit(np.zeros((len(labels), 1), dtype=np.float32), labels)
                few = np.concatenate([np.flatnonzero(labels == c)[:3] for c in np.unique(labels)])
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    built.fit_resample(generator.normal(size=(len(few), 2)), labels[few])
            elif place == "adjust":
                built.fit(generator.normal(size=(len(counts), len(counts))), np.arange(len(counts)), counts)
        except CounterpoiseError:
            raise
        except (TypeError, ValueError) as error:
            raise InputError(f"method {method.label!r} cannot be used on these classes: {error}") from error


def make_network(plan: RunPlan, splits: ImageDataset) -> Network:
    """Return the freshly initialised (or pretrained) network of a plan, normalised by the training images.

    What the plan freezes is frozen.
    """
    # Pretrained weights bring the normalisation that they were trained with.
    mean, std = (None, None) if plan.weights else pixel_statistics(splits.train)
    with warnings.catch_warnings():
        if plan.new_head:
            # It is known, and said, that the head is drawn anew.
            warnings.filterwarnings(
                "ignore", r"weights .* tensors for (classifier\.\w+(, )?)+; they start untrained"
            )
        network = create_network(
            plan.network,
            num_classes=len(splits.classes),
            in_channels=splits.channels,
            image_size=splits.image_size,
            mean=mean,
            std=std,
            weights=plan.weights,
            seed=seed_for(plan.config.seed, "network"),
            head_layer=plan.record.head_layer,
        )
    if plan.new_head:
        seed = seed_for(plan.config.seed, "new head")
        network.reset_head(generator=torch.Generator().manual_seed(seed))
    if plan.freeze is not None:
        freeze(network, plan.freeze)  # type: ignore[arg-type]
    return network


def pixel_statistics(split: ImageSplit, *, sample: int = 5000) -> tuple[list[float], list[float]]:
    """Return mean and standard deviation per channel, in units of [0, 1], of at most `sample` evenly spread images."""
    indices = np.unique(np.linspace(0, len(split) - 1, min(sample, len(split))).round().astype(int))
    values = np.stack([np.asarray(split.images[int(i)]) for i in indices]).astype(np.float64) / 255
    mean, std = values.mean(axis=(0, 2, 3)), values.std(axis=(0, 2, 3))
    return mean.tolist(), np.maximum(std, 1 / 255).tolist()
