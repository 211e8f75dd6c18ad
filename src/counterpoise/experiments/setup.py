"""From what a user types to a plan; everything wrong is found before anything is written."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from counterpoise.balance.samplers import epoch_indices
from counterpoise.datasets import ImageDataset, SplitManifest, create_profile
from counterpoise.evaluation import METRICS
from counterpoise.exceptions import CounterpoiseError, InputError, UnknownNameError
from counterpoise.experiments.plan import SplitPlan
from counterpoise.experiments.run import make_network
from counterpoise.experiments.starting import (
    body_parameters,
    check_freeze,
    check_unseen,
    choose_freeze,
    find_weights,
    read_freeze,
)
from counterpoise.experiments.study import Study
from counterpoise.methods import Method
from counterpoise.networks import default_network_name
from counterpoise.training import TrainingConfig, make_config
from counterpoise.training.device import make_fabric
from counterpoise.training.frozen import refuse_pixel_methods


def make_study(
    dataset: ImageDataset,
    *,
    source: str,
    methods: Sequence[Method],
    draws: int = 1,
    metric: str = "gmean",
    imbalance: str = "natural",
    ratio: float | None = None,
    minority: str | None = None,
    minority_ratio: float | None = None,
    validation_fraction: float | None = None,
    test_fraction: float | None = None,
    manifest: Path | None = None,
    backbone: str | None = None,
    weights: Path | None = None,
    freeze: str | None = None,
    cache: Path | None = None,
    command: str = "",
    **training: Any,
) -> Study:
    """Return a study from options as typed.

    Parameters
    ----------
    dataset : ImageDataset
        The loaded data set.
    source : str
        How the user named it.
    methods : sequence of Method
        What to compare.
    draws : int
        How many draws.
    metric : str
        What the winner is chosen by.
    imbalance, ratio, minority, minority_ratio, validation_fraction, test_fraction, manifest
        As in `read_split_plan`.
    backbone : str, optional
        The network; chosen by the size of the images if not given.
    weights : Path, optional
        File of pretrained weights, or the folder of another run to start from.
    freeze : str, optional
        How many of the first layers stay as they are: a number, ``"all"``, or ``"auto"`` for the lecture's rule.
    cache : Path, optional
        Folder for the embeddings of a network that is frozen whole.
    command : str
        The command line, for the record.
    **training
        Fields of `TrainingConfig`.

    Returns
    -------
    Study

    Raises
    ------
    InputError
        If an option is refused.
    """
    if metric not in METRICS:
        raise UnknownNameError("metric", metric, METRICS)
    if draws < 1:
        raise InputError(f"`draws` {draws}: at least one draw is needed, and two for an interval")
    if training.get("head_epochs") is not None and not any(method.trains_head for method in methods):
        names = ", ".join(method.label for method in methods)
        raise InputError(f"`head_epochs`: {names} train no separate head; leave it out")
    split = read_split_plan(
        dataset,
        imbalance=imbalance,
        ratio=ratio,
        minority=minority,
        minority_ratio=minority_ratio,
        validation_fraction=validation_fraction,
        test_fraction=test_fraction,
        manifest=manifest,
    )
    start = None if weights is None else find_weights(weights, dataset.classes)
    if start is not None and start.network is not None and backbone not in (None, start.network):
        raise InputError(
            f"`backbone` {backbone}: the weights are of a run of {start.network}; leave `backbone` out"
        )
    known = None if start is None else start.network
    study = Study(
        source=source,
        split=split,
        methods=tuple(methods),
        draws=tuple(range(draws)),
        network=backbone or known or default_network_name(dataset.channels, dataset.image_size),
        config=make_config(**training),
        metric=metric,
        weights=None if start is None else str(start.file),
        weights_hash=None if start is None else file_hash(start.file),
        new_head=start is not None and start.new_head,
        cache=None if cache is None else str(cache),
        notes=("the other run's classes are not these: the head is new",) if start and start.new_head else (),
        command=command,
    )
    if known is not None and weights is not None:
        seeds = (study.config.seed + draw for draw in study.draws)
        check_unseen(weights, dataset, (study.split.splits(dataset, seed) for seed in seeds))
    return _with_freeze(study, dataset, read_freeze(freeze, weights))


def _with_freeze(study: Study, dataset: ImageDataset, freeze: int | str | None) -> Study:
    """Return the study with what is to be frozen, and the reason where that is decided here."""
    if freeze == "auto":
        images = len(study.split.splits(dataset, study.config.seed).train)
        freeze, reason = choose_freeze(body_parameters(study.network, dataset), images)
        study = replace(study, notes=(*study.notes, reason))
    if study.cache is not None and freeze != "all":
        raise InputError("`cache` keeps the embeddings of a network frozen whole; give `freeze` all with it")
    return replace(study, freeze=freeze)


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


def check_study(study: Study, dataset: ImageDataset) -> None:
    """Build everything a study needs once, so that what cannot work is said before anything is written.

    Raises
    ------
    InputError
        If the data cannot be split so, or a method, a network or a setting is refused.
    """
    plan = study.plans(dataset)[0]
    check_machine(plan.config)
    splits = plan.split.splits(dataset, plan.config.seed).apply(dataset)
    for method in study.methods if plan.freeze == "all" else ():
        refuse_pixel_methods(method)
    check_freeze(plan, dataset)
    make_network(plan, splits)
    for method in study.methods:
        _check_method(method, splits, plan.config.epochs)
        if method.adjust is not None and not splits.validation and method.adjust.build().needs_logits:
            raise InputError(
                f"{method.label} learns from validation images, and none are kept; use `validation_fraction` above 0"
            )


def check_machine(config: TrainingConfig) -> None:
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
    """Build every piece of a method and let it see these classes, with made-up values in place of a network's."""
    generator = np.random.default_rng(0)
    labels, counts = splits.train.labels, splits.train.class_counts(len(splits.classes))
    for place, piece in method.places.items():
        built = piece.build(class_counts=counts, class_names=splits.classes, epochs=epochs, random_state=0)
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


def file_hash(path: Path | None) -> str | None:
    """Return the SHA-256 of a file, or None without one.

    Raises
    ------
    InputError
        If it cannot be read.
    """
    if path is None:
        return None
    try:
        with path.open("rb") as file:
            digest = hashlib.sha256()
            while block := file.read(1 << 20):
                digest.update(block)
            return digest.hexdigest()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error


def describe_imbalance(profile: dict[str, Any]) -> str:
    """Return a profile in a few words.

    Examples
    --------
    >>> describe_imbalance({"profile": "step", "ratio": 20.0})
    'step imbalance, ratio 20'
    """
    ratio = profile.get("ratio")
    return f"{profile['profile']} imbalance" + (f", ratio {ratio:g}" if ratio else "")
