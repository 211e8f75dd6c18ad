"""The confusion matrix against scikit-learn, the lecture's expressions and slow loops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import multilabel_confusion_matrix

from counterpoise.evaluation import class_outcomes, confusion_matrix, total_outcomes
from counterpoise.exceptions import InputError

# the lecture's c_ij has the PREDICTED class first: "c21: number of class-1 predicted as class2"
LECTURE = {"c11": 50, "c12": 3, "c13": 5, "c21": 7, "c22": 60, "c23": 11, "c31": 13, "c32": 17, "c33": 70}
MATRIX = np.array([[LECTURE[f"c{predicted}{true}"] for predicted in (1, 2, 3)] for true in (1, 2, 3)])
LECTURE_SUMS = {
    "tn": ["c22 + c23 + c32 + c33", "c11 + c13 + c31 + c33", "c11 + c12 + c21 + c22"],
    "fp": ["c12 + c13", "c21 + c23", "c31 + c32"],
    "fn": ["c21 + c31", "c12 + c32", "c13 + c23"],
    "tp": ["c11", "c22", "c33"],
}


def test_rows_are_true_classes() -> None:
    matrix = confusion_matrix([0, 0, 0, 1], [1, 1, 2, 1], num_classes=3)
    assert matrix.tolist() == [[0, 2, 1], [0, 1, 0], [0, 0, 0]]
    assert matrix.dtype == np.int64


@pytest.mark.parametrize("kind", ["tp", "tn", "fp", "fn"])
def test_lecture_expressions(kind: str) -> None:
    expected = [sum(LECTURE[term] for term in line.split(" + ")) for line in LECTURE_SUMS[kind]]
    assert getattr(class_outcomes(MATRIX), kind).tolist() == expected
    assert getattr(total_outcomes(MATRIX), kind) == sum(expected)


def test_lecture_matrix_from_labels() -> None:
    true, predicted = (np.repeat(index.ravel(), MATRIX.ravel()) for index in np.indices((3, 3)))
    assert (confusion_matrix(true, predicted, num_classes=3) == MATRIX).all()


labels = arrays(np.int64, st.tuples(st.just(2), st.integers(1, 60)), elements=st.integers(0, 4))


@given(labels)
@settings(deadline=None)
def test_counts_equal_slow_loop_and_scikit_learn(pair: np.ndarray) -> None:
    true, predicted = pair
    matrix = confusion_matrix(true, predicted, num_classes=5)
    slow = np.zeros((5, 5), dtype=int)
    for t, p in zip(true, predicted, strict=True):
        slow[t, p] += 1
    assert (matrix == slow).all()
    outcomes = class_outcomes(matrix)
    peer = multilabel_confusion_matrix(true, predicted, labels=range(5))
    for kind, row, column in (("tn", 0, 0), ("fp", 0, 1), ("fn", 1, 0), ("tp", 1, 1)):
        assert (getattr(outcomes, kind) == peer[:, row, column]).all()
    totals = total_outcomes(matrix)
    assert sum(totals) == len(true) * 5
    assert totals.fp == totals.fn


@pytest.mark.parametrize(
    ("true", "predicted", "message"),
    [
        ([0, 1], [0], "y_true has 2 samples but y_pred has 1"),
        ([0, 3], [0, 1], "y_true holds the label 3, expected class indices 0..2"),
        ([0, 1], [0, -1], "y_pred holds the label -1"),
        ([0.0, 1.0], [0, 1], "y_true has dtype float64"),
        ([[0], [1]], [0, 1], r"y_true has shape \(2, 1\)"),
        ([], [], "y_true is empty"),
    ],
)
def test_bad_labels(true: list, predicted: list, message: str) -> None:
    with pytest.raises(InputError, match=message):
        confusion_matrix(true, predicted, num_classes=3)


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        ([[1, 2, 3]], r"shape \(1, 3\), expected \(C, C\)"),
        ([[0.5, 0.5], [0.0, 1.0]], "do not normalize it"),
        ([[1, -1], [0, 1]], "whole numbers from 0"),
        ([[0, 0], [0, 0]], "counts no sample"),
    ],
)
def test_bad_matrices(matrix: list, message: str) -> None:
    with pytest.raises(InputError, match=message):
        class_outcomes(matrix)
