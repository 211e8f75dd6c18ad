"""Imbalance profiles: how many training images each class keeps.

Notation: class c has n_c images, n_max is the largest of them, C the number of classes, rho the imbalance ratio
`ratio`, at least 1 and at most n_max. A class that has fewer images than its profile asks for keeps what it has.
"""

from __future__ import annotations

import math
import numbers
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, ClassVar, TypedDict

import numpy as np

from counterpoise.exceptions import InputError, UnknownNameError

#: Accepted values of ``random_state``.
RandomState = int | np.random.Generator | np.random.RandomState | None

# Wanted class sizes, and the profile's own minority classes if it names any.
Targets = tuple[np.ndarray, tuple[int, ...] | None]


class _NamedProfile(TypedDict):
    profile: str


class ProfileDict(_NamedProfile, total=False):
    """Imbalance profile as JSON-able values: its name and its options."""

    ratio: float
    minority: int | float | list[int]
    balanced: bool


@dataclass(frozen=True)
class ImbalanceProfile(ABC):
    """Base class of the profiles; a subclass fills `_targets`."""

    name: ClassVar[str]

    def draw(self, counts: np.ndarray, rng: np.random.Generator) -> Targets:
        """Return the class sizes after thinning, int64 of shape (C,), and the minority classes that the profile names.

        `counts` are the images per class; InputError is raised if the profile does not fit them.
        """
        counts = np.asarray(counts, dtype=np.int64)
        if counts.ndim != 1 or len(counts) < 2:
            raise InputError(f"found {counts.size} class; an imbalance needs at least two")
        targets, minority = self._targets(self._largest(counts), len(counts), rng)
        return np.minimum(counts, targets), minority

    def to_dict(self) -> ProfileDict:
        """Return the profile as JSON-able values."""
        return {"profile": self.name}

    def _largest(self, counts: np.ndarray) -> int:
        return int(counts.max())

    @abstractmethod
    def _targets(self, largest: int, num_classes: int, rng: np.random.Generator) -> Targets: ...


@dataclass(frozen=True)
class NaturalImbalance(ImbalanceProfile):
    """Every class keeps all of its images."""

    name: ClassVar[str] = "natural"

    def _targets(self, largest: int, num_classes: int, rng: np.random.Generator) -> Targets:
        return np.full(num_classes, largest), None


@dataclass(frozen=True)
class _RatioProfile(ImbalanceProfile):
    """Base class of profiles with a ratio.

    With `balanced`, all classes are first cut to the size of the smallest, and wanted sizes are rounded to the nearest
    number instead of down, as the authors of the poster do.
    """

    ratio: float
    balanced: bool = field(default=False, kw_only=True)

    def to_dict(self) -> ProfileDict:
        balanced: ProfileDict = {"profile": self.name, "ratio": float(self.ratio)}
        return {**balanced, "balanced": True} if self.balanced else balanced

    def _largest(self, counts: np.ndarray) -> int:
        return int(counts.min() if self.balanced else counts.max())

    def _size(self, size: float) -> int:
        return max(1, round(size)) if self.balanced else _floor(size)


@dataclass(frozen=True)
class StepImbalance(_RatioProfile):
    """Minority classes keep floor(n_max / rho) images, the others all.

    `minority` is the number of classes, drawn at random; or their share (mu, between 0 and 1); or their indices.
    Buda, Maki, Mazurowski, "A systematic study of the class imbalance problem in convolutional neural networks",
    Neural Networks 106 (2018), section 3.1: mu and rho.

    Examples
    --------
    >>> StepImbalance(20, minority=[2]).draw(np.array([100, 100, 100]), np.random.default_rng(0))
    (array([100, 100,   5]), (2,))
    >>> StepImbalance(20, minority=[2], balanced=True).draw(np.array([100, 90, 99]), np.random.default_rng(0))
    (array([90, 90,  4]), (2,))
    """

    name: ClassVar[str] = "step"
    minority: int | float | Sequence[int]

    def to_dict(self) -> ProfileDict:
        """Return the profile as JSON-able values."""
        minority = np.asarray(self.minority).tolist()  # NumPy's integers are not JSON
        return {**super().to_dict(), "minority": minority}

    def _targets(self, largest: int, num_classes: int, rng: np.random.Generator) -> Targets:
        _check_ratio(self.ratio, largest)
        if isinstance(self.minority, (Sequence, np.ndarray)) and not isinstance(self.minority, str):
            minority = _check_indices(self.minority, num_classes)
        else:
            count = _check_number(self.minority, num_classes)
            minority = tuple(sorted(rng.permutation(num_classes)[:count].tolist()))
        targets = np.full(num_classes, largest)
        targets[list(minority)] = self._size(largest / self.ratio)
        return targets, minority


