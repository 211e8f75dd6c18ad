"""Intervals over images and repeats: exact cases, and coverage by simulation."""

import numpy as np
import pytest
from scipy.stats import binomtest, norm, rankdata

from counterpoise.evaluation import METRICS, Metric, evaluate, mean_interval, paired_interval, score_interval
from counterpoise.evaluation.intervals import FROM_COUNTS, Rates, _measure, _weights


@pytest.mark.parametrize(
    ("hits", "images"), [(25, 25), (24, 25), (10, 10), (3, 10), (0, 7), (96, 100), (1, 1)]
)
def test_the_recall_of_one_class_has_wilsons_interval(hits, images):
    found = score_interval("recall", [[hits, images - hits], [5, 60]], classes=[0])
    expected = binomtest(hits, images).proportion_ci(method="wilson")
    assert found[:3] == pytest.approx((hits / images, expected.low, expected.high), abs=1e-4)
    assert (found.n, found.images) == (1, images)


def test_equal_repeats_on_few_images_leave_doubt():
    """Rare recall .960 in each of three repeats rested on 25 images, and its interval was .960 to .960."""
    found = score_interval("recall", [[[24, 1], [3, 97]]] * 3, classes=[0])
    assert (round(found.low, 3), found.mean, round(found.high, 3)) == (0.805, 0.96, 0.993)
    more = score_interval("recall", [[[24, 1], [3, 97]]] * 3, classes=[0], images=[75, 300])
    assert found.low < more.low < 0.96 < more.high < found.high
    assert more.images == 75


def test_many_images_leave_the_repeats():
    """With a million test images, all doubt is between the repeats, and the interval is Student's."""
    recalls = [0.70, 0.72, 0.78]
    matrices = [[[1e6 * r, 1e6 * (1 - r)], [1e5, 9e5]] for r in recalls]
    found, student = score_interval("recall", matrices, classes=[0]), mean_interval(recalls)
    assert found[:3] == pytest.approx(student[:3], abs=1e-2)


@pytest.mark.parametrize("metric", FROM_COUNTS)
def test_the_estimate_is_the_score_of_the_catalog(metric):
    generator = np.random.default_rng(3)
    true, prob = generator.integers(0, 4, 90), generator.dirichlet(np.ones(4), 90)
    scores = evaluate(true, prob, classes=list("abcd"), minority=[1, 3])
    for group, classes in (("all", range(4)), ("minority", [1, 3]), ("majority", [0, 2])):
        found = score_interval(metric, scores["confusion_matrix"], classes=classes)
        assert found.mean == pytest.approx(scores[group][metric])
        assert 0 <= found.low < found.mean < found.high <= 1


def test_a_class_without_images_has_no_part():
    whole = score_interval("gmean", [[8, 2, 0], [1, 9, 0], [0, 0, 0]])
    assert whole == score_interval("gmean", [[8, 2, 0], [1, 9, 0], [0, 0, 0]], classes=[0, 1])
    assert score_interval("recall", [[8, 2], [0, 0]], classes=[1]).mean is None


def test_an_auc_of_one_on_few_images_leaves_doubt():
    few, many = ([[[n, 0], [0, 10 * n]]] * 3 for n in (5, 500))
    rough, sharp = (score_interval("auc", matrices, values=[1.0, 1.0, 1.0]) for matrices in (few, many))
    assert rough.low < 0.85 < 0.99 < sharp.low < sharp.high == 1.0


@pytest.mark.parametrize("images", [10, pytest.param(25, marks=pytest.mark.slow), 100])
def test_the_interval_of_an_auc_covers(images):
    """Scores of two normal classes, the other one of five times as many images."""
    generator, covered = np.random.default_rng(0), 0
    for _ in range(500):
        distance = generator.uniform(0, 2.5)
        scores = np.concatenate([generator.normal(distance, 1, images), generator.normal(0, 1, 5 * images)])
        auc = (rankdata(scores)[:images].sum() - images * (images + 1) / 2) / (5 * images**2)
        found = score_interval("auc", [[images, 0], [0, 5 * images]], values=[auc], classes=[0])
        covered += found.low <= norm.cdf(distance / 2**0.5) <= found.high
    assert 0.92 <= covered / 500 <= 0.98


def test_a_metric_of_another_package_has_the_interval_of_its_repeats(monkeypatch):
    kappa = Metric("kappa", "Kappa", "kappa", of_group=lambda matrix, classes: 0.0)
    monkeypatch.setitem(METRICS._entries, "kappa", kappa)
    found = score_interval("kappa", [[[5, 0], [0, 5]]] * 3, values=[0.7, 0.8, 0.9])
    assert found == mean_interval([0.7, 0.8, 0.9])._replace(images=10)


