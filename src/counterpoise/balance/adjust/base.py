"""The contract of all adjustments."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from counterpoise.exceptions import InputError


class Adjustment(ABC):
    """A change of the logits that is learned from validation logits, or from the class counts alone.

    The base checks the input and turns the state into JSON; an adjustment fills ``_fit`` and ``_transform``.
    What ``_fit`` learns are arrays and numbers in attributes that end in an underscore.

    Attributes
    ----------
    num_classes_ : int
        Width of the logits that it was fitted for.
    """

    #: Whether `fit` needs logits and labels; otherwise they may be None.
    needs_logits = True

    num_classes_: int

    @abstractmethod
    def _fit(self, logits: np.ndarray, labels: np.ndarray, class_counts: np.ndarray) -> None:
        """Set the learned attributes."""

    @abstractmethod
    def _transform(self, logits: np.ndarray) -> np.ndarray:
        """Return the adjusted logits (N, C), float64."""

    def fit(self, logits: Any, labels: Any, class_counts: Any) -> Adjustment:
        """Learn the adjustment.

        Parameters
        ----------
        logits : array-like of float, shape (N, C), or None
            Scores of held-out images; never of test images. None where the adjustment needs none.
        labels : array-like of int, shape (N,), or None
            Their classes 0..C-1.
        class_counts : array-like of int, shape (C,)
            Training images of each class.

        Returns
        -------
        Adjustment
            Itself.

        Raises
        ------
        InputError
            If shapes do not fit, or the logits that it needs are missing.
        """
        counts = _checked_counts(class_counts)
        if self.needs_logits and (logits is None or labels is None):
            raise InputError(
                f"{type(self).__name__} learns from validation logits and labels, found none;"
                " keep a validation split"
            )
        scores = np.empty((0, len(counts))) if logits is None else _checked_logits(logits, len(counts))
        classes = np.empty(0, dtype=np.int64) if labels is None else np.asarray(labels)
        if len(classes) != len(scores):
            raise InputError(
                f"found {len(scores)} rows of logits and {len(classes)} labels; give one label for each row"
            )
        self.num_classes_ = len(counts)
        self._fit(scores, classes, counts)
        return self

    def transform(self, logits: Any) -> np.ndarray:
        """Return adjusted logits.

        Parameters
        ----------
        logits : array-like of float, shape (N, C)
            Scores before softmax; they are not changed.

        Returns
        -------
        ndarray of shape (N, C)
            Of the floating type that came in.

        Raises
        ------
        InputError
            If it is not fitted, or for another number of classes.
        """
        if not hasattr(self, "num_classes_"):
            raise InputError(f"this {type(self).__name__} is not fitted; call fit first")
        scores = _checked_logits(logits, self.num_classes_)
        return self._transform(scores.astype(np.float64)).astype(scores.dtype, copy=False)

    def get_state(self) -> dict[str, Any]:
        """Return name, options and what was learned as plain JSON, for :func:`adjustment_from_state`."""
        learned = {name: _plain(value) for name, value in vars(self).items() if name.endswith("_")}
        options = {name: getattr(self, name) for name in inspect.signature(type(self)).parameters}
        return {"name": type(self).__name__, "options": options, "learned": learned}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Adjustment:
        """Return the adjustment that `state` came from.

        Raises
        ------
        InputError
            If the state is that of another class.
        """
        if state.get("name") != cls.__name__:
            raise InputError(f"found the state of {state.get('name')!r}; expected that of {cls.__name__!r}")
        adjustment = cls(**state["options"])
        for name, value in state["learned"].items():
            setattr(adjustment, name, np.asarray(value) if isinstance(value, list) else value)
        return adjustment


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, (np.ndarray, np.generic)) else value


def _checked_counts(class_counts: Sequence[int] | np.ndarray) -> np.ndarray:
    counts = np.asarray(class_counts, dtype=np.float64)
    if (
        counts.ndim != 1
        or not counts.size
        or not np.isfinite(counts).all()
        or (counts < 0).any()
        or not counts.any()
    ):
        raise InputError(
            f"class counts are {counts.tolist()}; expected a count for each class, not all of them 0"
        )
    return counts


def _checked_logits(logits: Any, num_classes: int) -> np.ndarray:
    scores = np.asarray(logits)
    if scores.dtype.kind in "iu":
        scores = scores.astype(np.float64)
    if scores.ndim != 2 or scores.shape[1] != num_classes or scores.dtype.kind != "f":
        raise InputError(
            f"logits are {scores.dtype} of shape {scores.shape}; expected floats of shape (N, {num_classes})"
        )
    return scores
