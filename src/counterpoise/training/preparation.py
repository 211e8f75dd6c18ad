"""Preparation of a run: resolve settings to a plan, and refuse what cannot work before anything is written."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from counterpoise.balance.samplers import epoch_indices
from counterpoise.config import RunSettings, SplitConfig, TrainConfig, steps_of
from counterpoise.datasets import (
    Grouping,
    ImageDataset,
    SplitManifest,
    create_profile,
    describe_grouping,
    tiny_classes,
)
from counterpoise.evaluation import absent_classes
from counterpoise.exceptions import CounterpoiseError, InputError, UnknownNameError
from counterpoise.files import content_hash
from counterpoise.methods import Method
from counterpoise.training.fit import check_epochs_compare, refuse_pixel_methods
from counterpoise.training.initialization import (
    default_freeze,
    find_weights,
    loaded_parts,
    make_network,
    resolve_features,
    resolve_freeze,
)
from counterpoise.training.machine import make_fabric
from counterpoise.training.plan import RunPlan, SplitPlan
from counterpoise.training.seen import check_unseen, run_of_weights

#: A run of fewer optimizer steps is said to be too short.
TOO_FEW_STEPS = 20

Methods = Sequence[Method] | Callable[[SplitManifest], Sequence[Method]]


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """A run that can start.

    `plan` is that of the first of `methods` on the first repeat, whose split is `manifest`. `notes` are decisions made
    for the user, in words; `grouping` tells which images stay together.
    """

    plan: RunPlan
    methods: tuple[Method, ...]
    manifest: SplitManifest
    notes: tuple[str, ...]
    grouping: Grouping


def prepare_run(
    dataset: ImageDataset,
    settings: RunSettings,
    methods: Methods,
    *,
    repeats: int = 1,
    threads: int = 1,
    also: Sequence[Method] = (),
) -> Preparation:
    """Resolve settings on a dataset; whatever cannot work is refused here, and nothing is written.

    Parameters
    ----------
    methods : sequence of Method, or callable
        Methods to run, or a function that chooses them by the split of the first repeat.
    repeats : int
        Number of repeats; repeat r has the seed ``seed + r``.
    threads : int
        CPU threads of a run, if the settings leave them open.
    also : sequence of Method
        Further methods that must work on the dataset.

    Raises
    ------
    InputError
        If the dataset cannot be split so, or a method, a network, weights or a setting is refused.
    """
    split = resolve_split(settings.split, dataset)
    manifest = split.splits(dataset, settings.train.seed)
    config = settings.train.resolved(threads=threads, images=len(manifest.train))
    chosen = tuple(methods(manifest) if callable(methods) else methods)
    _check_head(config, chosen)
    pretrained, run = find_weights(settings.model, dataset)
    plan = RunPlan(
        source=settings.data.source or dataset.name,
        fingerprint=dataset.fingerprint,
        contents=dataset.contents,
        image_size=dataset.image_size,
        fit=dataset.fit,
        split=split,
        draw=0,
        method=chosen[0].label,
        network=pretrained.backbone,
        config=config,
        weights=None if pretrained.file is None else str(pretrained.file),
        weights_hash=pretrained.sha256,
        new_head=run is not None and list(run.record.dataset.classes) != list(dataset.classes),
        cache=None if settings.model.cache is None else str(settings.model.cache),
        origin=pretrained.origin,
        license=pretrained.license,
        adapter=None if settings.model.adapter == "none" else settings.model.adapter,
        asked=settings.model_dump(mode="json"),
    )
    trained = run or run_of_weights(plan.weights)
    manifests = (split.splits(dataset, config.seed + repeat) for repeat in range(repeats))
    leak = None if trained is None else check_unseen(trained, dataset, manifests)
    asked, default = default_freeze(settings.model.freeze, plan, (*chosen, *also))
    frozen = resolve_freeze(asked, plan, dataset)
    # The head first: gradients through a random head would spoil published weights. Under adapters they are frozen.
    head_first = frozen not in ("all", "auto") and plan.origin is not None and plan.adapter is None
    features = resolve_features(settings.model.features, frozen, plan.network, head_first=head_first)
    config = settings.train.resolved(
        threads=threads,
        images=len(manifest.train),
        fine_tuned=head_first or frozen == "auto",
        validated=len(manifest.validation) > 0,
    )
    options = {} if run is None else run.record.network.options
    if options.get("standardize"):
        features = features or options.get("features", "last")
    if plan.cache is not None and not replace(plan, freeze=frozen, features=features).embeds:
        raise InputError("`cache` keeps the embeddings of a network frozen whole; give `freeze` all with it")
    plan = replace(plan, freeze=frozen, features=features, config=config)
    make_fabric(config)
    for part in dataset.splits.values():
        part.content_keys()  # once for all runs
    splits = manifest.apply(dataset)
    grouping = describe_grouping(dataset, splits)
    check_epochs_compare(config, splits.validation)
    if frozen == "all" and config.layer_decay not in (None, 1):
        raise InputError("`layer_decay` has no effect on a network frozen whole; leave it out")
    for method in (*chosen, *also) if frozen in ("all", "auto") else ():
        refuse_pixel_methods(method)
    make_network(plan, splits)
    for method in (*chosen, *also):
        _check_method(method, splits, config.epochs)
    head = None if run is None else loaded_parts(run, plan)
    short = None if frozen == "all" else _short_training(len(manifest.train), config)
    if frozen == "auto" and not splits.validation:
        default = "frozen: there are no validation images by which `freeze` auto could choose"
    absent = absent_classes(manifest.counts, dataset.classes)
    tiny = tiny_classes(dataset.classes, dataset.train.class_counts(dataset.num_classes).tolist())
    said = (tiny, pretrained.note, head, short, default, leak)
    notes = (*absent, *grouping.notes, *(note for note in said if note is not None))
    return Preparation(plan=plan, methods=chosen, manifest=manifest, notes=notes, grouping=grouping)


def _short_training(images: int, config: TrainConfig) -> str | None:
    steps = config.epochs * steps_of(images, config)
    if steps >= TOO_FEW_STEPS:
        return None
    are = "step of training is" if steps == 1 else "steps of training are"
    return f"{steps} {are} too few to learn from; raise `epochs` or lower `batch_size`"


def resolve_split(split: SplitConfig, dataset: ImageDataset) -> SplitPlan:
    """Return how `dataset` is to be split; `InputError` if a setting does not fit it or the other settings."""
    own = ("validation_fraction", "test_fraction", "minority_ratio")
    given: dict[str, Any] = {name: value for name in own if (value := getattr(split, name)) is not None}
    groups = None if dataset.train.groups is None else content_hash(dataset.train.groups.tolist())
    if split.split_file is not None:
        if split != SplitConfig(split_file=split.split_file):
            raise InputError(
                "`split_file` gives the whole split; leave out `imbalance`, `ratio`, `minority`, `balanced`, "
                "`minority_ratio`, `validation_fraction` and `test_fraction`"
            )
        saved = SplitManifest.load(split.split_file)
        return SplitPlan(manifest=str(split.split_file), manifest_hash=saved.hash, groups=groups)
    for name in ("validation", "test"):
        if f"{name}_fraction" in given and getattr(dataset, name) is not None:
            raise InputError(
                f"`{name}_fraction`: {dataset.name} has {name} images of its own; leave `{name}_fraction` out"
            )
    classes = None if split.minority is None else read_minority(split.minority, dataset.classes)
    profile = create_profile(split.imbalance, ratio=split.ratio, minority=classes, balanced=split.balanced)
    if split.minority is not None and split.minority_ratio is not None:
        raise InputError("`minority` says which classes are rare; leave `minority_ratio` out")
    return SplitPlan(profile=profile.to_dict(), groups=groups, **given)


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


def _check_head(config: TrainConfig, methods: Sequence[Method]) -> None:
    if any(method.trains_head for method in methods):
        return
    for name in ("head_epochs", "head_batch_size"):
        if getattr(config, name) != TrainConfig.model_fields[name].default:
            names = ", ".join(method.label for method in methods)
            raise InputError(f"`{name}`: {names} train no separate head; leave it out")


def _check_method(method: Method, splits: ImageDataset, epochs: int) -> None:
    """Build every component of a method and fit it to these classes, with made-up values in place of a network's."""
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
    if method.adjust is not None and not splits.validation and method.adjust.build().needs_logits:
        raise InputError(
            f"{method.label} learns from validation images, and none are kept; use `validation_fraction` above 0"
        )
