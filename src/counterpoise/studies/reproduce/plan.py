"""Plan of a table: its lines, and the runs of each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from counterpoise.config import CompareConfig, TrainConfig
from counterpoise.datasets import ImageDataset, load_dataset, resolve_data_dir
from counterpoise.exceptions import DataError, InputError, UnknownNameError
from counterpoise.files import content_hash
from counterpoise.methods import Method
from counterpoise.studies.engine.grid import RunGrid, make_grid
from counterpoise.studies.reproduce.sources import load_images
from counterpoise.studies.reproduce.tables import Setting, Table
from counterpoise.training import NETWORK_SLOTS, RunPlan, read_minority


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
    """Plan of a published table: its lines and repeats.

    `subset` is the largest number of training images of a class; None: all, which is the published protocol.
    """

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
        return [
            (cell, plan)
            for repeat in range(self.repeats)
            for cell in self.cells
            for plan in cell.study.plans()
            if plan.draw == repeat
        ]

    def with_repeats(self, repeats: int) -> TablePlan:
        """Return the plan with another number of repeats."""
        cells = tuple(
            replace(cell, study=replace(cell.study, repeats=tuple(range(repeats)))) for cell in self.cells
        )
        return replace(self, cells=cells, repeats=repeats)

    def only(self, names: Sequence[str]) -> TablePlan:
        """Return the plan of some lines; of all, if no names are given.

        Raises
        ------
        UnknownNameError
            If there is no such line.
        """
        known = [cell.setting.name for cell in self.cells]
        for name in names:
            if name not in known:
                raise UnknownNameError(f"line of {self.table.name}", name, known)
        return replace(self, cells=tuple(c for c in self.cells if not names or c.setting.name in names))

    def trainings(self) -> int:
        """Return how many networks are trained: methods that start from the same one share it."""
        networks = {
            (cell.setting.name, repeat, _network_key(method))
            for cell in self.cells
            for repeat in range(self.repeats)
            for method in cell.study.methods
        }
        return len(networks)


def _network_key(method: Method) -> str:
    components = {s: c.identity() for s, c in method.components.items() if s in NETWORK_SLOTS}
    return content_hash([components, method.head_layer, method.schedule])


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
    """Load what a table needs and return its runs; what cannot work is found before anything is written.

    Parameters
    ----------
    table : Table
        Which, of the kind ``"methods"``.
    repeats : int, optional
        Number of repeats; the table's own by default.
    subset : int, optional
        Training images to keep of each class, at most. What comes of it is not the published protocol.
    data_dir : Path, optional
        Where the images lie.
    device : {"auto", "cpu", "cuda"}
        What trains.
    command : str
        The command line, for the record.
    load : callable
        `load_dataset`, or what shows its progress.

    Raises
    ------
    InputError
        If an option is refused, or images are absent.
    """
    count = table.repeats if repeats is None else repeats
    images: dict[Any, tuple[str, ImageDataset]] = {}
    cells = []
    for setting in table.settings:
        key = (setting.data, setting.image_size)
        if key not in images:
            size = setting.image_size
            images[key] = load_images(
                setting.data, data_dir=data_dir, image_size=size, subset=subset, load=load
            )
        source, dataset = images[key]
        _check_subset(setting, dataset, subset)
        study = make_grid(
            dataset,
            CompareConfig.of(
                source=source,
                methods=setting.methods,
                repeats=count,
                imbalance=setting.imbalance,
                ratio=setting.ratio,
                minority=setting.minority,
                validation_fraction=0.0,  # the papers train on all training images
                backbone=setting.network,
                weights=_find_weights(setting, data_dir),
                freeze=setting.freeze,
                epochs=setting.epochs,
                batch_size=setting.batch_size,
                lr=setting.lr,
                device=device,
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