@dataclass(frozen=True)
class LinearImbalance(_RatioProfile):
    """Class sizes fall linearly from n_max to n_max / rho over a random order of the classes.

    The class at position r of that order (0 to C - 1) keeps floor(n_max - (n_max - n_max / rho) r / (C - 1)) images.

    Examples
    --------
    >>> sorted(LinearImbalance(10).draw(np.array([100, 100, 100]), np.random.default_rng(0))[0].tolist())
    [10, 55, 100]
    """

    name: ClassVar[str] = "linear"

    def _targets(self, largest: int, num_classes: int, rng: np.random.Generator) -> Targets:
        _check_ratio(self.ratio, largest)
        smallest = largest / self.ratio
        targets = np.empty(num_classes, np.int64)
        for position, index in enumerate(rng.permutation(num_classes)):
            targets[index] = self._size(largest - (largest - smallest) * position / (num_classes - 1))
        return targets, None


@dataclass(frozen=True)
class LongTailImbalance(_RatioProfile):
    """Class i, in the order given, keeps floor(n_max rho^(-i / (C - 1))) images.

    Cao et al., "Learning imbalanced datasets with label-distribution-aware margin loss", NeurIPS 2019, section 4.

    Examples
    --------
    >>> LongTailImbalance(100).draw(np.array([500, 500, 500]), np.random.default_rng(0))[0].tolist()
    [500, 50, 5]
    """

    name: ClassVar[str] = "long-tail"

    def _targets(self, largest: int, num_classes: int, rng: np.random.Generator) -> Targets:
        _check_ratio(self.ratio, largest)
        sizes = [largest * self.ratio ** (-index / (num_classes - 1)) for index in range(num_classes)]
        return np.array([self._size(size) for size in sizes], dtype=np.int64), None


#: Every profile by name.
PROFILES: dict[str, type[ImbalanceProfile]] = {
    kind.name: kind for kind in (NaturalImbalance, StepImbalance, LinearImbalance, LongTailImbalance)
}


def create_profile(
    name: str,
    *,
    ratio: float | None = None,
    minority: int | float | Sequence[int] | None = None,
    balanced: bool = False,
) -> ImbalanceProfile:
    """Return a profile by name, one of `PROFILES`; InputError is raised if the options are not those that it needs.

    Examples
    --------
    >>> create_profile("step", ratio=20, minority=3)
    StepImbalance(ratio=20, balanced=False, minority=3)
    """
    if name not in PROFILES:
        raise UnknownNameError("imbalance profile", name, PROFILES)
    kind = PROFILES[name]
    known = fields(kind)
    required = [option.name for option in known if option.default is MISSING]
    options = {"ratio": ratio, "minority": minority, "balanced": balanced or None}
    given: dict[str, Any] = {key: value for key, value in options.items() if value is not None}
    for key in given:
        if key not in [option.name for option in known]:
            advice = f"leave `{key}` out or choose another `imbalance`"
            raise InputError(f"imbalance {name!r} takes no {key}; {advice}")
    for key in required:
        if key not in given:
            raise InputError(f"imbalance {name!r} needs a {key}; give `{key}`")
    return kind(**given)


