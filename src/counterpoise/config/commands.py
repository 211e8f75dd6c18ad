"""Settings of the commands."""

from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict

from counterpoise.config.base import Config, option
from counterpoise.config.durations import Duration
from counterpoise.config.run import (
    DATA,
    DATA_DIR,
    DEVICE,
    FEWEST_EPOCHS,
    FINE_TUNING,
    MINORITY_RATIO,
    STRICT,
    TEST_FRACTION,
    DataConfig,
    Device,
    ModelConfig,
    Names,
    Schedule,
    SplitConfig,
    TrainOptions,
    epochs_field,
    schedule_field,
)

JOBS = option(None, "Runs at the same time.", shown="one per core; one on a GPU or on frozen features", ge=1)
BACKEND = option("loky", "Where runs are executed: loky (this machine), ray or dask (a cluster).")
PREDICTION_BATCH = option(None, "Most images that the network takes at a time.", shown="as many as fit", ge=1)
ADDRESS = option(
    None,
    "Address of the cluster of `backend`, such as 10.0.0.1:6379 (ray) or tcp://10.0.0.1:8786 (dask).",
    metavar="HOST:PORT",
    shown="$RAY_ADDRESS or $DASK_SCHEDULER_ADDRESS, else a cluster on this machine",
)
RUN = option(..., "A run folder, or a comparison's OUT/best.", metavar="RUN", positional=True)
IMAGES = option(..., "Image files, folders or zips.", metavar="IMAGES", positional=True, min_length=1)
_OWN = "Dataset; the run's own if not given."
OVERWRITE = option(False, "Replace a file that exists.")
EXPORT_TO = option(None, "Copy the results, without the runs, to this folder.", renamed=("publish",))
RUN_SOURCE = option(None, _OWN, metavar="DATA", positional=True, shown="as recorded")


def _repeats(default: int | None, shown: str | None = None) -> Any:
    text = "Repeats, each with its own split and seed."
    return option(default, text, renamed=("draws",), shown=shown, ge=1, le=10_000)


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

    method: str = option("balanced-softmax")
    """Method (see `counterpoise methods`), with options as in ados:nu_max=30."""
    out: Path | None = option(None, "The run folder.", shown="out/NAME-METHOD")


class CompareConfig(RunSettings):
    """Settings of `compare`."""

    methods: Names = option("bl,bl-cw,balanced-softmax,ados", metavar="A,B,...")
    """Methods, separated by commas; see `counterpoise methods`."""
    repeats: int = _repeats(3)
    metric: str = option("gmean", "Metric on the validation set that the winner is chosen by.")
    out: Path | None = _out(None, "out/NAME")
    jobs: int | None = JOBS
    backend: str = BACKEND
    address: str | None = ADDRESS


class FitConfig(Config):
    """Settings of `fit`."""

    data: DataConfig = DataConfig()
    budget: Duration = option(600.0, metavar="TIME", shown="10m")
    """Time for everything, such as 5m or 1h30m."""
    methods: Names = option("logit-adjusted,counterpoise-pretrained,cosine,lda,fs-smote", metavar="A,B,...")
    """Methods whose heads are compared on frozen features."""
    metric: Literal["f1", "gmean"] | None = option(None, metavar="f1|gmean", shown="recall and probability")
    """Score on held-out images that chooses the model, and how far rare classes are preferred: macro F1 or G-mean."""
    tune: bool = option(True)
    """Train networks, too, as far as time and validation allow: the pretrained one, for thumbnails also a small one."""
    backbone: str | None = option(None, shown="chosen by `pretrained`")
    """Network, see `counterpoise backbones`."""
    pretrained: str | None = option(None, metavar="auto|hub|NAME.TAG|FILE", shown="auto")
    """Pretrained weights: auto (those installed with counterpoise), hub, a name with tag, or a file."""
    test_fraction: float | None = TEST_FRACTION
    minority_ratio: float | None = MINORITY_RATIO
    seed: int = option(0, "Random seed.", ge=0)
    device: Device = DEVICE
    threads: int | None = option(None, "CPU threads.", shown="all cores", ge=1)
    out: Path | None = _out(None, "out/NAME-fit")


class DemoConfig(Config):
    """Settings of `demo`."""

    repeats: int = _repeats(5)
    out: Path = _out(Path("out/demo"))


class TransferTraining(TrainOptions):
    """Training settings of `transfer`."""

    unused = ("head_epochs", "head_batch_size", *FINE_TUNING)

    epochs: int = epochs_field(10)
    schedule: Schedule = schedule_field("one-cycle")


