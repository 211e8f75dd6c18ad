"""Plan of a table: its lines and their runs, or the commands of the study that makes it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

from counterpoise.config import CompareConfig, Fit, TrainConfig
from counterpoise.datasets import ImageDataset, load_dataset, resolve_data_dir
from counterpoise.exceptions import DataError, InputError, UnknownNameError
from counterpoise.files import content_hash
from counterpoise.studies.engine.planned_runs import RunGrid, make_grid
from counterpoise.studies.reproduce.sources import find_source, load_images
from counterpoise.studies.reproduce.tables import Setting, Table
from counterpoise.training import NETWORK_SLOTS, RunPlan, read_minority

#: Fields of a setting that `compare` has, too.
_FIELDS = {"methods", "imbalance", "ratio", "minority", "balanced", "freeze", "epochs", "batch_size", "lr"}
#: Fields that are options of `enhance`, named as the options are.
_OPTIONS = ("epochs", "batch_size", "lr", "image_size", "fit", "enhance_epochs")


@dataclass(frozen=True)
class TableLine:
    """One line of a table: a grid of runs on a loaded dataset."""

    setting: Setting
    study: RunGrid
    dataset: ImageDataset

    @property
    def minority_share(self) -> float | None:
        """Share of minority classes among all; None if the setting does not give it."""
        if self.setting.minority is None:
            return None
        minority = read_minority(self.setting.minority, self.dataset.classes)
        if isinstance(minority, float):
            return minority
        return (minority if isinstance(minority, int) else len(minority)) / self.dataset.num_classes


@dataclass(frozen=True)
class TablePlan:
    """Plan of a published table; `subset` is the largest number of training images of a class, None for all."""

    table: Table
    cells: tuple[TableLine, ...]
    repeats: int
    subset: int | None
    command: str = ""

    @property
    def config(self) -> TrainConfig:
        """Settings of the first line; device and threads are those of all."""
        return self.cells[0].study.config

    @property
    def identity(self) -> str:
        """Hash of what all runs share; repeats may be added later."""
        return content_hash([[c.setting.name, c.study.identity] for c in self.cells])

    def runs(self) -> list[tuple[TableLine, RunPlan]]:
        """Return every run, repeat by repeat over all lines, so that an early stop leaves whole repeats."""
        runs = [(cell, plan) for cell in self.cells for plan in cell.study.plans()]
        return sorted(runs, key=lambda run: run[1].draw)

    def with_repeats(self, repeats: int) -> TablePlan:
        """Return the plan with another number of repeats."""
        grids = (replace(cell.study, repeats=tuple(range(repeats))) for cell in self.cells)
        cells = tuple(replace(cell, study=grid) for cell, grid in zip(self.cells, grids, strict=True))
        return replace(self, cells=cells, repeats=repeats)

    def only(self, names: Sequence[str]) -> TablePlan:
        """Return the plan of some lines, of all if no names are given; an unknown one raises `UnknownNameError`."""
        known = [cell.setting.name for cell in self.cells]
        for name in names:
            if name not in known:
                raise UnknownNameError(f"line of {self.table.name}", name, known)
        return replace(self, cells=tuple(c for c in self.cells if not names or c.setting.name in names))

    def trainings(self) -> int:
        """Return how many networks are trained: methods that start from the same one share it."""
        networks = set()
        for cell in self.cells:
            for method in cell.study.methods:
                components = {s: c.identity() for s, c in method.components.items() if s in NETWORK_SLOTS}
                network = content_hash([components, method.head_layer, method.schedule])
                networks.add((cell.setting.name, network))
        return len(networks) * self.repeats


def plan_table(
    table: Table,
    *,
    repeats: int | None = None,
    subset: int | None = None,
    data_dir: Path | None = None,
    device: str = "auto",
    command: str = "",
    load: Callable[..., ImageDataset] = load_dataset,
) -> TablePlan:
    """Load the images of a table of the kind ``"methods"`` and return its runs; refuse before anything is written.

    `repeats` are the table's own by default. With `subset`, the largest number of training images of a class, the
    protocol is not the published one. `load` is `load_dataset`, or a version that shows its progress.

    Raises
    ------
    InputError
        If an option is refused, or images are absent.
    """
    count = table.repeats if repeats is None else repeats
    images: dict[tuple[str, int | None, Fit], tuple[str, ImageDataset]] = {}
    cells = []
    for setting in table.settings:
        key = (name, size, fit) = (setting.data, setting.image_size, setting.fit)
        if key not in images:
            images[key] = load_images(
                name, data_dir=data_dir, image_size=size, fit=fit, subset=subset, load=load
            )
        source, dataset = images[key]
        _check_subset(setting, dataset, subset)
        study = make_grid(
            dataset,
            CompareConfig.of(
                source=source,
                repeats=count,
                validation_fraction=0.0,  # the papers train on all training images
                backbone=setting.network,
                pretrained="none",
                weights=_find_weights(setting, data_dir),
                device=device,
                **setting.model_dump(include=_FIELDS),
            ),
            command=command,
        )
        cells.append(TableLine(setting, study, dataset))
    return TablePlan(table, tuple(cells), count, subset, command)


def _check_subset(setting: Setting, dataset: ImageDataset, subset: int | None) -> None:
    largest = int(dataset.train.class_counts(dataset.num_classes).max())
    if subset is not None and setting.ratio is not None and largest < setting.ratio:
        raise InputError(
            f"`subset` {subset}: {setting.title} needs {setting.ratio:g} images of a class to leave one of a rare "
            f"class; give `subset` {setting.ratio:g} or more"
        )


def _find_weights(setting: Setting, data_dir: Path | None) -> Path | None:
    if setting.weights is None:
        return None
    path = resolve_data_dir(data_dir) / setting.weights
    if not path.is_file():
        raise DataError(
            f"{path} is not there; put torchvision's {setting.network} with its ImageNet weights there, as a file of "
            "its state dict"
        )
    return path


def study_commands(
    table: Table, data_dir: Path | None = None, out: Path | None = None
) -> tuple[list[list[str]], list[str]]:
    """Return the commands that make a table of the kind ``"enhance"``, and what is absent.

    Every line has a command, as words, and a folder of its own in `out`; lines whose images are absent have a sentence
    that says what to put where. Built-in sets say that themselves.

    Examples
    --------
    >>> from counterpoise.studies.reproduce.tables import get_table
    >>> commands, _ = study_commands(get_table("slides-accuracy"), out=Path("out"))
    >>> " ".join(commands[0])[:57]
    'enhance stl10 --backbone vgg16 --epochs 5 --batch-size 64'
    """
    commands, absent = [], []
    for setting in table.settings:
        try:
            source = find_source(setting.data, data_dir)
        except DataError as error:
            absent.append(str(error))
            continue
        values: dict[str, Any] = {"backbone": setting.network}
        values |= {name.replace("_", "-"): getattr(setting, name) for name in _OPTIONS}
        values |= {"repeats": setting.repeats or table.repeats, "data-dir": data_dir}
        values["out"] = (out or Path("out") / table.name) / setting.name
        given = [(f"--{name}", str(value)) for name, value in values.items() if value is not None]
        commands.append([table.study, source, *chain.from_iterable(given)])
    return commands, absent
