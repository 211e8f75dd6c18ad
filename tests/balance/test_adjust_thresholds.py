"""Thresholds tuned on validation images, against brute force and the definitions of the scores."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from imblearn.metrics import geometric_mean_score
from scipy.special import expit, log_softmax, softmax
from sklearn.metrics import f1_score

from counterpoise.balance.adjust import ClassThresholds, SigmoidScores
from counterpoise.balance.adjust._threshold_search import CLASS_SCORES, MacroScore, NegativeCost
from counterpoise.evaluation import evaluate_predictions
from counterpoise.exceptions import InputError, UnknownNameError

SCORES = sorted(CLASS_SCORES)
GRID = np.linspace(-8, 8, 161)


def draw(seed, sizes=(9, 5, 3), *, skill=1.0):
    """Logits of images of classes of these sizes, from a network that leans towards the first."""
    generator = np.random.default_rng(seed)
    labels = generator.permutation(np.repeat(np.arange(len(sizes)), sizes))
    logits = generator.normal(size=(len(labels), len(sizes)))
    logits[np.arange(len(labels)), labels] += skill
    logits[:, 0] += 1.0
    return logits, labels, np.array(sizes) * 10


def reached(name, labels, decisions, num_classes):
    """The score by the evaluation's own code."""
    classes = [str(index) for index in range(num_classes)]
    scores = evaluate_predictions(labels, decisions, classes=classes)
    if name == "youden":
        return scores["all"]["recall"] + scores["all"]["specificity"] - 1
    return scores["all"][name]


# --- what is maximised --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SCORES)
@pytest.mark.parametrize("seed", range(5))
def test_an_objective_is_the_score_of_the_evaluation(name, seed):
    """Class 3 has no samples, but is decided for."""
    _, labels, _ = draw(seed)
    decisions = np.random.default_rng(seed).integers(0, 4, len(labels))
    decisions[:3] = labels[:3] = [0, 1, 2]
    value = MacroScore(name, labels, 4).value(labels, decisions)
    expected = reached(name, labels, decisions, 4)
    assert (np.exp(value) if name == "gmean" else value) == pytest.approx(expected)


def test_objectives_are_those_of_the_libraries():
    _, labels, _ = draw(0)
    decisions = np.random.default_rng(1).permutation(labels)
    assert MacroScore("f1", labels, 3).value(labels, decisions) == pytest.approx(
        f1_score(labels, decisions, average="macro")
    )
    gmean = np.exp(MacroScore("gmean", labels, 3).value(labels, decisions))
    assert gmean == pytest.approx(geometric_mean_score(labels, decisions))


def test_of_two_geometric_means_of_zero_the_one_with_fewer_lost_classes_is_higher():
    labels = np.array([0] * 50 + [1, 2])
    objective = MacroScore("gmean", labels, 3)
    two_lost = objective.value(labels, np.zeros(52, dtype=int))
    one_lost = objective.value(labels, np.array([0] + [2] * 49 + [2, 2]))
    assert two_lost < one_lost < objective.value(labels, np.array([0] + [2] * 49 + [1, 2]))


@pytest.mark.parametrize("name", [*SCORES, "costs"])
@pytest.mark.parametrize("seed", range(4))
def test_the_values_along_the_line_are_those_of_each_decision(name, seed):
    _, labels, _ = draw(seed)
    generator = np.random.default_rng(seed)
    costs = generator.random((4, 4))
    objective = NegativeCost(costs) if name == "costs" else MacroScore(name, labels, 4)
    for chosen in range(3):
        rivals = generator.choice([c for c in range(4) if c != chosen], len(labels))
        values = objective.along(chosen, labels, rivals)
        for j in range(len(labels) + 1):
            decisions = np.where(np.arange(len(labels)) < j, chosen, rivals)
            assert values[j] == pytest.approx(objective.value(labels, decisions), abs=1e-12)


