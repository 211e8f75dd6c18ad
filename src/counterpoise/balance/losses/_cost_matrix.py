"""The cost matrix of a loss."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike

import numpy as np
from numpy.typing import ArrayLike
from torch import Tensor

from counterpoise.balance.class_weights import counts_as_array
from counterpoise.balance.costs import costs_from_counts, read_costs
from counterpoise.exceptions import InputError


def cost_matrix(
    costs: str | PathLike[str] | ArrayLike | None,
    class_counts: ArrayLike | None,
    class_names: Sequence[str] | None,
) -> np.ndarray:
    """Return the costs that were given, or those from the class counts, as float64 (C, C).

    Raises
    ------
    InputError
        If there are neither, or mistakes cost nothing.
    """
    counts = None if class_counts is None else counts_as_array(class_counts)
    if costs is not None:
        matrix = read_costs(costs, None if counts is None else len(counts), class_names=class_names)
    elif counts is not None:
        matrix = costs_from_counts(counts)
    else:
        raise InputError("there is no cost matrix; give costs=, or class_counts= to make one from")
    if not (matrix > matrix.diagonal()[:, None]).any():
        raise InputError(
            "no mistake costs more than the right decision; expected the true classes in the rows"
        )
    return matrix


def check_width(costs: Tensor, logits: Tensor) -> None:
    """Refuse logits of another number of classes."""
    if len(costs) != logits.shape[1]:
        raise InputError(
            f"the cost matrix is of {len(costs)} classes for {logits.shape[1]} logits; give one row for each"
        )
