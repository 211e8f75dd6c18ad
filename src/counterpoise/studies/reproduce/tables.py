"""What a published table is: its settings, read from ``papers/``."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

from counterpoise.catalogs import Catalog


class Setting(BaseModel):
    """One line of a table: data, imbalance and training.

    Attributes
    ----------
    data : str
        A name of ``sources.yaml``.
    weights : str or None
        File of pretrained weights, below the data folder.
    methods : tuple of str
        Compared with the published methods of the same name.
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
        """Share of minority classes (mu in the poster), where it is given as one."""
        return float(self.minority) if self.minority is not None and "." in self.minority else None

    @property
    def name(self) -> str:
        """Short name for folders and tables.

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
        """Title for people.

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
    """Published table and its protocol.

    Attributes
    ----------
    name : str
        Name as typed by users.
    study : {"methods", "transfer", "enhance"}
        Kind of its runs.
    published : str or None
        The file with its numbers.
    repeats : int
        Default number of repeats.
    settings : tuple of Setting
        Its lines.
    notes : tuple of str
        What the paper leaves open, and the choice made here.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    title: str
    paper: str
    study: Literal["methods", "transfer", "enhance"] = "methods"
    published: str | None = None
    repeats: int = Field(ge=1)
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
        """Names of the datasets that it needs."""
        return tuple(dict.fromkeys(setting.data for setting in self.settings))


def read_table(name: str, text: str) -> Table:
    """Read a table of ``papers/``, where ``defaults`` holds what its settings share."""
    values: dict[str, Any] = yaml.safe_load(text)
    defaults = values.pop("defaults", {})
    settings = [defaults | setting for setting in values.pop("settings")]
    return Table.model_validate(values | {"name": name, "settings": settings})


@cache
def all_tables() -> Catalog[Table]:
    """Return every table.

    Examples
    --------
    >>> all_tables()["thesis-7.2"].settings[0].title
    'fashion-mnist, ρ 10'
    """
    papers = sorted((files(__package__) / "papers").iterdir(), key=lambda file: file.name)
    names = [file.name.removesuffix(".yaml") for file in papers]
    return Catalog(
        "table",
        [
            read_table(name, file.read_text(encoding="utf-8"))
            for name, file in zip(names, papers, strict=True)
        ],
    )


def get_table(name: str) -> Table:
    """Return the table of that name; raises `UnknownNameError` if there is none."""
    return all_tables()[name]
