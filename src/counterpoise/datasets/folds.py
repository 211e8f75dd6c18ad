"""Folds for cross-validation: stratified, grouped, and usable where a class has very few images."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import ArrayLike

from counterpoise.datasets.profiles import RandomState, generator
from counterpoise.exceptions import DataError, InputError

ALWAYS_TRAINING = -1


def make_folds(
    labels: ArrayLike,
    groups: ArrayLike | None = None,
    *,
    folds: int = 5,
    repeats: int = 1,
    random_state: RandomState,
) -> np.ndarray:
    """Divide images into stratified folds; groups stay together.

    scikit-learn's folds, with two promises that they lack: no class with at least two groups is missing from the images
    outside of a fold, and the only group of a class is in no fold, so that it is always trained on.

    Parameters
    ----------
    labels : array of int, shape (N,)
        Class indices.
    groups : array, shape (N,), optional
        Images with the same value stay together. Default: each image is a group.
    folds, repeats : int
        Folds of one repeat, at least 2, and repeats, each divided in another way.
    random_state : int, Generator, RandomState or None
        The same value gives the same folds.

    Returns
    -------
    numpy.ndarray of int64, shape (repeats, N)
        Fold of each image, 0 .. folds - 1, or -1: always training.

    Examples
    --------
    >>> make_folds([0, 0, 0, 0, 1, 1, 2], folds=2, random_state=0).tolist()
    [[0, 1, 0, 1, 1, 0, -1]]
    """
    classes, inverse = _check(labels, groups, folds, repeats)
    table = np.zeros((inverse.max() + 1, classes.max() + 1), dtype=np.int64)
    np.add.at(table, (inverse, classes), 1)
    present = table > 0
    lone = np.asarray(present[:, present.sum(axis=0) == 1].any(axis=1))
    if lone.all():
        raise DataError(
            "each class has one image or group; expected at least two of a class, to train on one and test on another"
        )
    inside = np.logical_not(lone)[inverse]
    rng = generator(random_state)
    result = np.full((repeats, len(classes)), ALWAYS_TRAINING, dtype=np.int64)
    for row in result:
        fold_of = np.full(len(table), ALWAYS_TRAINING)
        seed = int(rng.integers(2**31))
        fold_of[inverse[inside]] = _divide(classes[inside], inverse[inside], folds, seed)
        _spread(fold_of, table, folds)
        row[:] = fold_of[inverse]
    return result


def _check(
    labels: ArrayLike, groups: ArrayLike | None, folds: int, repeats: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the classes and the groups of the images, both as indices from 0."""
    array = np.asarray(labels)
    if array.ndim != 1 or array.dtype.kind not in "iu" or not len(array):
        raise InputError(f"`labels` are {array.dtype} {array.shape}; expected class indices of shape (N,)")
    if folds < 2 or repeats < 1:
        raise InputError(f"found `folds` {folds} and `repeats` {repeats}; expected at least 2 and 1")
    inverse = np.arange(len(array))
    if groups is not None:
        if np.shape(groups) != array.shape:
            raise InputError(
                f"`groups` have shape {np.shape(groups)}; expected that of `labels`, {array.shape}"
            )
        inverse = np.unique(np.asarray(groups), return_inverse=True)[1]
    return np.unique(array, return_inverse=True)[1], inverse


def _divide(labels: np.ndarray, groups: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """Return scikit-learn's fold of each image."""
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    count = len(np.unique(groups))
    # scikit-learn refuses more folds than groups or images of the largest class, and warns where a class has fewer.
    possible = min(folds, count, int(np.bincount(labels).max()))
    fold_of = np.zeros(len(labels), dtype=np.int64)
    if possible < 2:
        return fold_of
    kind = StratifiedGroupKFold if count < len(groups) else StratifiedKFold
    splitter = kind(possible, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        for fold, (_, members) in enumerate(splitter.split(labels, labels, groups)):
            fold_of[members] = fold
    return fold_of


def _spread(fold_of: np.ndarray, table: np.ndarray, folds: int) -> None:
    """Move groups, in place, until every class is in as many folds as it has groups, or in all.

    Where groups of several classes make this impossible, a class that is in one fold only keeps a group in training.
    """
    members = {c: np.flatnonzero(table[:, c]) for c in range(table.shape[1])}
    wanted = {c: min(folds, len(found)) for c, found in members.items()}

    def missing(classes: np.ndarray) -> int:
        return sum(max(0, wanted[c] - len(np.unique(fold_of[members[c]]))) for c in classes.tolist())

    for c in sorted(members, key=lambda c: len(members[c])):
        # The largest group of a fold stays, so that the images of the class are spread as well.
        for group in sorted(members[c].tolist(), key=lambda group: (table[group].sum(), group)):
            own, old = np.flatnonzero(table[group]), fold_of[group]
            if old < 0 or (fold_of[members[c]] == old).sum() == 1 or not missing(np.array([c])):
                continue
            sizes = np.bincount(fold_of[fold_of >= 0], table.sum(axis=1)[fold_of >= 0], minlength=folds)
            before = missing(own)
            for new in sorted(set(range(folds)) - set(fold_of[members[c]].tolist()), key=sizes.__getitem__):
                fold_of[group] = new
                if missing(own) < before:
                    break
                fold_of[group] = old
    for found in members.values():
        if len(np.unique(fold_of[found])) == 1 and fold_of[found[0]] >= 0:
            fold_of[min(found.tolist(), key=lambda group: (table[group].sum(), group))] = ALWAYS_TRAINING
