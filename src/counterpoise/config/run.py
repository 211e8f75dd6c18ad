"""Settings of one run: images, split, network and training."""

import math
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, ConfigDict, model_validator

from counterpoise.config.base import Config, option, validated
from counterpoise.config.durations import Duration
from counterpoise.config.schedules import SCHEDULES

Fit = Literal["stretch", "pad", "crop"]
"""Treatment of images of another shape, as `counterpoise.datasets` names it."""
DATA, SPLIT, MACHINE = "Data", "Split and imbalance", "Machine"

_SOURCE = (
    "Dataset: a built-in name (see `counterpoise datasets`), a folder of class folders, a zip of one, or a CSV or "
    "parquet table with path,label[,split]."
)
SOURCE = option(None, _SOURCE, metavar="DATA", positional=True)
DATA_DIR = option(
    None, "Folder of the built-in datasets.", panel=DATA, shown="$COUNTERPOISE_DATA, or ~/.cache/counterpoise"
)
_GROUP = (
    "Images that stay on one side of every split: a column of the CSV, a regular expression whose one capture group "
    "names the group in a file's path, such as '(.*)_[0-9]+', sequence (runs of look-alikes), or auto (as audit finds)."
)
GROUP = option(None, _GROUP, metavar="COLUMN|REGEX", panel=DATA)
STRICT = option(False, "Stop at unreadable images instead of skipping them.", panel=DATA)
_MINORITY = "A class with at most 1/R of the images of the largest class is a minority class."
MINORITY_RATIO = option(None, _MINORITY, metavar="R", panel=SPLIT, shown="2")
_TEST = "Share of the images held out as test set, for datasets without one; 0: no test set."
TEST_FRACTION = option(None, _TEST, metavar="SHARE", panel=SPLIT, renamed=("test",), shown="0.2")


def _with_commas(value: Any) -> Any:
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else value


Names = Annotated[str, BeforeValidator(_with_commas)]


class DataConfig(Config):
    """Where the images are and how they are read."""

    model_config = ConfigDict(title=DATA)

    source: str | None = SOURCE
    data_dir: Path | None = DATA_DIR
    image_size: int | None = option(
        None, metavar="PIXELS", aliases=("img-size",), shown="chosen from the images"
    )
    """Height and width that images are resized to."""
    fit: Fit = option("stretch", metavar="HOW")
    """Images of another shape: stretch them, pad them with black, or crop them, which loses their edges."""
    strict: bool = STRICT
    group: str | None = GROUP
    duplicates: Literal["keep", "group", "drop"] | None = option(
        None, metavar="HOW", shown="group for fit, else keep"
    )
    """Copies of a picture, also resized, recompressed, rotated or flipped: keep them, group them (on one side of every
    split), or drop all but one.
    """
    exclude: Names | None = option(None, metavar="CLASS,...")
    """Classes to leave out."""
    merge: tuple[str, ...] = option((), metavar="A+B=NAME")
    """Classes to make one, and its name; may be given several times."""
    path_column: str | None = option(None, metavar="NAME", shown="path, filename, image or alike")
    """Column of the table with the paths of the images."""
    label_column: str | None = option(None, metavar="NAME", shown="label, class, category or alike")
    """Column of the table with the classes."""


class SplitConfig(Config):
    """How a dataset is split and thinned."""

    model_config = ConfigDict(title=SPLIT)

    imbalance: str = option("natural")
    """Profile that thins the training set: natural (none), step, linear or long-tail."""
    ratio: float | None = option(None, metavar="R")
    """Imbalance ratio of the thinned training set: largest class over smallest."""
    minority: str | None = option(None, metavar="WHICH")
    """Minority classes of step imbalance: their number (4), their share (0.4), or their names (cat,dog)."""
    balanced: bool = option(False)
    """Cut all classes to the size of the smallest before they are thinned, and round sizes to the nearest number."""
    minority_ratio: float | None = MINORITY_RATIO
    validation_fraction: float | None = option(
        None, metavar="SHARE", flag="val-fraction", renamed=("validation",), shown="0.1"
    )
    """Share of the training images held out as validation set."""
    test_fraction: float | None = TEST_FRACTION
    split_file: Path | None = option(None, metavar="FILE", renamed=("split",))
    """Use the split of another run: its manifest.json."""