def test_images_of_one_group_are_not_independent():
    """Ten patients of ten equal images each are worth ten images; with independent images they are worth more."""
    patients = np.repeat(np.arange(20), 10)
    true = np.repeat([0, 1], 100)
    right = np.repeat(np.arange(20) % 10 < 7, 10)
    prob = np.stack([np.where(right, true == 0, true == 1), np.where(right, true == 1, true == 0)], axis=1)
    alike = evaluate(true, prob.astype(float), classes=["a", "b"], groups=patients)["independent"]
    assert alike == pytest.approx([10, 10])
    mixed = np.random.default_rng(0).permutation(right[:100])
    right = np.concatenate([mixed, mixed])
    prob = np.stack([np.where(right, true == 0, true == 1), np.where(right, true == 1, true == 0)], axis=1)
    assert min(evaluate(true, prob.astype(float), classes=["a", "b"], groups=patients)["independent"]) > 60
    assert "independent" not in evaluate(true, prob.astype(float), classes=["a", "b"])


def simulated(classes, images, draws, seed):
    """True rates of classifiers with recalls from .3 to .98, and the confusion matrices of test sets."""
    generator = np.random.default_rng(seed)
    recalls = generator.uniform(0.3, 0.98, (draws, classes))
    rates = np.zeros((draws, classes, classes))
    for c in range(classes):
        others = [k for k in range(classes) if k != c]
        rates[:, c, c] = recalls[:, c]
        rates[:, c, others] = generator.dirichlet(np.ones(classes - 1), draws) * (1 - recalls[:, c, None])
    return rates, generator.multinomial(np.full((draws, classes), images), rates)


def coverage(metric, classes, images, *, draws, group=None, seed=0):
    rates, matrices = simulated(classes, images, draws, seed)
    sizes = np.full((draws, classes), float(images))
    weights = np.tile(
        _weights(metric, sizes[0], np.arange(classes) if group is None else np.array(group)), (draws, 1)
    )
    truth = _measure(metric, rates, sizes, weights)[0]
    estimate = _measure(metric, matrices / images, sizes, weights)[0]
    low, high = Rates.of(metric, matrices, sizes, weights).bounds(estimate, sizes, 1.959964)
    single = score_interval(metric, matrices[0], classes=group)
    assert single[1:3] == pytest.approx((low[0], high[0]), abs=1e-6)
    # With a class that is never recognized, the G-mean is 0 and degenerate.
    defined = estimate > 0 if metric == "gmean" else np.ones(draws, bool)
    return ((low <= truth) & (truth <= high))[defined].mean()


CASES = [("recall", [0]), ("recall", None), ("f1", None), ("gmean", None)]


@pytest.mark.parametrize(("metric", "group"), CASES)
def test_intervals_cover_at_ten_images_a_class(metric, group):
    assert 0.93 <= coverage(metric, 3, 10, draws=2000, group=group) <= 0.97


@pytest.mark.slow
@pytest.mark.parametrize("images", [10, 25, 100])
@pytest.mark.parametrize("classes", [2, 3, 5, 10])
@pytest.mark.parametrize(("metric", "group"), CASES)
def test_intervals_cover_93_to_97_percent(metric, group, classes, images):
    assert 0.93 <= coverage(metric, classes, images, draws=2000, group=group, seed=classes) <= 0.97


def paired_coverage(images, repeats, *, draws, seed=0):
    """Two classifiers with correlated hits on three classes, the third with `images` images, the others with 100."""
    generator = np.random.default_rng(seed)
    sizes = np.array([100, 100, images])
    true = np.repeat(np.arange(3), sizes)
    covered = 0
    for _ in range(draws):
        recalls = generator.uniform(0.4, 0.95, (2, 3))
        truth = (recalls[1] - recalls[0]).mean()
        found = []
        for repeat in range(repeats):
            level = generator.random(len(true))
            own = np.where(generator.random(len(true)) < 0.6, level, generator.random(len(true)))
            before, after = (
                np.where(u < r[true], true, (true + 1) % 3)
                for u, r in zip((level, own), recalls, strict=True)
            )
            found.append((true, before, after, [f"{repeat} {i}" for i in range(len(true))]))
        interval = paired_interval("recall", found, num_classes=3)
        covered += interval.low <= truth <= interval.high
    return covered / draws


@pytest.mark.parametrize(("images", "repeats"), [(10, 1), (10, 3)])
def test_paired_intervals_cover(images, repeats):
    assert paired_coverage(images, repeats, draws=400) >= 0.925


@pytest.mark.slow
@pytest.mark.parametrize("images", [5, 10, 25, 100])
def test_paired_intervals_cover_in_many_draws(images):
    assert 0.93 <= paired_coverage(images, 1, draws=2000) <= 0.985


def test_the_same_predictions_leave_doubt_and_many_images_do_not():
    true = np.repeat([0, 1], [50, 3])
    names = [str(i) for i in range(53)]
    same = paired_interval("recall", [(true, true, true, names)], num_classes=2)
    assert same.low < -0.1 < same.mean == 0 < 0.1 < same.high
    many = np.repeat([0, 1], 5000)
    worse = np.where(np.arange(10000) % 10 < 2, 1 - many, many)
    found = paired_interval("gmean", [(many, worse, many, [str(i) for i in range(10000)])], num_classes=2)
    assert found.mean == pytest.approx(0.2)
    assert 0.19 < found.low < found.high < 0.21