class TransferConfig(Config):
    """Settings of `transfer`."""

    data: DataConfig = DataConfig()
    train: TransferTraining = TransferTraining()
    task_split: str = option("random", metavar="HOW", renamed=("split",))
    """Tasks A and B: random (halves), natural (CIFAR-10: A man-made), or "A=cat,dog;B=ship,truck"."""
    layers: Names = option("1..7", "Numbers of layers to copy: 1..7, or 1,3,5,7.", metavar="WHICH")
    repeats: int = option(
        2, "Repeats, each with its own tasks and images.", renamed=("draws",), ge=1, le=10_000
    )
    images_per_class: int = option(300, "Training images of each class of the target B; 0: all.", ge=0)
    source_images_per_class: int = option(2500, ge=0)
    """Training images of each class of the source A; 0: all."""
    test_fraction: float | None = TEST_FRACTION
    backbone: str = option("alexnet8", "Network, a chain of layers: alexnet8, convnet, lenet or vgg16.")
    out: Path | None = _out(None, "out/NAME-transfer-HOW")
    jobs: int | None = JOBS
    backend: str = BACKEND
    address: str | None = ADDRESS


class EnhanceModel(ModelConfig):
    """The network of `enhance`, from scratch unless weights are given."""

    model_config = ConfigDict(title="Network")

    pretrained: str | None = option("none", metavar="auto|none|hub|NAME.TAG|FILE")
    """Published weights to start from: none, auto, hub, weights of timm by name and tag, or a file."""


class EnhanceTraining(TrainOptions):
    """Training settings of `enhance`."""

    unused = FINE_TUNING

    epochs: int = epochs_field(FEWEST_EPOCHS)
    schedule: Schedule = schedule_field("cosine")


class EnhanceConfig(RunSettings):
    """Settings of `enhance`."""

    model: EnhanceModel = EnhanceModel()
    train: EnhanceTraining = EnhanceTraining()
    method: str = option("bl")
    """Method that trains the U-Net: bl, balanced-softmax, ros or any other that acts on images or by its loss."""
    classifier_method: str = option("bl", "Method that trains the classifier; see `counterpoise methods`.")
    augment: str = option("random-affine:degrees=0:scale=0", metavar="HOW")
    """Augmentation of the classifier, the U-Net and all controls, where a method has none of its own; or none."""
    frozen_features: bool = option(False)
    """A classifier that may not be changed: a head on frozen features, of `pretrained` or `weights`, else learned from
    a random half of the classes; the head and the U-Net learn the other half.
    """
    unet: Literal["copy", "residual"] = option("copy", metavar="KIND")
    """U-Net: copy (the slides', first trained to copy images) or residual (adds to the image, at first nothing)."""
    images_per_class: int | None = option(None, "Training images of each class.", shown="all", ge=2)
    repeats: int = _repeats(1)
    width: int = option(16, "Channels of the U-Net at the full size of the images.", ge=1)
    copy_epochs: int | None = option(None, shown="as many as give 250 steps", ge=1)
    """Epochs in which the U-Net learns to copy images."""
    enhance_epochs: int | None = option(None, shown="as many as `epochs`", ge=1)
    """Epochs in which the U-Net is trained before the classifier, and of the controls."""
    fresh_epochs: int | None = option(None, shown="as many as the other two had in total", ge=1)
    """Epochs of the control: U-Net and a fresh classifier, trained together."""
    train_classifier: bool = option(False, "Continue training the classifier together with the U-Net.")
    figures: int = option(8, "Number of test images shown in figures; 0 for none.", ge=0)
    export_to: Path | None = EXPORT_TO
    out: Path | None = _out(None, "out/NAME-enhance")
    jobs: int | None = JOBS
    backend: str = BACKEND
    address: str | None = ADDRESS


class ReproduceConfig(Config):
    """Settings of `reproduce`."""

    table: str | None = option(None, metavar="TABLE", positional=True)
    """One of the published tables; without it, they are listed."""
    repeats: int | None = _repeats(None, "the table's own")
    subset: int | None = option(None)
    """Rehearse on at most N training images of each class: not the published protocol."""
    only: Names | None = option(None, metavar="LINES")
    """Run only these lines of the table, separated by commas."""
    render_only: bool = option(False, renamed=("page-only",))
    """Train nothing: rewrite results and page from the finished runs."""
    export_to: Path | None = EXPORT_TO
    resume_from: Path | None = option(None, renamed=("earlier",))
    """Resume from results that `export_to` left there: their runs count as done."""
    jobs: int | None = JOBS
    backend: str = BACKEND
    address: str | None = ADDRESS
    out: Path | None = _out(None, "out/TABLE")
    data_dir: Path | None = DATA_DIR
    device: Device = DEVICE


class AuditData(DataConfig):
    """Where the images of an audit are."""

    model_config = ConfigDict(title=DATA)
    unused = ("image_size", "fit", "strict", "duplicates")