class ModelConfig(Config):
    """The network, and the weights that it starts from."""

    model_config = ConfigDict(title="Network")

    backbone: str | None = option(None, shown="chosen by image size")
    """Network: lenet, convnet, tinynet, resnet32, vgg16, or any timm name."""
    pretrained: str | None = option(None, metavar="auto|none|hub|NAME.TAG|FILE", shown="auto")
    """Published weights to start from: auto (for photographs, unless `backbone` names another network), none, hub (of
    the `backbone`, downloaded once), weights of timm by name and tag (see `counterpoise backbones`), or a file.
    """
    weights: Path | None = option(None, metavar="RUN|FILE")
    """Own weights to start from: another run, or a file (safetensors, or a PyTorch state dict)."""
    freeze: str | None = option(None, metavar="N|all|none|auto")
    """Layers of the pretrained network that stay frozen: the first N, all (everything below the head; each image is
    then embedded once), none, or auto (all or none, whichever the validation images prefer; takes the time of both).
    """
    features: Literal["last", "multi"] | None = option(None, shown="multi, where the network has stages")
    """Features of a network frozen whole: its last layer, or multi (also the means and maxima of earlier stages)."""
    adapter: Literal["none", "lora", "adaptformer"] = option("none", metavar="KIND")
    """Few new parameters in each block of a pretrained vision transformer, which itself stays frozen: none, lora or
    adaptformer.
    """
    cache: Path | None = option(None, shown="OUT/cache")
    """Folder in which `freeze` all caches embeddings, shared by several runs."""


def _known_schedule(name: str | None) -> str | None:
    return None if name is None else SCHEDULES.get(name).name


Device = Literal["auto", "cpu", "cuda"]
Schedule = Annotated[str | None, AfterValidator(_known_schedule)]
DEVICE = option("auto", "Device: auto (the GPU if there is one), cpu or cuda.", panel=MACHINE)


FEWEST_EPOCHS, FEWEST_STEPS = 5, 500
Optimizer = Literal["adam", "adamw", "sgd"]
BatchNorm = Literal["train", "keep"]
Select = Literal["last", "best"]
#: Settings of a training from scratch that are left open, and those of `fine_tuning_config`.
FROM_SCRATCH: dict[str, Any] = {"lr": 1e-3, "optimizer": "adam", "batch_norm": "train", "select": "last"}
FINE_TUNING_SETTINGS: dict[str, Any] = {
    "epochs": 5,
    "batch_size": 32,
    "lr": 1.5e-4,
    "optimizer": "adamw",
    "weight_decay": 0.01,
    "schedule": "one-cycle",
    "ema": 0.99,
    "clip": 1.0,
    "batch_norm": "keep",
    "select": "best",
}
#: Settings that only a method's own network follows.
FINE_TUNING = (
    "steps",
    "ema",
    "layer_decay",
    "clip",
    "accumulate",
    "select",
    "patience",
    "max_time",
    "batch_norm",
)


_FINE_TUNED = {
    name: FINE_TUNING_SETTINGS[name]
    for name in ("lr", "optimizer", "batch_norm", "select", "schedule", "ema", "clip")
}


def epochs_field(default: int | None) -> Any:
    """Return the field of the number of epochs; None: chosen by the number of images."""
    shown = f"{FEWEST_EPOCHS}, or as many as `steps` needs" if default is None else None
    return option(default, "Passes over the training images.", shown=shown, ge=1)


def schedule_field(default: str | None) -> Any:
    """Return the field of the schedule."""
    text = f"Learning-rate schedule: {', '.join(SCHEDULES.names)}."
    shown = "the method's own, mostly constant" if default is None else None
    return option(default, text, aliases=("sched",), shown=shown)


def _threads(default: int | None) -> Any:
    text = "CPU threads of a run; results depend on it, since floating-point sums do."
    return option(default, text, panel=MACHINE, shown="train: all cores; studies: 1", ge=1)


def _rate(default: float | None) -> Any:
    text = "Learning rate; the largest one of a schedule."
    shown = None if default else f"{FROM_SCRATCH['lr']}; {FINE_TUNING_SETTINGS['lr']} for published weights"
    return option(default, text, metavar="RATE", shown=shown, gt=0, allow_inf_nan=False)


def _optimizer(default: str | None) -> Any:
    text = "Optimizer: adam, adamw or sgd (with momentum 0.9)."
    shown = None if default else "adam; adamw for published weights"
    return option(default, text, aliases=("opt",), shown=shown)


def _batch_norm(default: str | None) -> Any:
    text = "Statistics of batch norm: train (learned on) or keep (those of the pretrained weights)."
    return option(default, text, shown=None if default else "train; keep for published weights")


def _select(default: str | None) -> Any:
    text = "Epoch whose weights are saved: last, or best (lowest mean log loss of the classes on the validation set)."
    return option(default, text, shown=None if default else "last; best for published weights")


