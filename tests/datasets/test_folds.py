"""Folds: stratified, grouped, deterministic, and no class that is missing from training."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from counterpoise.datasets import make_folds
from counterpoise.exceptions import DataError, InputError


def groups_per_class(labels, groups):
    return {c: set(groups[labels == c].tolist()) for c in np.unique(labels).tolist()}


def check_promises(labels, groups, result, folds):
    """Groups together; each class is trained on in every fold; the only group of a class is in no fold."""
    assert result.dtype == np.int64
    assert ((result >= -1) & (result < folds)).all()
    for row in result:
        for group in np.unique(groups):
            assert len(set(row[groups == group].tolist())) == 1
        for c, members in groups_per_class(labels, groups).items():
            if len(members) == 1:
                assert (row[labels == c] == -1).all()
            for fold in range(folds):
                assert (labels[row != fold] == c).any()


@given(
    counts=st.lists(st.integers(1, 30), min_size=2, max_size=6).filter(lambda c: max(c) > 1),
    folds=st.integers(2, 7),
    repeats=st.integers(1, 3),
    seed=st.integers(0, 2**31),
)
@settings(max_examples=100)
def test_folds_are_stratified(counts, folds, repeats, seed):
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))
    result = make_folds(labels, folds=folds, repeats=repeats, random_state=seed)
    assert result.shape == (repeats, len(labels))
    check_promises(labels, np.arange(len(labels)), result, folds)
    assert np.array_equal(result, make_folds(labels, folds=folds, repeats=repeats, random_state=seed))
    for row in result:
        for c, count in enumerate(counts):
            in_folds = np.bincount(row[(labels == c) & (row >= 0)], minlength=folds)
            if count > 1:
                assert in_folds.sum() == count
                assert in_folds.max() - in_folds.min() <= 1


@given(
    images=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 12)), min_size=4, max_size=60),
    folds=st.integers(2, 5),
    seed=st.integers(0, 2**31),
)
@settings(max_examples=200)
def test_groups_of_any_classes_stay_together(images, folds, seed):
    labels, groups = np.array(images).T
    try:
        result = make_folds(labels, groups, folds=folds, repeats=2, random_state=seed)
    except DataError:
        lone = {g for found in groups_per_class(labels, groups).values() if len(found) == 1 for g in found}
        assert lone == set(groups.tolist())
        return
    check_promises(labels, groups, result, folds)


@given(
    sizes=st.lists(st.lists(st.integers(1, 6), min_size=2, max_size=8), min_size=2, max_size=4),
    folds=st.integers(2, 5),
    seed=st.integers(0, 2**31),
)
@settings(max_examples=100)
def test_the_groups_of_a_rare_class_are_in_as_many_folds_as_possible(sizes, folds, seed):
    labels = np.concatenate([np.repeat(c, sum(found)) for c, found in enumerate(sizes)])
    groups = np.concatenate([np.repeat(np.arange(len(f)), f) + 10 * c for c, f in enumerate(sizes)])
    (row,) = make_folds(labels, groups, folds=folds, random_state=seed)
    check_promises(labels, groups, row[None], folds)
    for c, found in enumerate(sizes):
        assert len(np.unique(row[labels == c])) == min(folds, len(found))


def test_groups_that_cannot_be_spread_stay_in_training():
    # Three classes, three groups that hold two classes each: two folds cannot separate all three pairs.
    labels, groups = np.array([0, 2, 0, 1, 1, 2]), np.array([0, 0, 1, 1, 2, 2])
    (row,) = make_folds(labels, groups, folds=2, random_state=0)
    check_promises(labels, groups, row[None], 2)
    assert (row == -1).sum() == 2


def test_repeats_differ():
    first, second = make_folds(np.repeat([0, 1], 20), folds=5, repeats=2, random_state=0)
    assert (first != second).any()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"labels": [0.5, 1]}, "`labels`"),
        ({"labels": []}, "`labels`"),
        ({"groups": [0]}, r"`groups` have shape \(1,\)"),
        ({"folds": 1}, "`folds` 1"),
        ({"repeats": 0}, "`repeats` 0"),
        ({"labels": [0, 1, 2, 3]}, "each class has one image or group"),
    ],
)
def test_unusable_input_is_refused(changed, message):
    arguments = {"labels": [0, 0, 1, 1], "random_state": 0} | changed
    with pytest.raises(InputError, match=message):
        make_folds(**arguments)