class AuditConfig(Config):
    """Settings of `audit`."""

    data: AuditData = AuditData()
    deep: bool = option(False)
    """Also find likely label errors, with a network that embeds every image: minutes; writes a page with pictures."""
    minority_ratio: float | None = MINORITY_RATIO
    out: Path | None = option(
        None, "Folder of audit.html and of the embeddings of `deep`.", shown="out/NAME-audit"
    )


class EvaluateConfig(Config):
    """Settings of `evaluate`."""

    run: Path = RUN
    source: str | None = RUN_SOURCE
    include_seen: bool = option(False, "Score images that the model learned from, too.")
    data_dir: Path | None = DATA_DIR
    batch_size: int | None = PREDICTION_BATCH
    strict: bool = STRICT
    device: Device = DEVICE


class PredictConfig(Config):
    """Settings of `predict`."""

    run: Path = RUN
    images: tuple[Path, ...] = IMAGES
    out: Path = option(Path("predictions.csv"), metavar="FILE")
    """The CSV file; - prints it on stdout, and nothing else."""
    overwrite: bool = OVERWRITE
    alpha: float = option(0.1, metavar="A", gt=0, lt=1)
    """Share of new images of a class whose set of possible classes (column sure) may lack it."""
    abstain: bool = option(False)
    """Predict "unsure" unless the set holds the predicted class alone and the image is like the training images."""
    sort_into: Path | None = option(None, metavar="DIR")
    """Copy the images into a folder for each class, and into unsure/."""
    batch_size: int | None = PREDICTION_BATCH
    strict: bool = STRICT
    device: Device = DEVICE


class ExplainConfig(Config):
    """Settings of `explain`."""

    run: Path = RUN
    images: tuple[Path, ...] = IMAGES
    compare_with: Path | None = option(None, metavar="RUN", renamed=("against",))
    """A second model, whose maps are compared with those of the first."""
    method: str = option("grad-cam", "Explainer: grad-cam, lime or occlusion.")
    target_class: str | None = option(None, metavar="CLASS", renamed=("target",), shown="the predicted one")
    """The class to explain."""
    layer: str | None = option(None, shown="the last map before the last pooling")
    """The layer of grad-cam and of the feature maps."""
    same_from: float | None = option(None, metavar="R", shown="0.5")
    """Rank correlation from which two maps count as the same."""
    map_scores: bool = option(False, renamed=("scores",))
    """Score the maps by deletion and insertion (slower)."""
    feature_maps: bool = option(False, "Draw the feature maps of the first two convolutions, or of `layer`.")
    out: Path | None = option(None, shown="RUN/explain or RUN/explain-against")
    """Folder for page and pictures."""
    batch_size: int | None = PREDICTION_BATCH
    strict: bool = STRICT
    device: Device = DEVICE


class ExportConfig(Config):
    """Settings of `export`."""

    run: Path = RUN
    file: Path = option(..., "The file to write.", metavar="FILE", positional=True)
    overwrite: bool = OVERWRITE


class AdjustConfig(Config):
    """Settings of `adjust`."""

    run: Path = RUN
    source: str | None = RUN_SOURCE
    adjustment: str = option("class-thresholds", renamed=("with",))
    """Adjustment of the logits, with options as in class-thresholds:score=f1."""
    target: str | None = option(None, metavar="METRIC", renamed=("score",), shown="gmean")
    """Metric that class-thresholds maximizes: gmean, f1, recall, precision, specificity, accuracy, youden."""
    costs: Path | None = option(None, metavar="FILE")
    """Cost matrix, a .csv or .json: rows are true classes, columns predicted ones. Its mean cost is shown;
    class-thresholds without `target` and expected-cost minimize it.
    """
    require: tuple[str, ...] = option((), metavar="PROMISE")
    """Promise for new images, such as recall:crack>=0.95 or precision:crack>=0.8; may be given several times."""
    confidence: float | None = option(None, metavar="P", shown="0.9", gt=0, lt=1)
    """Probability that the promises of `require` hold."""
    out: Path | None = option(None, "The new run folder.", shown="RUN-adjusted-NAME")
    data_dir: Path | None = DATA_DIR
    batch_size: int | None = PREDICTION_BATCH
    strict: bool = STRICT
    device: Device = DEVICE


class ReportConfig(Config):
    """Settings of `report`."""

    paths: tuple[Path, ...] = option(..., metavar="PATH", positional=True, min_length=1)
    """Folder of a comparison or a fit, or one or more run folders."""
    out: Path | None = option(None, "The HTML file.", metavar="FILE", shown="report.html in the first folder")


class BackbonesConfig(Config):
    """Settings of `backbones`."""

    speed: bool = option(False, "Measure how many photographs a second each embeds here (about a minute).")


class NoConfig(Config):
    """Settings of the commands that list a catalog: none."""
