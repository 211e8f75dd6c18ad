"""Prediction sets: the exact thresholds, against crepes, and their coverage in simulations."""

import math

import numpy as np
import pytest

from counterpoise.evaluation import conformal_rules, neighbor_distances, pixel_statistics, prediction_sets
from counterpoise.exceptions import InputError

CLASSES = ("a", "b", "c")


def simulate(counts, generator, *, sharpness=2.0):
    """Probabilities and labels of images whose later classes are harder."""
    labels = np.repeat(np.arange(len(counts)), counts)
    scores = generator.normal(size=(len(labels), len(counts)))
    scores[np.arange(len(labels)), labels] += sharpness - 0.5 * labels
    p = np.exp(scores)
    return p / p.sum(axis=1, keepdims=True), labels


@pytest.mark.parametrize("alpha", [0.05, 0.1, 0.25])
def test_sets_are_those_of_crepes(alpha):
    """Label-conditional p-values of crepes, where the class of each calibration image is its bin."""
    crepes = pytest.importorskip("crepes")
    generator = np.random.default_rng(0)
    p, y = simulate((40, 25, 19), generator)
    new, _ = simulate((50, 50, 50), generator)
    found = prediction_sets(new, conformal_rules(p, y, CLASSES, alpha=alpha))
    classifier = crepes.ConformalClassifier()
    classifier.fit(1 - p[np.arange(len(y)), y], bins=y)
    for c in range(3):
        p_values = classifier.predict_p(1 - new[:, [c]], bins=np.full(len(new), c), smoothing=False)[:, 0]
        np.testing.assert_array_equal(found[:, c], p_values > alpha + 1e-9)


def test_the_threshold_is_the_order_statistic():
    """With n images the threshold is the k-th lowest, k = floor(alpha (n + 1)): brute force over k."""
    for n in (9, 10, 18, 19, 57):
        own = np.random.default_rng(n).uniform(0.2, 0.9, n)
        p = np.stack([own, 1 - own], axis=1)
        [rule, _] = conformal_rules(p, np.zeros(n, int), ("a", "b"), alpha=0.1)
        # Of n + 1 exchangeable images, as many fall below the threshold as have a lower one.
        below = sum(value < rule["threshold"] for value in own) + 1
        assert below / (n + 1) <= 0.1 < (below + 1) / (n + 1)
        assert (rule["rule"], rule["images"]) == ("class", n)


def test_each_class_is_covered_as_promised():
    """On average over calibration sets, each class is covered by the exact rate, and hardly more than it promises."""
    generator, alpha, counts = np.random.default_rng(0), 0.1, (200, 39, 19)
    hits, repeats = np.zeros(3), 400
    for _ in range(repeats):
        p, y = simulate(counts, generator)
        new, truth = simulate((200, 200, 200), generator)
        sets = prediction_sets(new, conformal_rules(p, y, CLASSES, alpha=alpha))
        hits += np.bincount(truth, sets[np.arange(len(truth)), truth]) / 200 / repeats
    exact = [1 - math.floor(alpha * (n + 1)) / (n + 1) for n in counts]
    np.testing.assert_allclose(hits, exact, atol=0.01)
    assert (hits >= 0.9 - 0.01).all()


def test_rare_classes_are_pooled_with_similar_ones():
    """Two rare, hard classes share a cluster; easy common ones are not in it, and a class with one image is in none."""
    generator = np.random.default_rng(0)
    counts = np.array([60, 60, 6, 7, 1])
    y = np.repeat(np.arange(5), counts)
    own = np.where(y < 2, generator.uniform(0.85, 0.95, len(y)), generator.uniform(0.2, 0.4, len(y)))
    p = np.repeat(((1 - own) / 4)[:, None], 5, axis=1)
    p[np.arange(len(y)), y] = own
    rules = conformal_rules(p, y, "abcde")
    assert [rule["rule"] for rule in rules] == ["class", "class", "cluster", "cluster", "all"]
    assert [rule["images"] for rule in rules] == [60, 60, 13, 13, 134]
    assert rules[2]["threshold"] == rules[3]["threshold"] == np.sort(own[(y == 2) | (y == 3)])[0]
    assert rules[4]["threshold"] == np.sort(own)[12]


def test_too_few_images_leave_every_class_possible():
    rules = conformal_rules([[0.9, 0.1]] * 8, [0] * 8, ("a", "b"))
    assert [(rule["rule"], rule["threshold"]) for rule in rules] == [("none", 0.0)] * 2
    assert prediction_sets([[1.0, 0.0]], rules).all()
    for alpha in (0, 1, -0.1):
        with pytest.raises(InputError, match="above 0 and below 1"):
            conformal_rules([[0.9, 0.1]], [0], ("a", "b"), alpha=alpha)


def test_distances_are_those_of_scikit_learn():
    from sklearn.neighbors import NearestNeighbors

    generator = np.random.default_rng(0)
    rows, points = generator.normal(size=(700, 6)), generator.normal(size=(1100, 6))
    expected = NearestNeighbors(n_neighbors=5).fit(rows).kneighbors(points)[0][:, -1]
    np.testing.assert_allclose(neighbor_distances(rows, points), expected, rtol=1e-4, atol=1e-3)


def test_pixel_statistics_are_those_of_a_slow_loop():
    images = np.random.default_rng(0).integers(0, 256, (3, 3, 4, 5)).astype(np.uint8)
    for image, row in zip(images / 255.0, pixel_statistics(images), strict=True):
        across = [np.mean([abs(c[i, j + 1] - c[i, j]) for i in range(4) for j in range(4)]) for c in image]
        down = [np.mean([abs(c[i + 1, j] - c[i, j]) for i in range(3) for j in range(5)]) for c in image]
        color = np.mean([max(image[:, i, j]) - min(image[:, i, j]) for i in range(4) for j in range(5)])
        means, spreads = [c.mean() for c in image], [c.std() for c in image]
        np.testing.assert_allclose(row, [*means, *spreads, *down, *across, color], rtol=1e-5)
