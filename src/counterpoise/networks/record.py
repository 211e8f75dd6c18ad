"""The record of a network."""

from __future__ import annotations

import importlib
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class NetworkRecord:
    """A network's name, what it is, and where its class lives.

    Parameters
    ----------
    name : str
        As typed by users and written to ``run.json``.
    description : str
        One sentence: its layers.
    paper : str
        Where it is from.
    build : str
        ``"module:Class"``; imported when the network is built, not before.
    default_for : str
        For which images it is taken when none is named; empty if never.
    smallest_image : int
        Least height and width in pixels.
    order : int
        Where it stands in lists.
    """

    name: str
    description: str
    paper: str
    build: str
    default_for: str = ""
    smallest_image: int = 1
    order: int = 100

    def load(self) -> type:
        """Import and return the class."""
        module, _, class_name = self.build.partition(":")
        return getattr(importlib.import_module(module), class_name)
