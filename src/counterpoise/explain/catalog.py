"""The explainers by name.

Every explainer in a module of this package has an entry, so that a new one needs only its own file.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from typing import Any

from torch import nn

from counterpoise.catalogs import Catalog, Entry
from counterpoise.explain.base import Explainer


def _entries() -> Iterator[Entry]:
    package = importlib.import_module("counterpoise.explain")
    for found in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        for kind in vars(importlib.import_module(found.name)).values():
            own = isinstance(kind, type) and kind.__module__ == found.name
            if own and issubclass(kind, Explainer) and not inspect.isabstract(kind):
                yield Entry(
                    name=kind.name,
                    target=f"{found.name}:{kind.__name__}",
                    title=kind.title,
                    summary=kind.meaning,
                    source=kind.source,
                )


#: Explainers that can be chosen as `method`.
EXPLAINERS = Catalog("method of explaining", _entries(), entry_point="counterpoise.explainers")


def create_explainer(name: str, network: nn.Module, **options: Any) -> Explainer:
    """Create an explainer of a network by its name in `EXPLAINERS`.

    Raises
    ------
    UnknownNameError
        If there is no such explainer; the message suggests the nearest name.

    Examples
    --------
    >>> create_explainer("grad-cam", nn.Linear(1, 1), layer="backbone").layer
    'backbone'
    """
    return EXPLAINERS[name].load()(network, **options)
