"""Settings of the images and of their split."""

from pathlib import Path

from pydantic import ConfigDict

from counterpoise.config.base import Config, option

DATA, SPLIT = "Data", "Split and imbalance"

SOURCE = option(
    None,
    "Dataset: a built-in name (see `counterpoise datasets`), a folder of class folders, a zip of one, or a CSV "
    "with path,label[,split].",
    metavar="DATA",
    positional=True,
)
DATA_DIR = option(
    None, "Folder of the built-in datasets.", panel=DATA, shown="$COUNTERPOISE_DATA, or ~/.cache/counterpoise"
)
STRICT = option(False, "Stop at unreadable images instead of skipping them.", panel=DATA)
MINORITY_RATIO = option(
    None,
    "A class with at most 1/R of the images of the largest class is a minority class.",
    metavar="R",
    panel=SPLIT,
    shown="2",
)
TEST_FRACTION = option(
    None,
    "Share of the images held out as test set, for datasets without one.",
    metavar="SHARE",
    panel=SPLIT,
    renamed=("test",),
    shown="0.2",
)


class DataConfig(Config):
    """Where the images are and how they are read."""

    model_config = ConfigDict(title=DATA)

    source: str | None = SOURCE
    data_dir: Path | None = DATA_DIR
    image_size: int | None = option(
        None,
        "Height and width that images are resized to.",
        metavar="PIXELS",
        aliases=("img-size",),
        shown="chosen from the images",
    )
    strict: bool = STRICT


class SplitConfig(Config):
    """How a dataset is split and thinned."""

    model_config = ConfigDict(title=SPLIT)

    imbalance: str = option(
        "natural", "Profile that thins the training set: natural (none), step, linear or long-tail."
    )
    ratio: float | None = option(
        None, "Imbalance ratio of the thinned training set: largest class over smallest.", metavar="R"
    )
    minority: str | None = option(
        None,
        "Minority classes of step imbalance: their number (4), their share (0.4), or their names (cat,dog).",
        metavar="WHICH",
    )
    minority_ratio: float | None = MINORITY_RATIO
    validation_fraction: float | None = option(
        None,
        "Share of the training images held out as validation set.",
        metavar="SHARE",
        flag="val-fraction",
        renamed=("validation",),
        shown="0.1",
    )
    test_fraction: float | None = TEST_FRACTION
    split_file: Path | None = option(
        None, "Use the split of another run: its manifest.json.", metavar="FILE", renamed=("split",)
    )
