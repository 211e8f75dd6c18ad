"""Promises on recall and precision: the exact bound, kept in simulated calibration sets, and what is refused."""

import json
import math

import numpy as np
import pytest
import torch
from scipy.stats import beta, norm

from counterpoise.balance.adjust import RequiredRates, adjustment_from_state
from counterpoise.exceptions import InputError, UnknownNameError

NAMES = ("good", "bad")


def two_logits(odds):
    return np.stack([np.zeros_like(odds), odds], axis=1)


def fit(odds, labels, require, confidence=0.9, names=NAMES):
    logits = two_logits(odds) if odds.ndim == 1 else odds
    rule = RequiredRates(require=require, confidence=confidence, class_names=names)
    return rule.fit(logits, labels, np.bincount(labels, minlength=len(names)))


@pytest.mark.parametrize(("n", "rate", "confidence"), [(45, 0.95, 0.9), (60, 0.9, 0.95), (200, 0.95, 0.9)])
def test_the_threshold_is_that_of_clopper_and_pearson(n, rate, confidence):
    """The most images that may be missed, by the beta form of the bound; one more would break it."""
    odds = np.random.default_rng(n).normal(size=n)
    bad = np.sort(odds)
    rule = fit(np.r_[odds, np.full(5, -9.0)], np.r_[np.ones(n, int), np.zeros(5, int)], f"recall:bad>={rate}")
    rule = fit(
        np.r_[odds, np.full(5, -9.0)],
        np.r_[np.ones(n, int), np.zeros(5, int)],
        f"recall:bad>={rate}",
        confidence,
    )
    missed = int((bad < rule.thresholds_[0]).sum())

    def upper(misses):
        return beta.ppf(confidence, misses + 1, n - misses)

    assert upper(missed) <= 1 - rate < upper(missed + 1)
    assert rule.hits_.tolist() == [n - missed]


@pytest.mark.parametrize("n", [10, 22, 45, 100, 200])
def test_a_recall_is_broken_as_seldom_as_promised(n):
    """In 1,000 calibration sets; too few images for one rate are refused, and a lower rate is taken."""
    rate, confidence, generator = (0.9 if n >= 22 else 0.75), 0.9, np.random.default_rng(n)
    broken = 0
    for _ in range(1000):
        odds = np.r_[generator.normal(-1, 1, 50), generator.normal(1, 1, n)]
        rule = fit(odds, np.repeat([0, 1], [50, n]), f"recall:bad>={rate}", confidence)
        broken += norm.sf(rule.thresholds_[0], 1, 1) < rate
    assert broken / 1000 <= 1 - confidence + 0.02
    # Not stricter than needed: the exact probability is the next binomial tail.
    assert broken / 1000 >= 0.01


@pytest.mark.parametrize("n", [60, 200])
def test_a_precision_is_broken_as_seldom_as_promised(n):
    rate, confidence, generator = 0.8, 0.9, np.random.default_rng(n)
    broken = refused = 0
    for _ in range(1000):
        labels = (generator.random(2 * n) < 0.5).astype(int)
        odds = generator.normal(np.where(labels == 1, 1.0, -1.0), 1)
        try:
            rule = fit(odds, labels, f"precision:bad>={rate}", confidence)
        except InputError:
            refused += 1
            continue
        hits, alarms = norm.sf(rule.thresholds_[0], 1, 1), norm.sf(rule.thresholds_[0], -1, 1)
        broken += hits / (hits + alarms) < rate
    assert broken / 1000 <= 1 - confidence + 0.02
    assert refused < 200


def test_several_promises_hold_together():
    """Two recalls with a corrected confidence, the second after what the first takes."""
    generator, broken = np.random.default_rng(0), 0
    names, centers = ("good", "crack", "spot"), np.array([[0, 0], [3.0, 0.0], [0.0, 3.0]])
    truth = np.repeat([0, 1, 2], 4000)
    new = np.c_[np.zeros(12000), centers[truth] + generator.normal(size=(12000, 2))]
    for _ in range(200):
        labels = np.repeat([0, 1, 2], [80, 120, 120])
        logits = np.c_[np.zeros(320), centers[labels] + generator.normal(size=(320, 2))]
        rule = fit(logits, labels, ["recall:crack>=0.8", "recall:spot>=0.6"], 0.9, names)
        found = rule.transform(new).argmax(axis=1)
        recalls = [(found[truth == c] == c).mean() for c in (1, 2)]
        broken += recalls[0] < 0.8 or recalls[1] < 0.6
    assert broken / 200 <= 0.1 + 0.02 + 0.02


