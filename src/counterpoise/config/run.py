"""Settings of one run: images, split, network and training."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict

from counterpoise.config.base import Config, option, validated
from counterpoise.config.schedules import SCHEDULES

DATA, SPLIT, MACHINE = "Data", "Split and imbalance", "Machine"

_SOURCE = (
    "Dataset: a built-in name (see `counterpoise datasets`), a folder of class folders, a zip of one, or a CSV "
    "with path,label[,split]."
)
SOURCE = option(None, _SOURCE, metavar="DATA", positional=True)
DATA_DIR = option(
    None, "Folder of the built-in datasets.", panel=DATA, shown="$COUNTERPOISE_DATA, or ~/.cache/counterpoise"
)
STRICT = option(False, "Stop at unreadable images instead of skipping them.", panel=DATA)
_MINORITY = "A class with at most 1/R of the images of the largest class is a minority class."
MINORITY_RATIO = option(None, _MINORITY, metavar="R", panel=SPLIT, shown="2")
_TEST = "Share of the images held out as test set, for datasets without one."
TEST_FRACTION = option(None, _TEST, metavar="SHARE", panel=SPLIT, renamed=("test",), shown="0.2")


class DataConfig(Config):
    """Where the images are and how they are read."""

    model_config = ConfigDict(title=DATA)

    source: str | None = SOURCE
    data_dir: Path | None = DATA_DIR
    image_size: int | None = option(
        None, metavar="PIXELS", aliases=("img-size",), shown="chosen from the images"
    )
    """Height and width that images are resized to."""
    strict: bool = STRICT


class SplitConfig(Config):
    """How a dataset is split and thinned."""

    model_config = ConfigDict(title=SPLIT)

    imbalance: str = option("natural")
    """Profile that thins the training set: natural (none), step, linear or long-tail."""
    ratio: float | None = option(None, metavar="R")
    """Imbalance ratio of the thinned training set: largest class over smallest."""
    minority: str | None = option(None, metavar="WHICH")
    """Minority classes of step imbalance: their number (4), their share (0.4), or their names (cat,dog)."""
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
    weights: Path | None = option(None, metavar="RUN|FILE", shown="from scratch")
    """Pretrained weights: another run, or a file (safetensors, or a PyTorch state dict)."""
    freeze: str | None = option(None, metavar="N|auto|all")
    """Layers of the `weights` that stay frozen: the first N, all (everything below the head; each image is then
    embedded once), or auto (all for few images, else none).
    """
    cache: Path | None = option(None, shown="OUT/cache")
    """Folder in which `freeze` all caches embeddings, shared by several runs."""


def _known_schedule(name: str | None) -> str | None:
    return None if name is None else SCHEDULES.get(name).name


Device = Literal["auto", "cpu", "cuda"]
Schedule = Annotated[str | None, AfterValidator(_known_schedule)]
DEVICE = option("auto", "Device: auto (the GPU if there is one), cpu or cuda.", panel=MACHINE)


def epochs_field(default: int) -> Any:
    """Return the field of the number of epochs."""
    return option(default, "Passes over the training images.", ge=1)


def schedule_field(default: str | None) -> Any:
    """Return the field of the schedule."""
    text = f"Learning-rate schedule: {', '.join(SCHEDULES.names)}."
    shown = "the method's own, mostly constant" if default is None else None
    return option(default, text, aliases=("sched",), shown=shown)


def _threads(default: int | None) -> Any:
    text = "CPU threads of a run; results depend on it, since floating-point sums do."
    return option(default, text, panel=MACHINE, shown="train: all cores; studies: 1", ge=1)


class TrainOptions(Config):
    """Training settings as asked for: `threads` may be left open."""

    model_config = ConfigDict(title="Training")

    epochs: int = epochs_field(5)
    batch_size: int = option(64, "Images per step.", ge=2)
    lr: float = option(1e-3, metavar="RATE", gt=0, allow_inf_nan=False)
    """Learning rate; the largest one of a schedule."""
    optimizer: Literal["adam", "adamw", "sgd"] = option("adam", aliases=("opt",))
    """Optimizer: adam, adamw or sgd (with momentum 0.9)."""
    weight_decay: float = option(0.0, "Weight decay, as the optimizer defines it.", ge=0, allow_inf_nan=False)
    schedule: Schedule = schedule_field(None)
    head_epochs: int | None = option(None, shown="as `epochs`", ge=1)
    """Epochs of a head that is trained in a stage of its own."""
    head_batch_size: int = option(64, "Embeddings per step of that stage.", ge=1)
    seed: int = option(0, "Random seed.", ge=0)
    device: Device = DEVICE
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = option("32-true", panel=MACHINE)
    """Precision: 32-true, bf16-mixed or 16-mixed."""
    threads: int | None = _threads(None)
    workers: int = option(0, "Processes that decode images that do not fit in memory.", panel=MACHINE, ge=0)

    def resolved(self, *, threads: int = 1) -> "TrainConfig":
        """Return the settings with `threads` where the user left them open."""
        return TrainConfig(**(self.model_dump() | {"threads": self.threads or threads}))


class TrainConfig(TrainOptions):
    """The settings of one training run.

    Two runs with the same configuration, data and machine give the same numbers, bit for bit on a CPU. `threads`
    is part of the configuration because floating-point sums depend on how they are split over threads.

    Examples
    --------
    >>> TrainConfig(epochs=3).lr
    0.001
    """

    threads: int = _threads(1)


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
