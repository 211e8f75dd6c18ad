"""Base class of all adjustments."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import numpy as np

from counterpoise.balance.class_weights import counts_as_array
from counterpoise.exceptions import InputError, UnknownNameError

if TYPE_CHECKING:
    from torch import Tensor

# Parts of a cross-fit.
PARTS = 5


class Adjustment(ABC):
    """Base of changes of the logits that are learned from validation logits, or from the class counts alone.

    The base checks the input and turns the state into JSON; an adjustment fills ``_fit`` and ``_transform``, and
    ``_transform_tensor`` for exported models. ``_fit`` stores arrays and numbers in attributes that end in an
    underscore.
    """

    #: Width of the logits that it was fitted for.
    num_classes_: int

    @property
    def needs_logits(self) -> bool:
        """Whether `fit` needs logits and labels; otherwise they may be None."""
        return True

    @abstractmethod
    def _fit(self, logits: np.ndarray, labels: np.ndarray, class_counts: np.ndarray) -> None:
        """Set the learned attributes."""

    @abstractmethod
    def _transform(self, logits: np.ndarray) -> np.ndarray:
        """Return the adjusted logits (N, C), float64."""

    def _transform_tensor(self, logits: Tensor) -> Tensor:
        """Return the adjusted logits (N, C), float64, by torch operations alone."""
        raise InputError(f"{type(self).__name__} cannot be written as operations on tensors")

    def fit(self, logits: Any, labels: Any, class_counts: Any) -> Adjustment:
        """Learn the adjustment and return it.

        Parameters
        ----------
        logits : array-like of float, shape (N, C), or None
            Scores of validation images, never of test images. None where the adjustment needs none.
        labels : array-like of int, shape (N,), or None
            Their classes 0..C-1.
        class_counts : array-like of int, shape (C,)
            Training images of each class.

        Raises
        ------
        InputError
            If shapes do not fit, an option is refused, or needed logits are missing.
        """
        counts = counts_as_array(class_counts)
        scores = np.empty((0, len(counts))) if logits is None else _checked_logits(logits, len(counts))
        classes = _checked_labels([] if labels is None else labels, scores)
        if self.needs_logits and not len(scores):
            raise InputError(
                f"{type(self).__name__} learns from validation logits and labels, found none;"
                " keep a validation split"
            )
        if not np.isfinite(scores).all():
            raise InputError(
                "the logits hold NaN or infinity; expected finite numbers: did training diverge?"
            )
        self._fit(scores.astype(np.float64), classes, counts)
        self.num_classes_ = len(counts)
        return self

    def transform(self, logits: Any) -> np.ndarray:
        """Return adjusted logits (N, C), of the floating type of the input, which is not changed.

        Raises
        ------
        InputError
            If it is not fitted, or for another number of classes.
        """
        self._check_fitted()
        scores = _checked_logits(logits, self.num_classes_)
        return self._transform(scores.astype(np.float64)).astype(scores.dtype, copy=False)

    def transform_tensor(self, logits: Tensor) -> Tensor:
        """Return what `transform` does, in float64, by operations that torch can differentiate and export.

        Raises
        ------
        InputError
            If it is not fitted, or has no form in torch operations.
        """
        self._check_fitted()
        return self._transform_tensor(logits.double())

    def cross_fit(self, logits: Any, labels: Any, class_counts: Any) -> np.ndarray:
        """Return adjusted logits of validation images, for scores that are not biased by the fit.

        The arguments are those of `fit`. The images are split, stratified by class, into five parts; each part is
        adjusted by what the other four teach. Where nothing is learned from logits, this is plain adjusting. The
        adjustment itself does not change.
        """
        rows, classes = np.asarray(logits), np.asarray(labels)
        if not self.needs_logits:
            return self._copy().fit(None, None, class_counts).transform(rows)
        part = np.empty(len(classes), dtype=np.int64)
        part[np.argsort(classes, kind="stable")] = np.arange(len(classes)) % PARTS
        adjusted = rows.copy()
        for number in range(PARTS):
            own = part == number
            if own.any() and not own.all():
                fitted = self._copy().fit(rows[~own], classes[~own], class_counts)
                adjusted[own] = fitted.transform(rows[own])
        return adjusted

    def get_state(self) -> dict[str, Any]:
        """Return name, options and learned values as plain JSON, for :func:`adjustment_from_state`."""
        learned = {name: _plain(value) for name, value in vars(self).items() if name.endswith("_")}
        options = {name: _plain(value) for name, value in self._options().items()}
        return {"name": type(self).__name__, "options": options, "learned": learned}

    def _check_fitted(self) -> None:
        if not hasattr(self, "num_classes_"):
            raise InputError(f"this {type(self).__name__} is not fitted; call fit first")

    def _options(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in inspect.signature(type(self)).parameters}

    def _copy(self) -> Adjustment:
        """Return an unfitted copy with the same options."""
        return type(self)(**self._options())

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Adjustment:
        """Return the adjustment whose `get_state` returned `state`; InputError for the state of another class."""
        if state.get("name") != cls.__name__:
            raise InputError(f"found the state of {state.get('name')!r}; expected that of {cls.__name__!r}")
        adjustment = cls(**state["options"])
        for name, value in state["learned"].items():
            setattr(adjustment, name, np.asarray(value) if isinstance(value, list) else value)
        return adjustment


def adjustment_from_state(state: Mapping[str, Any]) -> Adjustment:
    """Return the adjustment whose ``get_state`` returned `state`; UnknownNameError if there is none of that name.

    Examples
    --------
    >>> from counterpoise.balance.adjust import LogitAdjustment
    >>> state = LogitAdjustment(tau=0.5).fit(None, None, [9, 1]).get_state()
    >>> adjustment_from_state(state).tau
    0.5
    """
    from counterpoise.balance.adjust import ADJUSTMENTS  # the catalog imports this module on use

    known = {entry.attribute: entry for entry in ADJUSTMENTS}
    name = str(state.get("name"))
    if name not in known:
        raise UnknownNameError("adjustment", name, known)
    return known[name].load().from_state(state)


def _plain(value: Any) -> Any:
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, tuple):
        return list(value)
    return value.tolist() if isinstance(value, (np.ndarray, np.generic)) else value


def _checked_logits(logits: Any, num_classes: int) -> np.ndarray:
    scores = np.asarray(logits)
    if scores.dtype.kind in "iu":
        scores = scores.astype(np.float64)
    if scores.ndim != 2 or scores.shape[1] != num_classes or scores.dtype.kind != "f":
        raise InputError(
            f"logits are {scores.dtype} of shape {scores.shape}; expected floats of shape (N, {num_classes})"
        )
    return scores


def _checked_labels(labels: Any, scores: np.ndarray) -> np.ndarray:
    classes = np.asarray(labels) if len(labels) else np.empty(0, dtype=np.int64)
    if classes.shape != (len(scores),):
        raise InputError(
            f"found {len(scores)} rows of logits and {len(classes)} labels; give one label for each row"
        )
    highest = scores.shape[1] - 1
    if classes.dtype.kind not in "iu" or ((classes < 0) | (classes > highest)).any():
        raise InputError(f"labels must be whole numbers from 0 to {highest}, one for each row of logits")
    return classes.astype(np.int64)


def highest_at_zero(scores: np.ndarray) -> np.ndarray:
    """Return rows shifted so that the highest value is 0.

    A cast to a narrower type then cannot make another class the first of the highest.

    Examples
    --------
    >>> highest_at_zero(np.array([[1.0, 3.0]]))
    array([[-2.,  0.]])
    """
    return scores - scores.max(axis=1, keepdims=True)


def tensor_highest_at_zero(scores: Tensor) -> Tensor:
    """Return the same for a tensor (N, C)."""
    return scores - scores.amax(dim=1, keepdim=True)


def log_shares(class_counts: np.ndarray) -> np.ndarray:
    """Return the logarithms of the class shares, float64 (C,); 0 for a class without images."""
    present = class_counts > 0
    logs = np.zeros(len(class_counts))
    logs[present] = np.log(class_counts[present] / class_counts.sum())
    return logs
