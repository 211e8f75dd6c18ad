"""What a published table is: its settings, read from ``papers/``."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

from counterpoise.exceptions import UnknownNameError


class Setting(BaseModel):
    """One line of a table: data, imbalance and training.

    Attributes
    ----------
    data : str
        A name of ``sources.yaml``.
    image_size : int or None
        Pixels; as the images are if None.
    imbalance, ratio, minority
        As `compare` takes them.
    network : str
        The network's name.
    weights : str or None
        File of pretrained weights, below the data folder.
    freeze : int or None
        How many of the first layers stay as they are.
    epochs, batch_size, lr
        Of the training, with Adam.
    methods : tuple of str
        As typed; compared with the published methods of the same name.
    split, layers, images_per_class, source_images_per_class
        Of a transfer study.
    enhance_epochs : int
        Of an enhancement study.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: str
    image_size: int | None = None
    imbalance: Literal["natural", "step", "linear", "long-tail"] = "natural"
    ratio: float | None = None
    minority: str | None = None
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
    enhance_epochs: int = 3

    @property
    def share(self) -> float | None:
        """The share of rare classes, which posters call mu, where it is given as one."""
        return float(self.minority) if self.minority is not None and "." in self.minority else None

    @property
    def name(self) -> str:
        """A short name for folders and tables.

        Examples
        --------
        >>> Setting(data="mnist", ratio=500, minority="0.3", network="lenet", epochs=3, batch_size=64).name
        'mnist-mu0.3-ratio500'
        """
        parts = [self.data]
        if self.share is not None:
            parts.append(f"mu{self.share:g}")
        if self.ratio is not None:
            parts.append(f"ratio{self.ratio:g}")
        if self.split is not None:
            parts.append(self.split)
        return "-".join(parts)

    @property
    def title(self) -> str:
        """The same in words.

        Examples
        --------
        >>> Setting(data="mnist", ratio=500, minority="0.3", network="lenet", epochs=3, batch_size=64).title
        'mnist, μ 0.3, ρ 500'
        """
        parts = [self.data]
        if self.share is not None:
            parts.append(f"μ {self.share:g}")
        if self.ratio is not None:
            parts.append(f"ρ {self.ratio:g}")
        if self.split is not None:
            parts.append(f"{self.split} split")
        return ", ".join(parts)


class Table(BaseModel):
    """A published table and the protocol that it is made again with.

    Attributes
    ----------
    name : str
        What the user types.
    title, paper : str
        What it shows, and where it stands.
    study : {"methods", "transfer", "enhance"}
        What kind of runs it is made of.
    published : str or None
        The file with its numbers, in ``published/``.
    draws : int
        How many draws, if the user does not say.
    settings : tuple of Setting
        Its lines.
    notes : tuple of str
        What the paper leaves open, and how that is settled here.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    title: str
    paper: str
    study: Literal["methods", "transfer", "enhance"] = "methods"
    published: str | None = None
    draws: int = Field(ge=1)
    settings: tuple[Setting, ...] = Field(min_length=1)
    notes: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _names_differ(self) -> Table:
        names = [setting.name for setting in self.settings]
        if len(set(names)) < len(names):
            raise ValueError(f"two settings have the same name: {names}")
        return self

    @property
    def data(self) -> tuple[str, ...]:
        """The sets of images that it needs, in its order."""
        return tuple(dict.fromkeys(setting.data for setting in self.settings))


def read_table(name: str, text: str) -> Table:
    """Read a table as written in ``papers/``: what its settings have in common stands under ``defaults``."""
    values: dict[str, Any] = yaml.safe_load(text)
    defaults = values.pop("defaults", {})
    settings = [defaults | setting for setting in values.pop("settings")]
    return Table.model_validate(values | {"name": name, "settings": settings})


@cache
def all_tables() -> dict[str, Table]:
    """Return every table, by name.

    Examples
    --------
    >>> all_tables()["thesis-7.2"].settings[0].title
    'fashion-mnist, ρ 10'
    """
    return {table.name: table for table in sorted(_read_all(), key=lambda table: table.name)}


def get_table(name: str) -> Table:
    """Return the table of a name.

    Raises
    ------
    UnknownNameError
        If there is none.
    """
    if name not in all_tables():
        raise UnknownNameError("table", name, all_tables())
    return all_tables()[name]


def _read_all() -> Iterator[Table]:
    for file in (files(__package__) / "papers").iterdir():
        name, dot, suffix = file.name.rpartition(".")
        if dot and suffix == "yaml":
            yield read_table(name, file.read_text(encoding="utf-8"))