def test_the_first_requirement_claims_an_image():
    logits = np.array([[0.0, 3.0, 3.1]] * 30 + [[5.0, -5.0, -5.0]] * 30)
    labels = np.repeat([1, 2, 0], [15, 15, 30])
    for first, second, winner in (("crack", "spot", 1), ("spot", "crack", 2)):
        with pytest.raises(InputError, match="claim 15 of the 15 images of the class; change the order"):
            fit(
                logits,
                labels,
                [f"recall:{first}>=0.8", f"recall:{second}>=0.8"],
                0.9,
                ("good", "crack", "spot"),
            )
        rule = fit(logits, labels, f"recall:{first}>=0.8", 0.9, ("good", "crack", "spot"))
        assert rule.transform(logits[:1]).argmax() == winner


def test_both_classes_of_two_can_be_required():
    generator = np.random.default_rng(0)
    odds = np.r_[generator.normal(-3, 1, 200), generator.normal(3, 1, 100)]
    labels = np.repeat([0, 1], [200, 100])
    rule = fit(odds, labels, ["recall:bad>=0.9", "recall:good>=0.9"])
    found = rule.transform(two_logits(odds)).argmax(axis=1)
    assert (found[labels == 1] == 1).mean() >= 0.9
    assert (found[labels == 0] == 0).mean() >= 0.9
    both = fit(odds, labels, ["recall:bad>=0.9", "precision:bad>=0.8"])
    assert both.thresholds_[0] <= np.sort(odds[labels == 1])[10]
    with pytest.raises(InputError, match="claim"):
        fit(generator.normal(size=300), labels, ["recall:bad>=0.9", "recall:good>=0.9"])
    with pytest.raises(InputError, match="only a recall is required last"):
        fit(odds, labels, ["recall:bad>=0.9", "precision:good>=0.9"])


def test_it_is_refused_with_the_number_of_images_that_it_needs():
    for rate, confidence in ((0.95, 0.9), (0.9, 0.9), (0.5, 0.99)):
        needed = next(n for n in range(1, 1000) if 1 - rate**n >= confidence)
        for n in (needed - 1, needed):
            labels = np.repeat([0, 1], [5, n])
            odds = np.r_[np.full(5, -2.0), np.linspace(1, 2, n)]
            if n == needed:
                assert fit(odds, labels, f"recall:bad>={rate}", confidence).hits_.tolist() == [n]
                continue
            with pytest.raises(InputError, match=rf"needs at least {needed} held-out .* found {n};"):
                fit(odds, labels, f"recall:bad>={rate}", confidence)


def test_two_requirements_share_the_doubt():
    """45 images show a recall of .95 with a confidence of .9; with .95, as two requirements need, 59 do."""
    labels, odds = np.repeat([0, 1], [50, 45]), np.r_[np.full(50, -2.0), np.linspace(1, 2, 45)]
    fit(odds, labels, "recall:bad>=0.95")
    with pytest.raises(InputError, match=f"needs at least {math.ceil(math.log(0.05) / math.log(0.95))}"):
        fit(odds, labels, ["recall:bad>=0.95", "precision:bad>=0.5"])


def test_what_it_costs_is_counted_on_held_out_images():
    odds = np.r_[np.linspace(-3, 3, 1000), np.linspace(2, 4, 50)]
    labels = np.repeat([0, 1], [1000, 50])
    rule = fit(odds, labels, "recall:bad>=0.9")
    alarms = int((odds[:1000] >= rule.thresholds_[0]).sum())
    assert (rule.alarms_.tolist(), rule.others_.tolist(), rule.images_.tolist()) == ([alarms], [1000], [50])
    [text, note] = rule.describe()
    assert text.startswith("recall of bad of at least 0.9: promised; ")
    assert f"at {alarms} false alarms in 1,000 images of other classes (95 % interval " in text
    assert note == "confidence 0.9, for new images like the held-out ones"


