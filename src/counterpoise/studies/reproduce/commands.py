"""Tables that are made of another study: the commands that make them."""

from __future__ import annotations

from pathlib import Path

from counterpoise.exceptions import DataError
from counterpoise.studies.reproduce.sources import find_source
from counterpoise.studies.reproduce.tables import Setting, Table


def study_commands(table: Table, data_dir: Path | None = None, out: Path | None = None) -> list[list[str]]:
    """Return the words of the command that makes each line of a table of the kind ``"transfer"`` or ``"enhance"``.

    Parameters
    ----------
    table : Table
        Which.
    data_dir : Path, optional
        The data folder.
    out : Path, optional
        The table's folder; each line has one of its own in it.

    Examples
    --------
    >>> from counterpoise.studies.reproduce.tables import get_table
    >>> " ".join(study_commands(get_table("slides-accuracy"), out=Path("out"))[0])[:57]
    'enhance stl10 --backbone vgg16 --epochs 5 --batch-size 64'
    """
    return [
        [
            table.study,
            find_source(setting.data, data_dir),
            *_options(table, setting),
            *(["--data-dir", str(data_dir)] if data_dir is not None else []),
            "--out",
            str((out or Path("out") / table.name) / setting.name),
        ]
        for setting in table.settings
        if not _absent(setting, data_dir)
    ]


def absent_images(table: Table, data_dir: Path | None = None) -> list[str]:
    """Say what to put where for the images of a table that are absent; built-in sets say that themselves."""
    return [words for setting in table.settings if (words := _absent(setting, data_dir))]


def _absent(setting: Setting, data_dir: Path | None) -> str:
    try:
        find_source(setting.data, data_dir)
    except DataError as error:
        return str(error)
    return ""


def _options(table: Table, setting: Setting) -> list[str]:
    values: dict[str, object] = {
        "backbone": setting.network,
        "epochs": setting.epochs,
        "batch-size": setting.batch_size,
        "lr": setting.lr,
        "image-size": setting.image_size,
        "repeats": table.repeats,
    }
    if table.study == "transfer":
        values |= {
            "task-split": setting.split,
            "layers": setting.layers,
            "images-per-class": setting.images_per_class,
            "source-images-per-class": setting.source_images_per_class,
        }
    else:
        values["enhance-epochs"] = setting.enhance_epochs
    return [word for name, value in values.items() if value is not None for word in (f"--{name}", str(value))]
