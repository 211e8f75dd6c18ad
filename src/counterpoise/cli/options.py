"""Options that several commands share, each written once.

The dataclasses are groups of options: a command that takes one, under `collects_options`, has all its fields
as options, and hands it on with ``**vars(group)``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

DATA = "Data"
SPLIT = "Split and imbalance"
TRAINING = "Training"
MACHINE = "Machine"

Source = Annotated[
    str,
    typer.Argument(
        metavar="DATA",
        show_default=False,
        help="A built-in name (see `counterpoise datasets`), a folder of class folders, a zip of one, "
        "or a CSV with path,label[,split].",
    ),
]
Run = Annotated[
    Path, typer.Argument(metavar="RUN", help="A folder that `train` wrote, or a comparison's OUT/best.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else, on stdout.")]
Draws = Annotated[int, typer.Option(metavar="N", help="How often to draw the split and train anew.")]
MinorityRatio = Annotated[
    float | None,
    typer.Option(
        metavar="R",
        show_default="2",
        help="A class is rare with at most 1/R of the largest class's images.",
        rich_help_panel=SPLIT,
    ),
]
DataDir = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="Where built-in data sets lie (~/.cache/counterpoise if not given).",
        envvar="COUNTERPOISE_DATA",
        rich_help_panel=DATA,
    ),
]
Strict = Annotated[
    bool,
    typer.Option(
        "--strict", help="Stop at unreadable images instead of skipping them.", rich_help_panel=DATA
    ),
]
Device = Annotated[str, typer.Option(metavar="NAME", help="auto, cpu or cuda.", rich_help_panel=MACHINE)]


@dataclass(frozen=True)
class Reading:
    """How images are read."""

    data_dir: DataDir = None
    image_size: Annotated[
        int | None,
        typer.Option(
            metavar="PIXELS",
            help="Height and width that images are brought to; chosen by the images if not given.",
            rich_help_panel=DATA,
        ),
    ] = None
    strict: Strict = False


@dataclass(frozen=True)
class Splitting:
    """How a data set is split and thinned; the field names are those of `read_split_plan`."""

    imbalance: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Thin the training images: natural (not), step, linear, long-tail.",
            rich_help_panel=SPLIT,
        ),
    ] = "natural"
    ratio: Annotated[
        float | None,
        typer.Option(
            metavar="R", help="Largest class over smallest, for a made imbalance.", rich_help_panel=SPLIT
        ),
    ] = None
    minority: Annotated[
        str | None,
        typer.Option(
            metavar="WHICH",
            help="Rare classes of step imbalance: how many (4), what share (0.4), or which (cat,dog).",
            rich_help_panel=SPLIT,
        ),
    ] = None
    minority_ratio: MinorityRatio = None
    validation_fraction: Annotated[
        float | None,
        typer.Option(
            "--validation",
            metavar="SHARE",
            show_default="0.1",
            help="Share of the training images held out to choose by.",
            rich_help_panel=SPLIT,
        ),
    ] = None
    test_fraction: Annotated[
        float | None,
        typer.Option(
            "--test",
            metavar="SHARE",
            show_default="0.2",
            help="Share held out as test images, where there is no test split.",
            rich_help_panel=SPLIT,
        ),
    ] = None
    manifest: Annotated[
        Path | None,
        typer.Option(
            "--split",
            metavar="FILE",
            help="Use the split of another run: its manifest.json.",
            rich_help_panel=SPLIT,
        ),
    ] = None


@dataclass(frozen=True)
class Training:
    """How a network is trained; the field names are those of `make_grid` and `TrainConfig`."""

    backbone: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="lenet, convnet, tinynet, resnet32, vgg16, or any timm name; chosen by image size if not given.",
            rich_help_panel=TRAINING,
        ),
    ] = None
    weights: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN|FILE",
            help="Start from another run's network, or from a file of weights (safetensors, or a PyTorch state dict).",
            rich_help_panel=TRAINING,
        ),
    ] = None
    freeze: Annotated[
        str | None,
        typer.Option(
            metavar="N|auto|all",
            help="Layers of the --weights that stay as they are: the first N, all below the head (each image is then "
            "embedded once), or auto: all for few images, else none.",
            rich_help_panel=TRAINING,
        ),
    ] = None
    cache: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            show_default="OUT/cache",
            help="Where --freeze all keeps its embeddings, for other runs to use.",
            rich_help_panel=TRAINING,
        ),
    ] = None
    epochs: Annotated[
        int, typer.Option(metavar="N", help="Passes over the training images.", rich_help_panel=TRAINING)
    ] = 5
    head_epochs: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            show_default="as --epochs",
            help="Epochs of the new head of feature-space methods.",
            rich_help_panel=TRAINING,
        ),
    ] = None
    batch_size: Annotated[
        int, typer.Option(metavar="N", help="Images per step.", rich_help_panel=TRAINING)
    ] = 64
    lr: Annotated[
        float, typer.Option("--lr", metavar="RATE", help="Learning rate.", rich_help_panel=TRAINING)
    ] = 1e-3
    schedule: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            show_default="the method's own, mostly constant",
            help="Course of the learning rate: constant, cosine, one-cycle.",
            rich_help_panel=TRAINING,
        ),
    ] = None
    optimizer: Annotated[
        str, typer.Option(metavar="NAME", help="adam, adamw or sgd.", rich_help_panel=TRAINING)
    ] = "adam"
    weight_decay: Annotated[
        float, typer.Option(metavar="X", help="Weight decay.", rich_help_panel=TRAINING)
    ] = 0.0
    seed: Annotated[
        int, typer.Option(metavar="N", help="All that is random follows from it.", rich_help_panel=TRAINING)
    ] = 0


@dataclass(frozen=True)
class Machine:
    """What trains."""

    device: Device = "auto"
    precision: Annotated[
        str, typer.Option(metavar="NAME", help="32-true, bf16-mixed or 16-mixed.", rich_help_panel=MACHINE)
    ] = "32-true"
    threads: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            show_default="train: one per core; compare: 1",
            help="CPU threads of a run; sums of floats depend on them.",
            rich_help_panel=MACHINE,
        ),
    ] = None
    workers: Annotated[
        int,
        typer.Option(
            metavar="N",
            help="Processes that decode images, where they are too many for memory.",
            rich_help_panel=MACHINE,
        ),
    ] = 0

    def settings(self, *, threads: int) -> dict[str, Any]:
        """Return the fields; `threads` stands in where the user gave none."""
        return vars(self) | {"threads": threads if self.threads is None else self.threads}