def test_it_is_carried_by_its_state_and_by_tensors():
    generator = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2, 3], 60)
    logits = generator.normal(size=(240, 4)) + 2 * np.eye(4)[labels]
    require = ["recall:b>=0.8", "precision:c>=0.6"]
    rule = fit(logits, labels, require, 0.9, "abcd")
    again = adjustment_from_state(json.loads(json.dumps(rule.get_state())))
    new = 5 * generator.normal(size=(500, 4))
    np.testing.assert_array_equal(again.transform(new), rule.transform(new))
    np.testing.assert_allclose(
        again.transform_tensor(torch.from_numpy(new)).numpy(), rule.transform(new), atol=1e-9
    )
    assert again.describe() == rule.describe()
    # One string, as in the label of a method, says the same.
    joined = fit(logits, labels, "recall@b>=0.8;precision@c>=0.6", 0.9, "abcd")
    np.testing.assert_array_equal(joined.thresholds_, rule.thresholds_)
    # The decision: the first class whose log odds reach its threshold, else the likeliest of the free ones.
    odds = new - np.log(np.stack([np.exp(np.delete(new, c, 1)).sum(1) for c in range(4)], axis=1))
    rest = np.where(new[:, 0] >= new[:, 3], 0, 3)
    slow = np.where(odds[:, 2] >= rule.thresholds_[1], 2, rest)
    slow = np.where(odds[:, 1] >= rule.thresholds_[0], 1, slow)
    np.testing.assert_array_equal(rule.transform(new).argmax(axis=1), slow)


def test_what_cannot_be_read_is_refused():
    labels, odds = np.repeat([0, 1], 50), np.linspace(-1, 1, 100)
    for text in (
        "recall:bad>0.9",
        "recall>=0.9",
        "recall:bad>=1",
        "recall:bad>=0.0",
        "f1:bad>=0.9",
        "recall:bad>=x",
    ):
        with pytest.raises(InputError, match="is not of the form recall:CLASS>=RATE"):
            fit(odds, labels, text)
    with pytest.raises(UnknownNameError, match="did you mean 'bad'"):
        fit(odds, labels, "recall:bda>=0.9")
    with pytest.raises(InputError, match="give `require`"):
        fit(odds, labels, None)
    with pytest.raises(InputError, match="`confidence` between 0 and 1"):
        fit(odds, labels, "recall:bad>=0.5", 1.0)


def test_sets_keep_their_promise_under_an_adjustment_tuned_on_the_same_images():
    """Thresholds have few numbers to tune: each class stays covered within two points of the promise."""
    from scipy.special import softmax

    from counterpoise.balance.adjust import ClassThresholds
    from counterpoise.evaluation import conformal_rules, prediction_sets

    generator, repeats = np.random.default_rng(0), 100

    def simulate(counts):
        labels = np.repeat(np.arange(3), counts)
        logits = generator.normal(size=(len(labels), 3)) + np.array([1.5, 0, 0])
        logits[np.arange(len(labels)), labels] += 2 - 0.5 * labels
        return logits, labels

    for make in (ClassThresholds, lambda: RequiredRates(require="recall:2>=0.8", confidence=0.8)):
        covered = np.zeros(3)
        for _ in range(repeats):
            logits, labels = simulate((200, 60, 20))
            new, truth = simulate((300, 300, 300))
            rule = make().fit(logits, labels, (200, 60, 20))
            rules = conformal_rules(softmax(rule.transform(logits), axis=1), labels, "012")
            sets = prediction_sets(softmax(rule.transform(new), axis=1), rules)
            covered += np.bincount(truth, sets[np.arange(900), truth]) / 300 / repeats
        exact = [1 - math.floor(0.1 * (n + 1)) / (n + 1) for n in (200, 60, 20)]
        np.testing.assert_allclose(covered, exact, atol=0.02)
