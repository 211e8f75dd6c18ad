"""Methods times repeats on one dataset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from counterpoise.config.train import TrainConfig, make_config
from counterpoise.datasets import ImageDataset
from counterpoise.evaluation import choosing_metric
from counterpoise.exceptions import InputError
from counterpoise.files import (
    file_hash,
)
from counterpoise.methods import Method
from counterpoise.networks import default_network_name
from counterpoise.runs.identity import (
    comparison_identity,
)
from counterpoise.training import RunPlan, SplitPlan, refuse_pixel_methods
from counterpoise.training.initialization import (
    body_parameters,
    check_freeze,
    check_unseen,
    choose_freeze,
    find_weights,
    read_freeze,
)
from counterpoise.training.preparation import _check_method, check_machine, make_network, read_split_plan


def make_grid(
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
) -> RunGrid:
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
        Fields of `TrainConfig`.

    Returns
    -------
    RunGrid

    Raises
    ------
    InputError
        If an option is refused.
    """
    choosing_metric(metric)
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
    study = RunGrid(
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


def _with_freeze(study: RunGrid, dataset: ImageDataset, freeze: int | str | None) -> RunGrid:
    """Return the study with what is to be frozen, and the reason where that is decided here."""
    if freeze == "auto":
        images = len(study.split.splits(dataset, study.config.seed).train)
        freeze, reason = choose_freeze(body_parameters(study.network, dataset), images)
        study = replace(study, notes=(*study.notes, reason))
    if study.cache is not None and freeze != "all":
        raise InputError("`cache` keeps the embeddings of a network frozen whole; give `freeze` all with it")
    return replace(study, freeze=freeze)


def check_grid(study: RunGrid, dataset: ImageDataset) -> None:
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


@dataclass(frozen=True, kw_only=True)
class RunGrid:
    """Several methods on several draws of one data set.

    Attributes
    ----------
    source : str
        The data set as the user named it.
    split : SplitPlan
        How it is split and thinned.
    methods : tuple of Method
        What is compared.
    draws : tuple of int
        Which draws; draw d has the seed ``config.seed + d`` for its split and its training.
    network : str
        The network's name.
    config : TrainConfig
        All settings of the training.
    metric : str
        What the winner is chosen by, on the validation images.
    weights : str or None
        File of pretrained weights.
    weights_hash : str or None
        Its content hash.
    new_head, freeze, cache
        As in `RunPlan`.
    notes : tuple of str
        What was decided for the user, in words.
    command : str
        The command line, for the record.
    """

    source: str
    split: SplitPlan
    methods: tuple[Method, ...]
    draws: tuple[int, ...]
    network: str
    config: TrainConfig
    metric: str = "gmean"
    weights: str | None = None
    weights_hash: str | None = None
    new_head: bool = False
    freeze: int | str | None = None
    cache: str | None = None
    notes: tuple[str, ...] = ()
    command: str = ""

    def plans(self, dataset: ImageDataset) -> list[RunPlan]:
        """Return every run of the study, draw by draw."""
        template = RunPlan(
            source=self.source,
            fingerprint=dataset.fingerprint,
            image_size=dataset.image_size,
            split=self.split,
            draw=0,
            method=self.methods[0].label,
            network=self.network,
            config=self.config,
            weights=self.weights,
            weights_hash=self.weights_hash,
            new_head=self.new_head,
            freeze=self.freeze,
            cache=self.cache,
        )
        return [
            replace(
                template,
                draw=draw,
                method=method.label,
                config=self.config.model_copy(update={"seed": self.config.seed + draw}),
            )
            for draw in self.draws
            for method in self.methods
        ]

    def identity(self, dataset: ImageDataset) -> str:
        """Hash of what all runs of a study share; methods and draws may be added to a study later."""
        return comparison_identity(**self.plans(dataset)[0].shared_identity())
