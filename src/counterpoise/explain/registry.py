"""The explainers by name."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from torch import nn

from counterpoise.exceptions import UnknownNameError
from counterpoise.explain.base import Explainer
from counterpoise.explain.grad_cam import GradCAM
from counterpoise.explain.lime import LIME
from counterpoise.explain.occlusion import Occlusion

#: What can be chosen as `method`.
EXPLAINERS: Mapping[str, type[Explainer]] = MappingProxyType(
    {kind.name: kind for kind in (GradCAM, LIME, Occlusion)}
)


def create_explainer(name: str, network: nn.Module, **options: Any) -> Explainer:
    """Build an explainer by name.

    Parameters
    ----------
    name : str
        One of `EXPLAINERS`.
    network : torch.nn.Module
        What to explain.
    **options : Any
        As the explainer takes them.

    Raises
    ------
    UnknownNameError
        If there is none of that name; the nearest is suggested.

    Examples
    --------
    >>> create_explainer("grad-cam", nn.Linear(1, 1), layer="backbone").layer
    'backbone'
    """
    if name not in EXPLAINERS:
        raise UnknownNameError("method of explaining", name, EXPLAINERS)
    return EXPLAINERS[name](network, **options)