# --- class thresholds ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SCORES)
def test_two_classes_get_the_best_of_all_thresholds(name):
    for seed in range(10):
        logits, labels, counts = draw(seed, (12, 5))
        tuned = ClassThresholds(score=name).fit(logits, labels, counts).transform(logits).argmax(axis=1)
        cuts = np.sort(logits[:, 1] - logits[:, 0])
        middles = [cuts[0] - 1, *(cuts[1:] + cuts[:-1]) / 2, cuts[-1] + 1]
        all_scores = [
            reached(name, labels, (logits[:, 1] - logits[:, 0] > middle).astype(int), 2) for middle in middles
        ]
        assert reached(name, labels, tuned, 2) == pytest.approx(max(all_scores))


@pytest.mark.parametrize("name", ["gmean", "f1"])
def test_three_classes_nearly_always_get_the_best_of_a_grid(name):
    """Coordinate search may end in a local optimum; with 17 images it is the best of 25,921 pairs but rarely."""
    short = []
    for seed in range(12):
        logits, labels, counts = draw(seed)
        objective = MacroScore(name, labels, 3)
        adjustment = ClassThresholds(score=name).fit(logits, labels, counts)
        found = objective.value(labels, adjustment.transform(logits).argmax(axis=1))
        pairs = np.array(list(itertools.product(GRID, GRID)))
        offsets = np.column_stack([np.zeros(len(pairs)), pairs])
        decisions = (logits + offsets[:, None]).argmax(axis=2)
        different = np.unique(decisions, axis=0)
        short.append(max(objective.value(labels, row) for row in different) - found)
    assert np.mean(np.array(short) <= 1e-9) >= 0.75
    assert max(short) < 0.1


@pytest.mark.parametrize("name", SCORES)
def test_no_threshold_alone_can_be_moved_to_a_better_place(name):
    for seed in range(5):
        logits, labels, counts = draw(seed, (9, 6, 4, 3))
        adjustment = ClassThresholds(score=name).fit(logits, labels, counts)
        objective = MacroScore(name, labels, 4)
        best = objective.value(labels, (logits + adjustment.offset_).argmax(axis=1))
        for c in range(4):
            for step in GRID:
                moved = logits + adjustment.offset_ + step * np.eye(4)[c]
                assert objective.value(labels, moved.argmax(axis=1)) <= best + 1e-9


@given(
    st.integers(0, 10**6),
    st.sampled_from(SCORES),
    st.lists(st.integers(0, 8), min_size=2, max_size=5).filter(lambda sizes: np.count_nonzero(sizes) > 1),
    st.booleans(),
)
def test_never_worse_on_validation_images_than_no_thresholds(seed, name, sizes, rounded):
    """Whatever the numbers: single precision, ties, classes without images."""
    generator = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(sizes)), sizes)
    logits = generator.normal(scale=3, size=(len(labels), len(sizes))).astype(np.float32)
    logits = np.round(logits) if rounded else logits
    counts = np.maximum(1, np.array(sizes) * 7)
    adjusted = ClassThresholds(score=name).fit(logits, labels, counts).transform(logits)
    before = reached(name, labels, logits.argmax(axis=1), len(sizes))
    assert reached(name, labels, adjusted.argmax(axis=1), len(sizes)) >= before - 1e-12


def test_the_decision_is_the_highest_probability_in_proportion_to_its_threshold():
    logits, labels, counts = draw(3)
    adjustment = ClassThresholds().fit(logits, labels, counts)
    thresholds = adjustment.thresholds_
    assert thresholds.sum() == pytest.approx(1)
    adjusted, probabilities = adjustment.transform(logits), softmax(logits, axis=1)
    expected = probabilities / thresholds
    np.testing.assert_array_equal(adjusted.argmax(axis=1), expected.argmax(axis=1))
    np.testing.assert_allclose(softmax(adjusted, axis=1), expected / expected.sum(axis=1, keepdims=True))


def test_classes_that_were_never_found_are_found():
    """Two lost classes leave the G-mean at 0 until both are found: there is a way there all the same."""
    logits, labels, counts = draw(0, (60, 10, 10), skill=3.0)
    logits[:, 1:] -= 12.0
    assert set(logits.argmax(axis=1)) == {0}
    adjusted = ClassThresholds().fit(logits, labels, counts).transform(logits)
    assert reached("gmean", labels, adjusted.argmax(axis=1), 3) > 0.7


