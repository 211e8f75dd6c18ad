"""Settings of the commands that train nothing."""

from pathlib import Path

from counterpoise.config.base import Config, option
from counterpoise.config.data import DATA_DIR, MINORITY_RATIO, SOURCE, STRICT
from counterpoise.config.train import DEVICE, Device

RUN = option(..., "A run folder, or a comparison's OUT/best.", metavar="RUN", positional=True)
IMAGES = option(..., "Image files, folders or zips.", metavar="IMAGES", positional=True, min_length=1)

RUN_SOURCE = option(
    None, "Dataset; the run's own if not given.", metavar="DATA", positional=True, shown="as recorded"
)


class AuditConfig(Config):
    """Settings of `audit`."""

    source: str | None = SOURCE
    minority_ratio: float | None = MINORITY_RATIO
    data_dir: Path | None = DATA_DIR


class EvaluateConfig(Config):
    """Settings of `evaluate`."""

    run: Path = RUN
    source: str | None = RUN_SOURCE
    data_dir: Path | None = DATA_DIR
    strict: bool = STRICT
    device: Device = DEVICE


class PredictConfig(Config):
    """Settings of `predict`."""

    run: Path = RUN
    images: tuple[Path, ...] = IMAGES
    out: Path = option(
        Path("predictions.csv"), "The CSV file; - prints it on stdout, and nothing else.", metavar="FILE"
    )
    strict: bool = STRICT
    device: Device = DEVICE


class ExplainConfig(Config):
    """Settings of `explain`."""

    run: Path = RUN
    images: tuple[Path, ...] = IMAGES
    compare_with: Path | None = option(
        None,
        "A second model, whose maps are compared with those of the first.",
        metavar="RUN",
        renamed=("against",),
    )
    method: str = option("grad-cam", "Explainer: grad-cam, lime or occlusion.")
    target_class: str | None = option(
        None, "The class to explain.", metavar="CLASS", renamed=("target",), shown="the predicted one"
    )
    layer: str | None = option(
        None, "The layer of grad-cam and of the feature maps.", shown="the last with a spatial map"
    )
    same_from: float | None = option(
        None, "Rank correlation from which two maps count as the same.", metavar="R", shown="0.5"
    )
    map_scores: bool = option(
        False, "Score the maps by deletion and insertion (slower).", renamed=("scores",)
    )
    feature_maps: bool = option(False, "Draw the feature maps of the first two convolutions, or of `layer`.")
    out: Path | None = option(
        None, "Folder for page and pictures.", shown="RUN/explain or RUN/explain-against"
    )
    strict: bool = STRICT
    device: Device = DEVICE


class ExportConfig(Config):
    """Settings of `export`."""

    run: Path = RUN
    file: Path = option(..., "The file to write.", metavar="FILE", positional=True)


class AdjustConfig(Config):
    """Settings of `adjust`."""

    run: Path = RUN
    source: str | None = RUN_SOURCE
    adjustment: str = option(
        "class-thresholds",
        "Adjustment of the logits, with options as in class-thresholds:score=f1.",
        renamed=("with",),
    )
    target: str | None = option(
        None,
        "Metric that class-thresholds maximizes: gmean, f1, recall, precision, specificity, accuracy, youden.",
        metavar="METRIC",
        renamed=("score",),
        shown="gmean",
    )
    costs: Path | None = option(
        None,
        "Cost matrix, a .csv or .json: rows are true classes, columns predicted ones. Its mean cost is shown; "
        "class-thresholds without `target` and expected-cost minimize it.",
        metavar="FILE",
    )
    out: Path | None = option(None, "The new run folder.", shown="RUN-adjusted-NAME")
    data_dir: Path | None = DATA_DIR
    strict: bool = STRICT
    device: Device = DEVICE


class ReportConfig(Config):
    """Settings of `report`."""

    paths: tuple[Path, ...] = option(
        ...,
        "A comparison's folder, or one or more run folders.",
        metavar="PATH",
        positional=True,
        min_length=1,
    )
    out: Path | None = option(None, "The HTML file.", metavar="FILE", shown="report.html in the first folder")


class NoConfig(Config):
    """Settings of the commands that list a catalog: none."""
