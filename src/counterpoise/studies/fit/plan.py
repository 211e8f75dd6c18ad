"""Plan of a fit: the size of the images, the candidates, and how long each part may take."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np

from counterpoise.config import (
    FitConfig,
    ModelConfig,
    RunSettings,
    SplitConfig,
    TrainConfig,
    TrainOptions,
    fine_tuning_config,
    steps_of,
)
from counterpoise.datasets import (
    Grouping,
    ImageDataset,
    decode_batch,
    group_images,
    load_dataset,
    resize_dataset,
)
from counterpoise.exceptions import InputError
from counterpoise.files import content_hash
from counterpoise.methods import Method, get_method, parse_methods
from counterpoise.networks import EnsembleNetwork, find_pretrained
from counterpoise.report import duration
from counterpoise.runs import RunFolder, comparison_identity
from counterpoise.training import (
    Budget,
    RunPlan,
    cpu_count,
    cpu_threads,
    embed_images,
    find_device,
    make_network,
    prepare_run,
    reused_memory,
)

#: Heights and widths, in pixels, that the time allows or not, from the best one.
SIZES = (224, 192, 160, 128, 96)
#: Images of each class on which settings are tried; images of a timing: several batches for each core, and of reading.
PROBED, TIMED, TIMED_READING = 20, 64, 20
#: Shares of the budget that embedding all images, and timing it at the largest size, may take.
EMBEDDING_SHARE, TIMING_SHARE = 0.3, 0.05
#: An image of training costs as much time as so many embedded ones.
TRAINING_FACTOR = 6.0
#: Images are not enlarged by more than this factor: beyond it, pixels are only repeated.
ENLARGEMENT = 4.0
FOLDS = 5
FINE_TUNED, SCRATCH, AVERAGE, REFITTED = "fine-tuned", "from-scratch", "average", "refitted-head"
"""Names of the candidates beside the heads: networks, and a head on the features of the fine-tuned one."""

#: Fine-tuning ends after so many epochs even if time is left.
MOST_EPOCHS = 8
#: Fine-tuning for less than this share of an epoch changes too little to be worth the time.
FEWEST_EPOCHS = 1.0
#: Method of the network from scratch, and the least epochs and steps of its stages, the first if the time allows them.
FROM_SCRATCH = "counterpoise"
SCRATCH_EPOCHS, SCRATCH_STEPS, SCRATCH_HEAD_EPOCHS, SCRATCH_HEAD_STEPS = 20, 3000, 5, 2500
#: Head that is fitted to the features of the fine-tuned network: the simplest one.
SIMPLEST = "logit-adjusted"


@dataclass(frozen=True, kw_only=True)
class FitPlan:
    """Candidates on one split of a dataset.

    `template` is the plan of the first head on frozen features; `heads` are the methods whose heads are compared, and
    `tune` tells whether networks are trained, too. `images_per_second` is the measured speed of embedding, and
    `notes` are the decisions made for the user, in words. `scratch` is the plan of a small network from scratch on the
    images `small`, which are not enlarged; None for photographs. `key_seconds` are those of reading a training image
    once more, for the key of its pixels. `metric` chooses the candidate and its tau, and is no part of the identity.
    """

    template: RunPlan
    heads: tuple[Method, ...]
    tune: bool
    budget_seconds: float
    images_per_second: float
    notes: tuple[str, ...] = ()
    grouping: Grouping = field(default_factory=Grouping)
    command: str = ""
    scratch: RunPlan | None = None
    small: ImageDataset | None = field(default=None, repr=False)
    key_seconds: float = 0.0
    metric: Literal["f1", "gmean"] | None = None

    @property
    def networks(self) -> dict[str, RunPlan]:
        """Plans of the candidates beside the heads, by name."""
        scratch = {} if self.scratch is None else {SCRATCH: self.scratch}
        tuned = {FINE_TUNED: self.tuned_plan, AVERAGE: self.averaged_plan, REFITTED: self.refitted_plan}
        return scratch | tuned if self.tune else {}

    @property
    def config(self) -> TrainConfig:
        """Settings of the heads' training."""
        return self.template.config

    @property
    def identity(self) -> str:
        """Hash of what all candidates share; candidates and time may be added later."""
        return content_hash(["fit", comparison_identity(**self.template.shared_identity())])

    def head_plan(self, method: Method) -> RunPlan:
        """Return the plan of a head on frozen features."""
        return replace(self.template, method=method.label)

    @property
    def tuned_plan(self) -> RunPlan:
        """Plan of the fine-tuned network; it starts from the best head, so it also depends on which one that is."""
        config = fine_tuning_config(
            seed=self.config.seed,
            threads=self.config.threads,
            device=self.config.device,
            epochs=MOST_EPOCHS,
            select="last",
            max_time=self.budget_seconds,
        )
        return replace(self.template, method=FINE_TUNED, freeze=None, config=config)

    @property
    def averaged_plan(self) -> RunPlan:
        """Plan of the average of the best head on frozen features and the fine-tuned network."""
        return replace(self.tuned_plan, network=EnsembleNetwork.NAME)

    @property
    def refitted_plan(self) -> RunPlan:
        """Plan of the head on the features of the fine-tuned network, whose settings make it another one."""
        return replace(self.tuned_plan, method=SIMPLEST, freeze="all")


