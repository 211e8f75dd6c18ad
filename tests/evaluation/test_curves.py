"""ROC curves and threshold tables against scikit-learn and slow loops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import auc, roc_auc_score

from counterpoise.evaluation import RocCurve, class_aucs, roc_curve, roc_curves, thin_curve, threshold_table
from counterpoise.exceptions import InputError


@st.composite
def binary_problems(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Both kinds of sample, and scores in steps of 0.1 so that many are equal."""
    rest = draw(arrays(np.bool_, st.integers(0, 30)))
    positive = np.concatenate([[True, False], rest])
    steps = draw(arrays(np.int64, len(positive), elements=st.integers(0, 10)))
    return positive, steps / 10


def slow_auc(positive: np.ndarray, scores: np.ndarray) -> float:
    """The share of (positive, negative) pairs in the right order; equal scores count half."""
    wins = [1.0 if p > n else 0.5 if p == n else 0.0 for p in scores[positive] for n in scores[~positive]]
    return sum(wins) / len(wins)


@given(binary_problems())
@settings(deadline=None)
def test_area_is_the_share_of_ordered_pairs(problem: tuple[np.ndarray, np.ndarray]) -> None:
    positive, scores = problem
    curve = roc_curve(positive, scores)
    assert curve.auc == pytest.approx(slow_auc(positive, scores))
    assert auc(curve.fpr, curve.tpr) == pytest.approx(curve.auc)
    assert (curve.fpr[0], curve.tpr[0], curve.fpr[-1], curve.tpr[-1]) == (0.0, 0.0, 1.0, 1.0)
    for fpr, tpr, threshold in zip(curve.fpr, curve.tpr, curve.thresholds, strict=True):
        assert fpr == pytest.approx((scores[~positive] >= threshold).mean())
        assert tpr == pytest.approx((scores[positive] >= threshold).mean())


@given(binary_problems(), arrays(np.float64, st.integers(1, 8), elements=st.floats(-0.5, 1.5)))
@settings(deadline=None)
def test_threshold_table_equals_slow_loop(problem: tuple[np.ndarray, np.ndarray], extra: np.ndarray) -> None:
    positive, scores = problem
    thresholds = np.concatenate([extra, scores[:3]])  # exactly on a score, too
    table = threshold_table(positive, scores, thresholds)
    assert table["threshold"] == thresholds.tolist()
    for index, threshold in enumerate(thresholds):
        called = [score >= threshold for score in scores]
        slow = {"tp": 0, "fp": 0, "fn": 0, "tn": 0}
        for is_positive, is_called in zip(positive, called, strict=True):
            slow[("tp" if is_positive else "fp") if is_called else ("fn" if is_positive else "tn")] += 1
        assert {kind: table[kind][index] for kind in slow} == slow


def test_all_scores_equal() -> None:
    curve = roc_curve([0, 1, 1], [0.5, 0.5, 0.5])
    assert (curve.fpr, curve.tpr, curve.auc) == ([0.0, 1.0], [0.0, 1.0], 0.5)
    assert np.isfinite(curve.thresholds).all()
    assert curve.thresholds[0] > 0.5


def problem(seed: int = 0, n: int = 300) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    true = rng.choice(4, n, p=[0.5, 0.3, 0.15, 0.05])
    logits = rng.normal(size=(n, 4)) + 1.2 * np.eye(4)[true]
    prob = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return true, np.round(prob, 2)


def test_macro_average_equals_scikit_learn() -> None:
    true, prob = problem()
    curves = roc_curves(true, prob)
    indicator = np.eye(4)[true]
    curve = curves.macro
    assert curve is not None
    assert curve.auc == pytest.approx(roc_auc_score(indicator, prob, average="macro"))
    assert auc(curve.fpr, curve.tpr) == pytest.approx(curve.auc, abs=1e-12)
    assert (np.diff(curve.tpr) >= -1e-15).all()
    assert (curve.fpr[0], curve.tpr[0]) == (0.0, 0.0)
    assert (curve.fpr[-1], curve.tpr[-1]) == (1.0, pytest.approx(1.0))
    assert [curve.auc for curve in curves.per_class if curve] == pytest.approx(class_aucs(true, prob))


def test_macro_curve_averages_at_each_false_positive_rate() -> None:
    true, prob = problem(1)
    curves = roc_curves(true, prob)
    assert curves.macro is not None
    for rate in (0.013, 0.111, 0.5003, 0.87):  # between the steps, where each curve has one value
        mean = np.mean([np.interp(rate, curve.fpr, curve.tpr) for curve in curves.per_class if curve])
        assert np.interp(rate, curves.macro.fpr, curves.macro.tpr) == pytest.approx(mean)


def test_missing_class_has_no_curve() -> None:
    true, prob = problem(2)
    present = true != 3
    curves = roc_curves(true[present], prob[present])
    assert curves.per_class[3] is None
    assert class_aucs(true[present], prob[present])[3] is None
    assert curves.macro is not None
    assert curves.macro.auc == pytest.approx(np.mean([curve.auc for curve in curves.per_class[:3] if curve]))


def test_one_class_only_has_no_curve() -> None:
    curves = roc_curves([0, 0], [[0.9, 0.1], [0.4, 0.6]])
    assert curves.per_class == [None, None]
    assert curves.macro is None


@given(st.integers(0, 2**32 - 1), st.integers(10, 4000), st.floats(0, 3), st.sampled_from([1e-3, 1e-5]))
@settings(max_examples=40, deadline=None)
def test_thinning_keeps_area_and_ends(seed: int, n: int, shift: float, tolerance: float) -> None:
    rng = np.random.default_rng(seed)
    positive = np.arange(n) % 7 == 0
    full = roc_curve(positive, rng.normal(size=n) + shift * positive)
    thin = thin_curve(full, tolerance=tolerance)
    assert abs(auc(thin.fpr, thin.tpr) - full.auc) <= tolerance + 1e-12
    assert thin.auc == full.auc
    points = set(zip(full.fpr, full.tpr, full.thresholds, strict=True))
    assert set(zip(thin.fpr, thin.tpr, thin.thresholds, strict=True)) <= points
    assert (thin.fpr[0], thin.tpr[0], thin.fpr[-1], thin.tpr[-1]) == (0.0, 0.0, 1.0, 1.0)
    if tolerance == 1e-3:
        assert len(thin.fpr) <= 1002


def test_thinning_is_worth_it_and_obeys_tolerance() -> None:
    rng = np.random.default_rng(0)
    full = roc_curve(np.arange(20_000) % 2, rng.random(20_000))
    loose, tight = thin_curve(full), thin_curve(full, tolerance=1e-5)
    assert len(loose.fpr) <= 102 < len(tight.fpr) < len(full.fpr)
    macro = thin_curve(RocCurve(full.fpr, full.tpr, [], full.auc))
    assert (macro.fpr, macro.thresholds) == (loose.fpr, [])
    with pytest.raises(InputError, match="found tolerance=0"):
        thin_curve(full, tolerance=0)


def test_bad_input() -> None:
    with pytest.raises(InputError, match="found 2 samples of the class among 2"):
        roc_curve([1, 1], [0.1, 0.2])
    with pytest.raises(InputError, match="y_true has 2 samples but scores has 1"):
        roc_curve([0, 1], [0.1])
    with pytest.raises(InputError, match=r"the label 2, expected class indices 0\.\.1"):
        threshold_table([0, 2], [0.1, 0.2], [0.5])
    with pytest.raises(InputError, match="thresholds holds 1 NaN"):
        threshold_table([0, 1], [0.1, 0.2], [np.nan])