def test_a_class_without_validation_images_is_not_pushed_out_of_the_way():
    logits, labels, _ = draw(1, (20, 20, 20, 20), skill=2.0)
    kept = labels != 3
    adjustment = ClassThresholds(score="recall").fit(logits[kept], labels[kept], [10, 10, 10, 10])
    assert adjustment.offset_[3] == 0
    assert adjustment.offset_.mean() == pytest.approx(0)
    of_class_3 = adjustment.transform(logits[~kept]).argmax(axis=1)
    assert np.mean(of_class_3 == 3) > 0.4


def test_neither_the_order_of_the_images_nor_a_second_time_changes_anything():
    logits, labels, counts = draw(2)
    order = np.random.default_rng(0).permutation(len(labels))
    one = ClassThresholds().fit(logits, labels, counts)
    np.testing.assert_array_equal(one.offset_, ClassThresholds().fit(logits, labels, counts).offset_)
    shuffled = ClassThresholds().fit(logits[order], labels[order], counts)
    np.testing.assert_allclose(shuffled.offset_, one.offset_)


@pytest.mark.parametrize("labels", [[1, 1, 1], [0, 1, 1]])
def test_what_cannot_get_better_is_left_alone(labels):
    logits = np.log([[0.8, 0.2], [0.3, 0.7], [0.1, 0.9]])
    adjustment = ClassThresholds().fit(logits, labels, [5, 5])
    np.testing.assert_array_equal(adjustment.offset_, 0)
    np.testing.assert_allclose(adjustment.thresholds_, 0.5)


# --- by costs -----------------------------------------------------------------------------------------------


def test_two_classes_get_the_threshold_of_lowest_cost():
    for seed, costs in enumerate([[[0, 1], [9, 0]], [[0, 5], [1, 0]], [[1, 2], [30, 3]]]):
        logits, labels, counts = draw(seed, (15, 6))
        adjusted = ClassThresholds(costs=costs).fit(logits, labels, counts).transform(logits)
        found = np.mean([costs[t][d] for t, d in zip(labels, adjusted.argmax(axis=1), strict=True)])
        scores = softmax(logits, axis=1)[:, 1]
        slow = [np.mean(np.array(costs)[labels, (scores >= cut).astype(int)]) for cut in [np.inf, *scores]]
        assert found == pytest.approx(min(slow))


def test_costs_that_no_decision_changes_change_no_decision():
    """What is added to a row is paid whatever is decided."""
    logits, labels, counts = draw(4)
    costs = np.array([[0, 1, 2], [7, 0, 1], [9, 4, 0]], dtype=float)
    plain = ClassThresholds(costs=costs).fit(logits, labels, counts)
    shifted = ClassThresholds(costs=costs + np.array([[3], [0.5], [8]])).fit(logits, labels, counts)
    np.testing.assert_allclose(shifted.offset_, plain.offset_)


def test_costs_of_nought_and_one_are_the_accuracy():
    logits, labels, counts = draw(5)
    by_costs = ClassThresholds(costs=1 - np.eye(3)).fit(logits, labels, counts)
    by_score = ClassThresholds(score="accuracy").fit(logits, labels, counts)
    np.testing.assert_allclose(by_costs.offset_, by_score.offset_)


def test_wrong_options_are_one_line():
    logits, labels, counts = draw(0)
    with pytest.raises(UnknownNameError, match="unknown score 'gmeen'; did you mean 'gmean'"):
        ClassThresholds(score="gmeen").fit(logits, labels, counts)
    with pytest.raises(UnknownNameError, match="unknown score 'auc'"):
        ClassThresholds(score="auc").fit(logits, labels, counts)
    with pytest.raises(InputError, match=r"for a score \(f1\) or by costs, not both"):
        ClassThresholds(score="f1", costs=np.eye(3)).fit(logits, labels, counts)
    with pytest.raises(InputError, match="is 2 x 2; expected 3 x 3"):
        ClassThresholds(costs=np.eye(2)).fit(logits, labels, counts)
    with pytest.raises(InputError, match="keep a validation split"):
        ClassThresholds().fit(np.empty((0, 3)), [], counts)


