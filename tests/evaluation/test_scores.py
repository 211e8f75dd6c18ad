"""Scores against scikit-learn, imbalanced-learn and the thesis's formulas written as loops."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from imblearn.metrics import geometric_mean_score, specificity_score
from sklearn.metrics import accuracy_score, precision_recall_fscore_support

from counterpoise.evaluation import (
    accuracy,
    class_f1_scores,
    class_precisions,
    class_recalls,
    class_specificities,
    confusion_matrix,
    geometric_mean,
    macro_average,
    micro_average,
)
from counterpoise.exceptions import InputError

CLASSES = 4


@st.composite
def label_pairs(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """True labels in which every class occurs, and any predictions."""
    rest = draw(arrays(np.int64, st.integers(0, 40), elements=st.integers(0, CLASSES - 1)))
    true = np.concatenate([np.arange(CLASSES), rest])
    predicted = draw(arrays(np.int64, len(true), elements=st.integers(0, CLASSES - 1)))
    return true, predicted


@given(label_pairs())
@settings(deadline=None)
def test_class_scores_equal_peers(pair: tuple[np.ndarray, np.ndarray]) -> None:
    true, predicted = pair
    matrix = confusion_matrix(true, predicted, num_classes=CLASSES)
    precision, recall, f1, _ = precision_recall_fscore_support(
        true, predicted, labels=range(CLASSES), zero_division=0
    )
    np.testing.assert_allclose(class_precisions(matrix), precision)
    np.testing.assert_allclose(class_recalls(matrix), recall)
    np.testing.assert_allclose(class_f1_scores(matrix), f1)
    np.testing.assert_allclose(
        class_specificities(matrix), specificity_score(true, predicted, labels=range(CLASSES), average=None)
    )
    assert accuracy(matrix) == pytest.approx(accuracy_score(true, predicted))


@given(label_pairs())
@settings(deadline=None)
def test_averages_equal_peers(pair: tuple[np.ndarray, np.ndarray]) -> None:
    true, predicted = pair
    matrix = confusion_matrix(true, predicted, num_classes=CLASSES)
    macro = precision_recall_fscore_support(true, predicted, average="macro", zero_division=0)
    micro = precision_recall_fscore_support(true, predicted, average="micro", zero_division=0)
    for position, (name, scores) in enumerate(
        [("precision", class_precisions), ("recall", class_recalls), ("f1", class_f1_scores)]
    ):
        assert macro_average(scores(matrix)) == pytest.approx(macro[position])
        assert micro_average(matrix)[name] == pytest.approx(micro[position])
    assert micro_average(matrix)["specificity"] == pytest.approx(
        specificity_score(true, predicted, average="micro")
    )
    assert geometric_mean(class_recalls(matrix)) == pytest.approx(geometric_mean_score(true, predicted))
    some = [1, 3]
    assert geometric_mean(class_recalls(matrix), over=some) == pytest.approx(
        geometric_mean_score(true, predicted, labels=some), abs=1e-12
    )


def test_thesis_formulas_by_hand() -> None:
    """Eqs. 2.1, 2.4, 2.7, 2.10-2.12 on a matrix whose numbers all differ."""
    m = [[8, 1, 2], [3, 9, 4], [5, 6, 10]]
    n = [11, 16, 21]
    length = [16, 16, 16]
    precision = [m[i][i] / length[i] for i in range(3)]
    recall = [m[i][i] / n[i] for i in range(3)]
    assert class_precisions(m) == pytest.approx(precision)
    assert class_recalls(m) == pytest.approx(recall)
    assert class_f1_scores(m) == pytest.approx(
        [2 * p * r / (p + r) for p, r in zip(precision, recall, strict=True)]
    )
    assert class_specificities(m) == pytest.approx([29 / 37, 25 / 32, 21 / 27])
    assert geometric_mean(recall) == pytest.approx((8 / 11 * 9 / 16 * 10 / 21) ** (1 / 3))
    assert geometric_mean(recall, over=[0, 2]) == pytest.approx((8 / 11 * 10 / 21) ** 0.5)
    assert macro_average(recall, over=[0, 2]) == pytest.approx((8 / 11 + 10 / 21) / 2)
    assert accuracy(m) == pytest.approx(27 / 48)


def test_never_predicted_class_has_precision_zero() -> None:
    assert class_precisions([[2, 0], [3, 0]]) == [0.4, 0.0]
    assert class_f1_scores([[2, 0], [3, 0]])[1] == 0.0


def test_absent_class_is_undefined() -> None:
    predicted_anyway = [[2, 1, 1], [0, 3, 0], [0, 0, 0]]
    assert class_recalls(predicted_anyway)[2] is None
    assert class_f1_scores(predicted_anyway)[2] is None
    assert class_precisions(predicted_anyway)[2] == 0.0
    assert class_specificities(predicted_anyway)[2] == pytest.approx(6 / 7)
    assert class_precisions([[2, 1, 0], [0, 3, 0], [0, 0, 0]])[2] is None
    assert macro_average(class_recalls(predicted_anyway)) == pytest.approx((0.5 + 1) / 2)


def test_only_class_has_no_specificity() -> None:
    assert class_specificities([[2, 1], [0, 0]]) == [None, pytest.approx(2 / 3)]


def test_geometric_mean_of_many_small_values_does_not_underflow() -> None:
    assert geometric_mean([0.001] * 1000) == pytest.approx(0.001)


def test_zero_recall_makes_geometric_mean_zero_without_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert geometric_mean([0.9, 0.0, None]) == 0.0


def test_nothing_to_average() -> None:
    with pytest.raises(InputError, match="nothing to average"):
        macro_average([None, None])
    with pytest.raises(InputError, match="nothing to average"):
        geometric_mean([0.5], over=[])
    with pytest.raises(InputError, match=r"values from 0, found -0\.1"):
        geometric_mean([0.5, -0.1])