class TrainOptions(Config):
    """Training settings as asked for: what depends on images, weights and machine may be left open."""

    model_config = ConfigDict(title="Training")

    epochs: int | None = epochs_field(None)
    steps: int | None = option(None, shown=str(FEWEST_STEPS), ge=1)
    """Least number of optimizer steps, where `epochs` is left open."""
    batch_size: int = option(64, "Images per step.", ge=2)
    lr: float | None = _rate(None)
    optimizer: Optimizer | None = _optimizer(None)
    weight_decay: float = option(0.0, "Weight decay, as the optimizer defines it.", ge=0, allow_inf_nan=False)
    schedule: Schedule = schedule_field(None)
    ema: float | None = option(None, metavar="DECAY", shown="off", ge=0, lt=1)
    """Decay of a moving average of the weights, such as 0.99, which is evaluated and saved in their place."""
    layer_decay: float | None = option(None, metavar="FACTOR", shown="off", gt=0, le=1)
    """Factor on the learning rate from each layer to the one below it, such as 0.75."""
    clip: float | None = option(None, metavar="NORM", shown="off", gt=0, allow_inf_nan=False)
    """Largest norm of the gradient, to which longer ones are cut."""
    accumulate: int = option(1, "Batches whose gradients are added up for one step.", ge=1)
    batch_norm: BatchNorm | None = _batch_norm(None)
    select: Select | None = _select(None)
    patience: int | None = option(None, metavar="EPOCHS", shown="off", ge=1)
    """Stop after so many epochs without a better one on the validation set."""
    max_time: Duration | None = option(None, metavar="TIME", shown="no limit")
    """Time for training the network, such as 90s or 10m; the learning rate still falls to its end."""
    head_epochs: int | None = option(None, shown="as `epochs`", ge=1)
    """Epochs of a head that is trained in a stage of its own."""
    head_batch_size: int = option(64, "Embeddings per step of that stage.", ge=1)
    penalty: float | None = option(None, metavar="X", shown="by cross-validation", gt=0, allow_inf_nan=False)
    """L2 penalty of a head that is trained to convergence on frozen features."""
    seed: int = option(0, "Random seed.", ge=0)
    device: Device = DEVICE
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = option("32-true", panel=MACHINE)
    """Precision: 32-true, bf16-mixed or 16-mixed."""
    threads: int | None = _threads(None)
    workers: int = option(0, "Processes that decode images that do not fit in memory.", panel=MACHINE, ge=0)

    @model_validator(mode="after")
    def _refuse_steps_of_given_epochs(self) -> "TrainOptions":
        if self.steps is not None and self.epochs is not None:
            raise ValueError("`steps` chooses the number of epochs; leave out `steps` or `epochs`")
        return self

    def resolved(
        self, *, threads: int = 1, images: int | None = None, fine_tuned: bool = False, validated: bool = True
    ) -> "TrainConfig":
        """Return the settings with what the user left open, for so many training `images`.

        `fine_tuned` tells whether published weights are trained further, which takes smaller steps than training from
        scratch, and `validated` whether there are validation images to choose an epoch by.
        """
        values = self.model_dump() | {"threads": self.threads or threads, "steps": None}
        defaults = _FINE_TUNED if fine_tuned else FROM_SCRATCH
        values |= {name: value for name, value in defaults.items() if values[name] is None}
        if self.select is None and not validated:
            values["select"] = "last"
        if self.epochs is None:
            steps = self.steps or (0 if fine_tuned else FEWEST_STEPS)
            least = 0 if not images else math.ceil(steps / steps_of(images, self))
            values["epochs"] = max(FEWEST_EPOCHS, least)
        return TrainConfig(**values)


class TrainConfig(TrainOptions):
    """The settings of one training run.

    Two runs with the same configuration, data and machine give the same numbers, bit for bit on a CPU, unless
    `max_time` ends them. `threads` is part of the configuration because floating-point sums depend on how they are
    split over threads.

    Examples
    --------
    >>> TrainConfig(epochs=3).lr
    0.001
    """

    unused = ("steps",)

    epochs: int = epochs_field(FEWEST_EPOCHS)
    lr: float = _rate(FROM_SCRATCH["lr"])
    optimizer: Optimizer = _optimizer(FROM_SCRATCH["optimizer"])
    batch_norm: BatchNorm = _batch_norm(FROM_SCRATCH["batch_norm"])
    select: Select = _select(FROM_SCRATCH["select"])
    threads: int = _threads(1)

    @property
    def compares_epochs(self) -> bool:
        """Whether training depends on scores on the validation set."""
        return self.select == "best" or self.patience is not None


def steps_of(images: int, config: TrainOptions) -> int:
    """Return the optimizer steps of an epoch over so many images.

    Examples
    --------
    >>> steps_of(100, TrainConfig(batch_size=16)), steps_of(100, TrainConfig(batch_size=16, accumulate=4))
    (7, 2)
    """
    return math.ceil(math.ceil(images / config.batch_size) / config.accumulate)


def fine_tuning_config(**changes: Any) -> TrainConfig:
    """Return settings for fine-tuning a pretrained network with a fitted head, with `changes`.

    Chosen on photograph sets of about 1,000 images, whose fine-tuning took three minutes on two cores.

    Examples
    --------
    >>> config = fine_tuning_config(epochs=3)
    >>> config.epochs, config.lr, config.batch_norm, config.select
    (3, 0.00015, 'keep', 'best')
    """
    return make_config(**FINE_TUNING_SETTINGS | changes)


def make_config(**settings: Any) -> TrainConfig:
    """Return a configuration; the InputError names all settings that are unknown or out of range at once.

    Examples
    --------
    >>> make_config(epochs=0)
    Traceback (most recent call last):
    ...
    counterpoise.exceptions.InputError: `epochs` 0: expected at least 1
    """
    return validated(TrainConfig, settings)