def load_for_fit(config: FitConfig) -> ImageDataset:
    """Load a dataset without decoding its files, since the size of the images is chosen later."""
    from counterpoise.datasets import DATASETS

    data = config.data
    if data.source is None:
        raise InputError("`source` is missing; give a dataset: a name, a folder, a zip or a CSV")
    return load_dataset(
        data.source,
        in_memory="auto" if data.source in DATASETS else False,
        **data.model_dump(exclude={"source", "duplicates"}),
    )


def make_fit_plan(
    dataset: ImageDataset, config: FitConfig, budget: Budget, *, command: str = "", folder: Path | None = None
) -> tuple[ImageDataset, FitPlan]:
    """Resolve the settings of a fit, time a few images, and return the dataset at the chosen size with the plan.

    Where `folder` holds heads, their size is kept: the machine may be faster or slower now. InputError refuses what
    cannot work before anything is written.
    """
    if config.pretrained == "none":
        raise InputError(
            "`pretrained` none: heads are compared on pretrained features, and there would be none; leave `pretrained` "
            "out, or train one network from scratch"
        )
    heads = tuple(parse_methods(config.methods))
    # A model must not be judged on copies of what it learned.
    wanted, search_seconds = config.data.duplicates or "group", 0.0
    if wanted != dataset.grouping.duplicates:
        few = _evenly(dataset, TIMED_READING)
        search_seconds = _seconds_each(len(few.train), lambda: group_images(few, duplicates="group"))
        dataset = group_images(dataset, duplicates=wanted)
    fixed = config.data.image_size or _used_size(folder)
    sizes = [fixed] if fixed else _sizes(dataset)
    size, rate = _size_and_speed(dataset, config, heads, sizes)
    resized = resize_dataset(dataset, (size, size))
    read, key_seconds = _evenly(resized, TIMED_READING).train, 0.0
    if not read.in_memory:  # else the content is the pixels
        key_seconds = _seconds_each(len(read), lambda: decode_batch(read.images, range(len(read))))
    reading = (search_seconds * dataset.total, key_seconds * len(dataset.train))
    prepared = prepare_run(resized, _settings(resized, config), list(heads), threads=cpu_count())
    scratch = _scratch_plan(dataset, config)
    plan = FitPlan(
        template=replace(prepared.plan, asked=config.model_dump(mode="json")),
        heads=heads,
        tune=config.tune,
        budget_seconds=config.budget,
        images_per_second=rate,
        notes=(*prepared.notes, *_forecast(resized, len(heads), config, rate, reading)),
        grouping=prepared.grouping,
        command=command,
        scratch=scratch,
        small=None if scratch is None else dataset,
        key_seconds=key_seconds,
        metric=config.metric,
    )
    return resized, plan


def _used_size(folder: Path | None) -> int | None:
    """Return the size of the images of the heads in the folder of a fit, or None."""
    runs = [] if folder is None else [RunFolder(path) for path in sorted((folder / "runs").glob("*"))]
    frozen = [run.record for run in runs if run.is_complete() and run.record.start.freeze == "all"]
    return frozen[0].network.image_size[0] if frozen else None


def _sizes(dataset: ImageDataset) -> list[int]:
    """Return the sizes to choose from: those to which the images need not be enlarged too much, and the smallest."""
    most = ENLARGEMENT * max(dataset.image_size)
    return [size for size in SIZES if size <= most] or [SIZES[-1]]


def _few(dataset: ImageDataset) -> ImageDataset:
    """Return a dataset of a few training images per class, on which settings are tried."""
    rows = [np.flatnonzero(dataset.train.labels == c)[:PROBED] for c in range(dataset.num_classes)]
    return replace(
        dataset, train=dataset.train.subset(np.sort(np.concatenate(rows))), validation=None, test=None
    )


def _evenly(dataset: ImageDataset, count: int) -> ImageDataset:
    """Return a dataset of training images at even distances."""
    rows = np.linspace(0, len(dataset.train) - 1, min(count, len(dataset.train))).astype(int)
    return replace(dataset, train=dataset.train.subset(rows), validation=None, test=None)


