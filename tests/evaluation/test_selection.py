"""Choice among candidates: scores as other libraries give them, errors as a bootstrap gives them, and the rule."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from imblearn.metrics import geometric_mean_score
from scipy.special import log_softmax
from sklearn.metrics import balanced_accuracy_score, f1_score, log_loss

from counterpoise.evaluation import Candidate, choose
from counterpoise.exceptions import InputError

COUNTS = (200, 90, 60)
SCORES = ("score", "gmean", "recall", "f1", "log_loss", "balanced_log_loss")


def noisy(counts=COUNTS, *, signal=1.5, sharpness=1.0, repeats=1, seed=0, noise=0):
    """Labels, and log-probabilities (repeats, N, C) of a model that is right more often than not."""
    labels = np.repeat(np.arange(len(counts)), counts)
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(repeats, len(labels), len(counts))) + signal * np.eye(len(counts))[labels]
    logits += np.random.default_rng(noise).normal(scale=0.2, size=logits.shape) if noise else 0
    return labels, log_softmax(sharpness * logits, axis=-1)


def scores_of(predictions, labels, groups=None):
    (row,) = choose([Candidate("only", 0, predictions)], labels, groups).candidates
    return row


def score_by_loop(predictions, labels, temperature):
    """The documented formula, class by class."""
    recalls, typical = [], []
    softened = log_softmax(predictions / temperature, axis=-1)
    for c in np.unique(labels):
        of_class = [i for i in range(len(labels)) if labels[i] == c]
        hits = np.mean([[row[i].argmax() == c for i in of_class] for row in predictions], axis=0).sum()
        recalls.append(np.log((hits + 0.5) / (len(of_class) + 1)))
        typical.append(np.mean([[row[i][c] for i in of_class] for row in softened]))
    return np.exp((np.mean(recalls) + np.mean(typical)) / 2)


@pytest.mark.parametrize("repeats", [1, 3])
def test_scores_are_those_of_other_libraries(repeats):
    labels, predictions = noisy(repeats=repeats, sharpness=3)
    row = scores_of(predictions, labels)
    probabilities = np.exp(predictions)
    predicted = predictions.argmax(axis=2)
    balanced = (1 / np.bincount(labels))[labels]
    mean = {
        "recall": np.mean([balanced_accuracy_score(labels, p) for p in predicted]),
        "f1": np.mean([f1_score(labels, p, average="macro") for p in predicted]),
        "log_loss": np.mean([log_loss(labels, p) for p in probabilities]),
        "balanced_log_loss": np.mean([log_loss(labels, p, sample_weight=balanced) for p in probabilities]),
        "score": score_by_loop(predictions, labels, row["temperature"]),
    }
    if repeats == 1:
        mean["gmean"] = geometric_mean_score(labels, predicted[0])
    assert {name: row[name]["value"] for name in mean} == pytest.approx(mean)


def test_the_temperature_has_the_lowest_balanced_log_loss():
    labels, predictions = noisy(sharpness=3)
    balanced = (1 / np.bincount(labels))[labels]
    grid = np.linspace(1, 4, 151)
    losses = [
        log_loss(labels, np.exp(log_softmax(predictions[0] / t, axis=1)), sample_weight=balanced)
        for t in grid
    ]
    assert scores_of(predictions, labels)["temperature"] == pytest.approx(grid[np.argmin(losses)], abs=0.02)


@pytest.mark.parametrize("sharpness", [0.05, 0.3, 3, 12])
def test_neither_overconfidence_nor_underconfidence_costs_anything(sharpness):
    labels, predictions = noisy()
    row, other = scores_of(predictions, labels), scores_of(sharpness * predictions, labels)
    # Not quite: only a timid one is held to the smoothed recall.
    assert other["temperature"] == pytest.approx(sharpness * row["temperature"], rel=0.1)
    assert other["score"]["value"] == pytest.approx(row["score"]["value"], rel=1e-3)


@pytest.mark.parametrize("images", [1, 30])
def test_without_mistakes_confidence_rises_to_the_smoothed_recall(images):
    """All right with probability 0.6: sigmoid(logit(0.6) / T) = (n + 1/2) / (n + 1)."""
    labels = np.repeat([0, 1], images)
    timid = np.log(np.where(np.eye(2)[labels] == 1, 0.6, 0.4))
    recall = (images + 0.5) / (images + 1)
    found = scores_of(timid, labels)
    assert found["temperature"] == pytest.approx(np.log(0.6 / 0.4) / np.log(recall / (1 - recall)), rel=1e-5)
    assert found["score"]["value"] == pytest.approx(recall)
    certain = np.log(np.where(np.eye(2)[labels] == 1, 0.999, 0.001))
    assert scores_of(certain, labels)["temperature"] == 1


def test_a_timid_candidate_that_misses_fewer_images_is_chosen():
    """As a network from scratch with label smoothing beside a certain head that misses five of a hundred."""
    labels = np.repeat(np.arange(4), 25)
    missed = labels.copy()
    missed[::20] = (missed[::20] + 1) % 4
    rows = [np.log(np.where(np.eye(4)[d] == 1, p, (1 - p) / 3)) for d, p in ((missed, 0.9), (labels, 0.55))]
    choice = choose([Candidate("head", 1, rows[0]), Candidate("scratch", 3, rows[1])], labels)
    assert choice.candidates[1]["log_loss"]["value"] > choice.candidates[0]["log_loss"]["value"]
    assert choice.chosen == "scratch"


@pytest.mark.parametrize("grouped", [False, True])
def test_standard_errors_are_those_of_a_bootstrap(grouped):
    labels, predictions = noisy()
    groups = np.arange(len(labels)) // 2 if grouped else np.arange(len(labels))
    rng = np.random.default_rng(1)
    members = {c: np.unique(groups[labels == c]) for c in range(3)}
    images = {group: np.flatnonzero(groups == group) for group in np.unique(groups)}
    values = []
    for _ in range(400):
        chosen = np.concatenate([rng.choice(found, len(found)) for found in members.values()])
        index = np.concatenate([images[group] for group in chosen])
        values.append(scores_of(predictions[:, index], labels[index]))
    found = scores_of(predictions, labels, groups)
    for name in SCORES:
        expected = np.std([drawn[name]["value"] for drawn in values])
        assert found[name]["standard_error"] == pytest.approx(expected, rel=0.12), name


def test_the_error_of_a_difference_is_paired():
    labels, first = noisy(noise=1)
    _, second = noisy(noise=2)
    choice = choose([Candidate("a", 0, first), Candidate("b", 0, second)], labels)
    behind = {row["name"]: row["behind"] for row in choice.candidates}
    assert behind[choice.best] == {"value": 0, "standard_error": 0}
    (other,) = {"a", "b"} - {choice.best}
    rng, values = np.random.default_rng(1), []
    members = [np.flatnonzero(labels == c) for c in range(3)]
    for _ in range(400):
        index = np.concatenate([rng.choice(found, len(found)) for found in members])
        a, b = (scores_of(p[:, index], labels[index])["score"]["value"] for p in (first, second))
        values.append(a - b)
    assert behind[other]["standard_error"] == pytest.approx(np.std(values), rel=0.12)
    assert behind[other]["standard_error"] < choice.candidates[0]["score"]["standard_error"] / 2


def test_repeats_and_copies_in_a_group_add_no_evidence():
    labels, predictions = noisy()
    once = scores_of(predictions, labels)
    repeated = scores_of(np.repeat(predictions, 4, axis=0), labels)
    assert [repeated[name] for name in SCORES] == [pytest.approx(once[name]) for name in SCORES]
    copies = np.repeat(np.arange(len(labels)), 2)
    twice = scores_of(predictions[:, copies], labels[copies], copies)
    for name in ("recall", "log_loss", "balanced_log_loss", "gmean", "f1"):
        assert twice[name] == pytest.approx(once[name])


@given(
    signals=st.lists(st.tuples(st.floats(0, 2), st.integers(0, 3)), min_size=1, max_size=5),
    rare=st.integers(1, 6),
    width=st.sampled_from([0.0, 1.0, 2.0]),
    seed=st.integers(0, 1000),
)
@settings(max_examples=60)
def test_the_simplest_within_the_band_is_chosen(signals, rare, width, seed):
    counts = (20, 10, rare)
    labels = noisy(counts)[0]
    candidates = [
        Candidate(f"{index}", rank, noisy(counts, signal=signal, seed=seed + index)[1])
        for index, (signal, rank) in enumerate(signals)
    ]
    choice = choose(candidates, labels, standard_errors=width)
    rows = {row["name"]: row for row in choice.candidates}
    assert [row["name"] for row in choice.candidates if row["chosen"]] == [choice.chosen]
    assert rows[choice.best]["score"]["value"] == max(row["score"]["value"] for row in rows.values())
    near = [
        row
        for row in rows.values()
        if row["behind"]["value"] <= width * row["behind"]["standard_error"] + 1e-15
    ]
    assert rows[choice.chosen] in near
    assert rows[choice.chosen]["complexity"] == min(row["complexity"] for row in near)
    if width == 0:
        assert choice.chosen == choice.best
    json.dumps(choice.to_dict(), allow_nan=False)
    assert choose(candidates[::-1], labels, standard_errors=width).chosen == choice.chosen


def test_the_simpler_of_two_like_candidates_is_chosen_with_a_reason():
    labels, other = noisy(noise=5)
    _, best = noisy(noise=6)
    _, bad = noisy(signal=0.3, noise=1)
    candidates = [Candidate("bad", 0, bad), Candidate("simple", 1, other), Candidate("best", 2, best)]
    choice = choose(candidates, labels)
    assert (choice.chosen, choice.best) == ("simple", "best")
    assert (
        choice.reason == "simple is preferred to best, which is better by only 0.005 (standard error 0.011)"
    )
    assert choose(candidates, labels, standard_errors=0).chosen == "best"
    assert choose(candidates[::2], labels).reason == (
        "best has the best score, and no simpler candidate is within 1 standard error of it"
    )
    assert choose(candidates[:1], labels).reason == "bad is the only candidate"


def test_without_a_hit_on_a_rare_class_the_probabilities_decide():
    labels = np.repeat([0, 1], [20, 3])

    def candidate(name, rare):
        rows = np.log([[0.9, 0.1]] * 20 + [[1 - rare, rare]] * 3)
        return Candidate(name, 0, rows)

    choice = choose([candidate("far", 0.05), candidate("near", 0.4)], labels)
    assert choice.chosen == "near"
    assert [row["gmean"] for row in choice.candidates] == [{"value": 0, "standard_error": None}] * 2


def test_images_that_were_always_trained_on_are_left_out():
    labels, predictions = noisy((20, 10, 1))
    predictions = np.concatenate([predictions, predictions])
    predictions[:, -1] = np.nan
    choice = choose([Candidate("a", 0, predictions)], labels)
    assert (choice.images, choice.repeats, choice.unscored_classes) == (30, 2, [2])
    assert choice.candidates == choose([Candidate("a", 0, predictions[:, :-1])], labels[:-1]).candidates


def test_impossible_probabilities_give_finite_scores():
    with np.errstate(divide="ignore"):
        certain = np.log(np.eye(2)[[0, 0, 1, 0]])
    row = scores_of(certain, np.array([0, 0, 1, 1]))
    assert row["log_loss"]["value"] == pytest.approx(15)
    assert 0 < row["score"]["value"] < 1


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"candidates": []}, "at least one"),
        ({"candidates": ["a", "a"]}, "different names"),
        ({"labels": [0, 1]}, r"'a' have shape \(1, 4, 2\)"),
        ({"labels": [0, 1, 2, 0]}, "label 2"),
        ({"groups": [0, 1]}, "`groups`"),
        ({"standard_errors": -1}, "`standard_errors`"),
        ({"missing": [0]}, "NaN in some"),
        ({"missing": range(4)}, "no image"),
    ],
)
def test_unusable_input_is_refused(changed, message):
    def predictions(name):
        values = np.log(np.full((4, 2), 0.5))
        if name == "a":
            values[
                list(changed.get("missing", ())), slice(None) if len(changed.get("missing", ())) > 1 else 0
            ] = np.nan
        return values

    names = changed.get("candidates", ["a"])
    rest = {name: changed[name] for name in ("groups", "standard_errors") if name in changed}
    others = [Candidate("b", 0, predictions("b"))] if len(changed.get("missing", ())) == 1 else []
    with pytest.raises(InputError, match=message):
        choose(
            [*(Candidate(n, 0, predictions(n)) for n in names), *others],
            changed.get("labels", [0, 0, 1, 1]),
            **rest,
        )


def test_a_candidate_that_misses_more_than_the_reference_is_not_chosen():
    labels = np.repeat([0, 1], [40, 20])
    sure = np.log(np.where(np.eye(2)[labels] == 1, 0.99, 0.01))
    margin = np.where(np.arange(60) % 4 == 0, 0.9, 0.501)[:, None]  # no temperature makes this one certain
    unsure = np.log(np.where(np.eye(2)[labels] == 1, margin, 1 - margin))
    sharp = sure.copy()
    sharp[-1] = np.log([0.6, 0.4])
    candidates = [Candidate("plain", 0, unsure), Candidate("sharp", 3, sharp)]
    assert choose(candidates, labels).chosen == "sharp"
    choice = choose(candidates, labels, reference="plain")
    assert choice.chosen == choice.best == "plain"
    assert choice.reason == "plain has the highest mean recall; sharp would miss more images of a class"
    better = choose([*candidates, Candidate("better", 3, sure)], labels, reference="plain")
    assert better.chosen == "better"


@pytest.mark.parametrize("metric", ["f1", "gmean"])
def test_a_metric_decides_and_the_distance_is_in_it(metric):
    """One finds the rare images and takes common ones for them; the other is seldom wrong, and misses half."""
    labels = np.repeat([0, 1], [200, 10])
    eager, careful = np.zeros(210, int), np.zeros(210, int)
    eager[[*range(40), *range(200, 209)]], careful[200:205] = 1, 1
    rows = {
        n: np.log(np.where(np.eye(2)[d] == 1, 0.8, 0.2)) for n, d in (("eager", eager), ("careful", careful))
    }
    candidates = [Candidate(name, 0, found) for name, found in rows.items()]
    choice = choose(candidates, labels, metric=metric)
    assert choice.chosen == choice.best == {"f1": "careful", "gmean": "eager"}[metric]
    assert choice.reason.startswith(
        f"{choice.chosen} has the best {'macro F1' if metric == 'f1' else 'G-mean'}"
    )
    scores = [
        f1_score(labels, d, average="macro") if metric == "f1" else geometric_mean_score(labels, d)
        for d in (eager, careful)
    ]
    assert [row["behind"]["value"] for row in choice.candidates] == pytest.approx(
        max(scores) - np.array(scores)
    )
    quick = choose(candidates, labels, metric=metric, calibrate=False).candidates
    assert [row["temperature"] for row in quick] == [1, 1]
    assert [row["behind"] for row in quick] == [row["behind"] for row in choice.candidates]
    # The reference is the least of the same metric: it does not exclude the better one, whose mean recall is lower.
    reference = "eager" if metric == "f1" else "careful"
    assert choose(candidates, labels, metric=metric, reference=reference).chosen == choice.chosen