# --- sigmoid scores -----------------------------------------------------------------------------------------


def test_without_thresholds_the_softmax_is_the_sigmoids_scaled_to_sum_to_one():
    logits = np.random.default_rng(0).normal(scale=4, size=(20, 5))
    adjusted = SigmoidScores().fit(None, None, [1] * 5).transform(logits)
    sigmoids = 1 / (1 + np.exp(-logits))
    np.testing.assert_allclose(softmax(adjusted, axis=1), sigmoids / sigmoids.sum(axis=1, keepdims=True))
    np.testing.assert_array_equal(adjusted.argmax(axis=1), logits.argmax(axis=1))


def test_extreme_outputs_stay_finite():
    adjusted = SigmoidScores().fit(None, None, [1, 1]).transform([[-800.0, -900.0], [900.0, 800.0]])
    assert np.isfinite(adjusted).all()
    np.testing.assert_array_equal(adjusted[0], [0.0, -100.0])


def test_youden_thresholds_are_those_of_each_class_against_the_rest():
    logits, labels, counts = draw(6, (12, 9, 7))
    adjustment = SigmoidScores(thresholds="youden").fit(logits, labels, counts)
    expected = []
    for c in range(3):
        scores, positive = expit(logits[:, c]), labels == c
        expected.append(
            max(scores, key=lambda t: (scores >= t)[positive].mean() - (scores >= t)[~positive].mean())
        )
    np.testing.assert_allclose(np.exp(-adjustment.offset_), expected)
    fresh = np.random.default_rng(9).normal(size=(30, 3))
    np.testing.assert_array_equal(
        adjustment.transform(fresh).argmax(axis=1), (expit(fresh) / expected).argmax(axis=1)
    )


def test_a_class_alone_or_missing_has_the_middle_for_a_youden_threshold():
    adjustment = SigmoidScores(thresholds="youden").fit([[1.0, 0.0], [2.0, 1.0]], [0, 0], [9, 1])
    np.testing.assert_allclose(np.exp(-adjustment.offset_), 0.5)


@pytest.mark.parametrize("name", [score for score in SCORES if score != "youden"])
def test_thresholds_on_sigmoids_are_tuned_for_a_score(name):
    logits, labels, counts = draw(7, (12, 9, 7))
    adjustment = SigmoidScores(thresholds=name).fit(logits, labels, counts)
    found = reached(name, labels, adjustment.transform(logits).argmax(axis=1), 3)
    moves = np.array(list(itertools.product(GRID[::8], GRID[::8])))
    offsets = np.column_stack([np.zeros(len(moves)), moves])
    decisions = np.unique((np.log(expit(logits)) + offsets[:, None]).argmax(axis=2), axis=0)
    assert found >= max(reached(name, labels, row, 3) for row in decisions) - 0.05
    assert found >= reached(name, labels, logits.argmax(axis=1), 3)


def test_an_unknown_kind_of_thresholds():
    with pytest.raises(UnknownNameError, match="did you mean 'youden'"):
        SigmoidScores(thresholds="yuoden").fit([[0.0, 1.0]], [1], [1, 1])


def test_log_probabilities_are_thresholds_of_the_network_that_sees_other_shares():
    """Log softmax first: what the network adds to all logits of an image is no part of its decision."""
    logits, labels, counts = draw(8)
    shifted = logits + np.random.default_rng(0).normal(size=(len(logits), 1)) * 50
    one = ClassThresholds().fit(logits, labels, counts)
    other = ClassThresholds().fit(shifted, labels, counts)
    np.testing.assert_allclose(one.offset_, other.offset_, atol=1e-9)
    np.testing.assert_allclose(one.transform(logits), one.transform(log_softmax(logits, axis=1)))
