"""Settings of the commands that train: one run, and studies of many."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator

from counterpoise.config.base import Config, option
from counterpoise.config.data import DATA_DIR, TEST_FRACTION, DataConfig, SplitConfig
from counterpoise.config.model import ModelConfig
from counterpoise.config.train import DEVICE, Device, Schedule, TrainOptions, epochs_field, schedule_field


def _with_commas(value: Any) -> Any:
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else value


Names = Annotated[str, BeforeValidator(_with_commas)]
JOBS = option(None, "Runs at the same time.", shown="one per core; one on a GPU", ge=1)
BACKEND = option("loky", "Where runs are executed: loky (this machine), ray or dask (a cluster).")


def _repeats(default: int | None, shown: str | None = None) -> Any:
    return option(
        default, "Repeats, each with its own split and seed.", renamed=("draws",), shown=shown, ge=1
    )


def _out(default: Path | None, shown: str | None = None) -> Any:
    return option(default, "Folder for runs, results and report.", shown=shown)


class RunSettings(Config):
    """What every run of a method on a dataset depends on."""

    data: DataConfig = DataConfig()
    split: SplitConfig = SplitConfig()
    model: ModelConfig = ModelConfig()
    train: TrainOptions = TrainOptions()


class TrainRunConfig(RunSettings):
    """Settings of `train`."""

    method: str = option(
        "balanced-softmax", "Method (see `counterpoise methods`), with options as in ados:nu_max=30."
    )
    out: Path | None = option(None, "The run folder.", shown="out/NAME-METHOD")


class CompareConfig(RunSettings):
    """Settings of `compare`."""

    methods: Names = option(
        "bl,bl-cw,balanced-softmax,ados",
        "Methods, separated by commas; see `counterpoise methods`.",
        metavar="A,B,...",
    )
    repeats: int = _repeats(3)
    metric: str = option("gmean", "Metric on the validation set that the winner is chosen by.")
    out: Path | None = _out(None, "out/NAME")
    jobs: int | None = JOBS
    backend: str = BACKEND


class DemoConfig(Config):
    """Settings of `demo`."""

    repeats: int = _repeats(5)
    out: Path = _out(Path("out/demo"))


class TransferTraining(TrainOptions):
    """Training settings of `transfer`."""

    unused = ("head_epochs", "head_batch_size")

    epochs: int = epochs_field(10)
    schedule: Schedule = schedule_field("one-cycle")


class TransferConfig(Config):
    """Settings of `transfer`."""

    data: DataConfig = DataConfig()
    train: TransferTraining = TransferTraining()
    task_split: str = option(
        "random",
        'Tasks A and B: random (halves), natural (CIFAR-10: A man-made), or "A=cat,dog;B=ship,truck".',
        metavar="HOW",
        renamed=("split",),
    )
    layers: Names = option("1..7", "Numbers of layers to copy: 1..7, or 1,3,5,7.", metavar="WHICH")
    repeats: int = option(2, "Repeats, each with its own tasks and images.", renamed=("draws",), ge=1)
    images_per_class: int = option(300, "Training images of each class of the target B; 0: all.", ge=0)
    source_images_per_class: int = option(
        2500, "Training images of each class of the source A; 0: all.", ge=0
    )
    test_fraction: float | None = TEST_FRACTION
    backbone: str = option("alexnet8", "Network, a chain of layers: alexnet8, convnet, lenet or vgg16.")
    out: Path | None = _out(None, "out/NAME-transfer-HOW")
    jobs: int | None = JOBS
    backend: str = BACKEND


class EnhanceConfig(RunSettings):
    """Settings of `enhance`."""

    method: str = option(
        "bl",
        "Method that trains the U-Net: bl, balanced-softmax, ros or any other that acts on images or by its loss.",
    )
    classifier_method: str = option("bl", "Method that trains the classifier; see `counterpoise methods`.")
    repeats: int = _repeats(1)
    width: int = option(16, "Channels of the U-Net at the full size of the images.", ge=1)
    copy_epochs: int | None = option(
        None, "Epochs in which the U-Net learns to copy images.", shown="as many as give 250 steps", ge=1
    )
    enhance_epochs: int = option(3, "Epochs in which the U-Net is trained before the classifier.", ge=1)
    fresh_epochs: int | None = option(
        None,
        "Epochs of the control: U-Net and a fresh classifier, trained together.",
        shown="as many as the other two had in total",
        ge=1,
    )
    train_classifier: bool = option(False, "Continue training the classifier together with the U-Net.")
    figures: int = option(8, "Number of test images shown in figures; 0 for none.", ge=0)
    out: Path | None = _out(None, "out/NAME-enhance")
    jobs: int | None = JOBS
    backend: str = BACKEND


class ReproduceConfig(Config):
    """Settings of `reproduce`."""

    table: str | None = option(
        None, "One of the published tables; without it, they are listed.", metavar="TABLE", positional=True
    )
    repeats: int | None = _repeats(None, "the table's own")
    subset: int | None = option(
        None, "Rehearse on at most N training images of each class: not the published protocol."
    )
    only: Names | None = option(
        None, "Run only these lines of the table, separated by commas.", metavar="LINES"
    )
    render_only: bool = option(
        False, "Train nothing: rewrite results and page from the finished runs.", renamed=("page-only",)
    )
    export_to: Path | None = option(
        None, "Copy the results, without the runs, to this folder.", renamed=("publish",)
    )
    resume_from: Path | None = option(
        None,
        "Resume from results that `export_to` left there: their runs count as done.",
        renamed=("earlier",),
    )
    jobs: int | None = JOBS
    backend: str = BACKEND
    out: Path | None = _out(None, "out/TABLE")
    data_dir: Path | None = DATA_DIR
    device: Device = DEVICE