def make_imbalance(
    labels: np.ndarray, profile: ImbalanceProfile, *, random_state: RandomState = None
) -> np.ndarray:
    """Choose the images that an imbalance profile keeps, at random within each class.

    `labels` are class indices from 0, shape (N,); the result are the indices of the kept images, int64, ascending. With
    the same seed, a step profile keeps a subset of what it keeps at a lower ratio.

    Examples
    --------
    >>> labels = np.repeat([0, 1], 100)
    >>> kept = make_imbalance(labels, StepImbalance(10, minority=[1]), random_state=0)
    >>> np.bincount(labels[kept]).tolist()
    [100, 10]
    """
    return thin(np.asarray(labels), profile, generator(random_state))[0]


def generator(random_state: RandomState) -> np.random.Generator:
    """Return a NumPy generator for a random state; a generator is returned as it is."""
    if random_state is None or isinstance(random_state, np.random.Generator):
        return np.random.default_rng(random_state)
    if isinstance(random_state, np.random.RandomState):
        return np.random.default_rng(random_state.randint(2**31))
    integer = isinstance(random_state, numbers.Integral) and not isinstance(random_state, bool)
    if not integer or random_state < 0:
        raise InputError(
            f"random_state is {random_state!r}; expected a seed of 0 or more, a generator or None"
        )
    return np.random.default_rng(int(random_state))


def thin(
    labels: np.ndarray, profile: ImbalanceProfile, rng: np.random.Generator, num_classes: int = 0
) -> tuple[np.ndarray, tuple[int, ...] | None]:
    """Return the kept indices, ascending, and the profile's own minority classes."""
    if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer) or (labels.size and labels.min() < 0):
        found = f"{labels.dtype} of shape {labels.shape}"
        raise InputError(f"labels are {found}; expected class indices from 0, (N,)")
    counts = np.bincount(labels, minlength=num_classes)
    kept, minority = profile.draw(counts, rng)
    # Shuffling every class whole, thinned or not, makes a lower ratio keep all that a higher one keeps.
    chosen = [rng.permutation(np.flatnonzero(labels == index))[: kept[index]] for index in range(len(counts))]
    return np.sort(np.concatenate(chosen)).astype(np.int64), minority


def _check_ratio(ratio: float, largest: int) -> None:
    """Raise unless `ratio` leaves each class an image when the largest class has `largest`."""
    number = isinstance(ratio, numbers.Real) and not isinstance(ratio, bool)
    if not (number and math.isfinite(ratio) and ratio >= 1):
        raise InputError(
            f"imbalance ratio is {ratio!r}; expected a number of at least 1 (largest / smallest class)"
        )
    if largest / ratio < 1:
        raise InputError(
            f"imbalance ratio {ratio:g} leaves less than one image of a class: the largest has {largest} "
            f"training images, so the ratio can be {largest} at most"
        )


def _floor(size: float) -> int:
    """Round down, tolerating rounding errors such as 9.9999999999 for 10."""
    return math.floor(size + 1e-9)


def _check_indices(minority: Sequence[int] | np.ndarray, num_classes: int) -> tuple[int, ...]:
    if not len(minority) or not all(isinstance(index, numbers.Integral) for index in minority):
        raise InputError(f"minority is {minority!r}; expected class indices")
    chosen = tuple(sorted({int(index) for index in minority}))
    if not 0 <= chosen[0] <= chosen[-1] < num_classes:
        raise InputError(f"minority is {list(chosen)}; expected class indices from 0 to {num_classes - 1}")
    if len(chosen) >= num_classes:
        raise InputError(f"all {num_classes} classes are in minority; leave at least one as majority")
    return chosen


def _check_number(minority: Any, num_classes: int) -> int:
    if isinstance(minority, bool) or not isinstance(minority, numbers.Real):
        raise InputError(f"minority is {minority!r}; expected a number of classes, a share, or a list")
    if isinstance(minority, numbers.Integral):
        if not 1 <= int(minority) < num_classes:
            raise InputError(
                f"minority is {minority} of {num_classes} classes; expected 1 to {num_classes - 1}"
            )
        return int(minority)
    share = float(minority)
    if not 0 < share < 1:
        raise InputError(f"minority is {share!r}; expected a share of classes above 0 and below 1")
    return min(max(1, math.floor(share * num_classes + 0.5)), num_classes - 1)