def _seconds_each(images: int, work: Callable[[], object]) -> float:
    """Return the seconds per image of work on a few images, done twice, since the first time includes starting up."""
    for _ in range(2):
        started = time.perf_counter()
        work()
    return max(time.perf_counter() - started, 1e-6) / images


def _settings(dataset: ImageDataset, config: FitConfig) -> RunSettings:
    split = SplitConfig(
        # The heads need every image: they are compared by cross-validation.
        validation_fraction=0.0 if dataset.validation is None else None,
        test_fraction=config.test_fraction if dataset.test is None else None,
        minority_ratio=config.minority_ratio,
    )
    model = ModelConfig(backbone=config.backbone, pretrained=config.pretrained, freeze="all")
    train = TrainOptions(seed=config.seed, device=config.device, threads=config.threads, epochs=5)
    return RunSettings(data=config.data, split=split, model=model, train=train)


def _scratch_plan(dataset: ImageDataset, config: FitConfig) -> RunPlan | None:
    """Return the plan of a small network from scratch; None for photographs, and where only heads are wanted."""
    pretrained = find_pretrained("auto", None, channels=dataset.channels, image_size=dataset.image_size)
    if not config.tune or pretrained.file is not None:
        return None
    settings = _settings(dataset, config)
    steps = steps_of(len(dataset.train), settings.train)
    changes = {
        "epochs": max(SCRATCH_EPOCHS, math.ceil(SCRATCH_STEPS / steps)),
        "head_epochs": max(SCRATCH_HEAD_EPOCHS, math.ceil(SCRATCH_HEAD_STEPS / steps)),
        "max_time": config.budget,
        # A network for grayscale thumbnails has short products: threads would wait for each other.
        "threads": config.threads or (1 if dataset.channels == 1 else None),
    }
    own = {"model": ModelConfig(pretrained="none"), "train": settings.train.model_copy(update=changes)}
    methods, settings = [get_method(FROM_SCRATCH)], settings.model_copy(update=own)
    return prepare_run(dataset, settings, methods, threads=cpu_count()).plan


def _size_and_speed(
    dataset: ImageDataset, config: FitConfig, heads: Sequence[Method], sizes: Sequence[int]
) -> tuple[int, float]:
    """Return the first of the sizes at which embedding leaves time for the rest, or the last, and its images a second.

    An image costs as much for its reading, and the rest by its area: so the smallest and the largest size are timed.
    """
    total, large, small = dataset.total, sizes[0], sizes[-1]
    least = 1 / _images_per_second(dataset, config, heads, small)
    most = least * (large / small) ** 2  # as if reading took no time
    if large > small and 2 * TIMED * most <= TIMING_SHARE * config.budget:
        most = min(most, 1 / _images_per_second(dataset, config, heads, large))
    for size in sizes:
        added = (size**2 - small**2) / (large**2 - small**2) if size > small else 0.0
        seconds = least + added * (most - least)
        if total * seconds <= EMBEDDING_SHARE * config.budget:
            break
    return size, 1 / seconds


def _images_per_second(dataset: ImageDataset, config: FitConfig, heads: Sequence[Method], size: int) -> float:
    """Return the speed of decoding and embedding a few images of this size."""
    few = resize_dataset(_few(dataset), (size, size))
    plan = prepare_run(few, _settings(few, config), list(heads), threads=cpu_count()).plan
    network, part = make_network(plan, few), _evenly(few, TIMED).train
    device = find_device(plan.config.device)
    with cpu_threads(cpu_count()), reused_memory():
        return 1 / _seconds_each(len(part), lambda: embed_images(network, part, device=device))


def _forecast(
    dataset: ImageDataset, heads: int, config: FitConfig, rate: float, reading: tuple[float, float]
) -> list[str]:
    """Return what will be done, in words; `reading` are the seconds of comparing images, and of their keys."""
    total, side, budget = dataset.total, dataset.image_size[0], config.budget
    allowed, least = duration(budget), total / rate / EMBEDDING_SHARE
    lines = [
        f"{total:,} images at {side}x{side} pixels: embedding them takes about {duration(total / rate)} "
        f"({rate:,.0f} images a second, measured); then {heads} heads are compared by cross-validation"
    ]
    if sum(reading) >= 1:
        search, keys = (duration(seconds) for seconds in reading)
        lines.append(f"looking for near-duplicates takes about {search}, keys of the pixels {keys}")
    if config.tune:
        lines.append(f"what remains of {allowed} goes into fine-tuning, which is kept if it helps")
    if least > budget:
        lines.append(
            f"{allowed} is short for so many images, and the first head may take longer than that; give a `budget` of "
            f"{duration(least)} or more"
        )
    return lines
