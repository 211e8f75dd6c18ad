"""Published tables and their settings, read from ``papers/``."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

from counterpoise.catalogs import Catalog
from counterpoise.config import Fit


class Setting(BaseModel):
    """One line of a table: data (a name of ``sources.yaml``), imbalance and training.

    `methods` are compared with the published methods of the same name; `weights` is a file of pretrained weights, below
    the data folder; `repeats` replaces the table's. What follows belongs to tables that another study makes.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: str
    image_size: int | None = None
    fit: Fit = "crop"
    imbalance: Literal["natural", "step", "linear", "long-tail"] = "natural"
    ratio: float | None = None
    minority: str | None = None
    balanced: bool = False
    network: str
    weights: str | None = None
    freeze: int | None = None
    epochs: int = Field(ge=1)
    batch_size: int = Field(ge=2)
    lr: float = 1e-3
    methods: tuple[str, ...] = ()
    split: str | None = None
    layers: str = "1..7"
    images_per_class: int | None = None
    source_images_per_class: int | None = None
    repeats: int | None = None
    enhance_epochs: int = 3

    @property
    def name(self) -> str:
        """Short name for folders and tables.

        Examples
        --------
        >>> Setting(data="mnist", ratio=500, minority="0.3", network="lenet", epochs=3, batch_size=64).name
        'mnist-mu0.3-ratio500'
        """
        return "-".join([self.data, *self._differences("mu", "ratio", "")])

    @property
    def title(self) -> str:
        """Title for people.

        Examples
        --------
        >>> Setting(data="mnist", ratio=500, minority="0.3", network="lenet", epochs=3, batch_size=64).title
        'mnist, μ 0.3, ρ 500'
        """
        return ", ".join([self.data, *self._differences("μ ", "ρ ", " split")])

    def _differences(self, share: str, ratio: str, split: str) -> list[str]:
        """Return what tells the lines of a table apart; the share of minority classes is mu in the poster."""
        parts: list[str] = [] if self.imbalance in ("natural", "step") else [self.imbalance]
        if self.minority is not None and "." in self.minority:
            parts.append(f"{share}{float(self.minority):g}")
        if self.ratio is not None:
            parts.append(f"{ratio}{self.ratio:g}")
        if self.split is not None:
            parts.append(f"{self.split}{split}")
        return parts


class Table(BaseModel):
    """Published table and its protocol: a line per setting, and in `notes` what the paper leaves open.

    `study` is the kind of its runs, `repeats` the default number of repeats.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    title: str
    paper: str
    study: Literal["methods", "transfer", "enhance"] = "methods"
    repeats: int = Field(ge=1)
    settings: tuple[Setting, ...] = Field(min_length=1)
    notes: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _names_differ(self) -> Table:
        names = [setting.name for setting in self.settings]
        if len(set(names)) < len(names):
            raise ValueError(f"two settings have the same name: {names}")
        return self


@cache
def all_tables() -> Catalog[Table]:
    """Return every table.

    Examples
    --------
    >>> all_tables()["thesis-7.2"].settings[0].title
    'fashion-mnist, ρ 10'
    """
    papers = sorted((files(__package__) / "papers").iterdir(), key=lambda file: file.name)
    return Catalog(
        "table", [_read(file.name.removesuffix(".yaml"), file.read_text("utf-8")) for file in papers]
    )


def get_table(name: str) -> Table:
    """Return the table of that name; raises `UnknownNameError` if there is none."""
    return all_tables()[name]


def _read(name: str, text: str) -> Table:
    """Read a table, where ``defaults`` holds what its settings share."""
    values: dict[str, Any] = yaml.safe_load(text)
    defaults = values.pop("defaults", {})
    settings = [defaults | setting for setting in values.pop("settings")]
    return Table.model_validate(values | {"name": name, "settings": settings})
