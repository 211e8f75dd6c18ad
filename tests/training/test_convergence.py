"""Heads trained to convergence, against scikit-learn's logistic regression and slow loops."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
import torch
from feature_rows import embedded as split_of
from feature_rows import rows_network
from sklearn.linear_model import LogisticRegression
from torch import nn

from counterpoise.balance.losses import CrossEntropy, WeightedCrossEntropy
from counterpoise.config import make_config
from counterpoise.datasets import ImageSplit, make_folds, map_indices
from counterpoise.exceptions import TrainingError
from counterpoise.methods import get_method
from counterpoise.networks import create_network, freeze
from counterpoise.training import EmbeddedSplit, cross_validation, fit_method, method_stages, out_of_fold
from counterpoise.training import convergence as module
from counterpoise.training.convergence import (
    PENALTIES,
    HeadObjective,
    HeadSamples,
    choose_penalty,
    minimize,
)

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def nothing_remembered():
    module._remembered.clear()


COUNTS = (60, 30, 9)
WIDTH = 12


def samples(seed=0, counts=COUNTS):
    generator = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(counts)), counts)
    rows = generator.normal(size=(len(labels), WIDTH)) + 1.2 * np.eye(len(counts), WIDTH)[labels]
    order = generator.permutation(len(labels))
    return rows[order].astype(np.float32), labels[order]


ROWS, LABELS = samples()
POINTS = samples(seed=1)[0]


unchanged = HeadSamples.of


def weighted(rows, labels):
    """Weights of 0.5, 1 and 4 for the classes."""
    return HeadSamples(rows, labels, np.array([0.5, 1, 4], dtype=np.float32)[labels])


def objective(loss=None, head=None):
    head = head or nn.Linear(WIDTH, len(COUNTS))
    return HeadObjective(head, loss or CrossEntropy(reduction="none"), CPU)


def sklearn_logits(data, penalty, points):
    """Return scikit-learn's logits at the same optimum; its C multiplies a sum of losses."""
    total = data.weights.sum(dtype=np.float64)
    model = LogisticRegression(C=1 / (penalty * total), tol=1e-9, max_iter=5000)
    model.fit(data.embeddings.astype(np.float64), data.labels, sample_weight=data.weights.astype(np.float64))
    return model.decision_function(points)


def assert_same(logits, expected, atol=2e-3):
    """Compare logits up to the constant of each sample, which no loss depends on."""
    np.testing.assert_allclose(centered(logits), centered(expected), rtol=1e-3, atol=atol)


def centered(logits):
    return logits - logits.mean(axis=1, keepdims=True)


def logits_of(head, points=POINTS):
    return head(torch.from_numpy(points)).detach().numpy()


@pytest.mark.parametrize("resample", [unchanged, weighted])
@pytest.mark.parametrize("penalty", [3.0, 0.1, 0.003])
def test_the_minimum_is_that_of_logistic_regression(resample, penalty):
    data = resample(ROWS, LABELS)
    head, loss, evaluations = minimize(objective(), data, penalty)
    expected = sklearn_logits(data, penalty, POINTS)
    # A small penalty leaves a flat minimum.
    assert_same(logits_of(head), expected, atol=2e-3 if penalty > 0.01 else 1e-2)
    share = data.weights / data.weights.sum()
    logits = torch.from_numpy(logits_of(head, ROWS))
    each = nn.functional.cross_entropy(logits, torch.from_numpy(LABELS), reduction="none").numpy()
    assert loss == pytest.approx(
        (each * share).sum() + penalty / 2 * head.weight.square().sum().item(), rel=1e-4
    )
    assert 1 < evaluations < 400
    assert not head.training


def test_class_weights_in_the_loss_are_those_of_the_samples():
    counts = np.bincount(LABELS)
    loss = WeightedCrossEntropy(class_counts=counts, reduction="none")
    head, _, _ = minimize(objective(loss=loss), unchanged(ROWS, LABELS), 0.1)
    weights = loss(torch.zeros(3, 3), torch.arange(3)).numpy() / np.log(3)
    # The weights of the loss are not divided by their sum: the penalty counts in proportion.
    data = HeadSamples(ROWS, LABELS, weights[LABELS].astype(np.float32))
    expected = sklearn_logits(data, 0.1 * len(LABELS) / data.weights.sum(), POINTS)
    assert_same(logits_of(head), expected)


def test_the_start_is_copied_and_forgotten():
    start = nn.Linear(WIDTH, 3)
    before = start.weight.detach().clone()
    first, _, _ = minimize(objective(head=start), unchanged(ROWS, LABELS), 0.1)
    second, _, _ = minimize(objective(head=nn.Linear(WIDTH, 3)), unchanged(ROWS, LABELS), 0.1)
    assert torch.equal(start.weight, before)
    assert_same(logits_of(first), logits_of(second))


def slow_choice(rows, labels, folds):
    """Choose a penalty by scikit-learn's models on all folds and penalties."""
    losses = np.zeros((len(PENALTIES), len(labels)))
    scored = folds >= 0
    for fold in range(module.FOLDS):
        inside, outside = folds != fold, folds == fold
        data = unchanged(rows[inside], labels[inside])
        for i, penalty in enumerate(PENALTIES):
            logits = sklearn_logits(data, penalty, rows[outside])
            shifted = logits - logits.max(axis=1, keepdims=True)
            log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
            losses[i, outside] = -log_p[np.arange(len(log_p)), labels[outside]]
    means, errors = losses[:, scored].mean(axis=1), losses[:, scored].std(axis=1) / np.sqrt(scored.sum())
    most = means.min() + errors[means.argmin()]
    return max(p for p, mean in zip(PENALTIES, means, strict=True) if mean <= most), PENALTIES[means.argmin()]


@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("seed", [0, 1])
def test_the_penalty_is_that_of_a_loop_over_folds_and_penalties(grouped, seed, monkeypatch):
    monkeypatch.setattr(module, "PATIENCE", np.inf)
    rows, labels = samples(seed, (40, 20, 8))
    groups = np.random.default_rng(seed).integers(0, 30, len(labels)) if grouped else None
    folds = make_folds(labels, groups, folds=module.FOLDS, random_state=seed)[0]
    expected, lowest = slow_choice(rows, labels, folds)
    found = choose_penalty(rows, labels, groups=groups, seed=seed)
    assert found == expected
    assert lowest <= expected
    monkeypatch.undo()
    module._remembered.clear()
    # Folds that stop early only leave out penalties that could not be chosen.
    assert choose_penalty(rows, labels, groups=groups, seed=seed) == expected


@pytest.mark.parametrize(
    "method",
    [
        "lda",
        "ados",
        *(pytest.param(m, marks=pytest.mark.slow) for m in ("logit-adjusted", "counterpoise-pretrained")),
    ],
)
def test_heads_are_the_same_on_any_number_of_cores(method, monkeypatch):
    """Folds are trained at the same time, on as many cores as there are; each draws and sums as if it were alone."""
    rows, labels = samples(0, (60, 40, 12))
    folds = make_folds(labels, folds=5, repeats=2, random_state=0)
    busy, most = set(), []
    real = cross_validation.fit_method

    def fit(*given, **options):
        busy.add(threading.get_ident())
        most.append(len(busy))
        time.sleep(0.01)
        try:
            return real(*given, **options)
        finally:
            busy.discard(threading.get_ident())

    monkeypatch.setattr(cross_validation, "fit_method", fit)
    found = []
    for threads in (1, 2, 4):
        module._remembered.clear()
        config, network = make_config(threads=threads, seed=0), rows_network(WIDTH, 3)
        found.append(out_of_fold(get_method(method), network, split_of(rows, labels), folds, config=config))
        assert max(most) == threads
    assert np.isfinite(found[0]).all()
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])
    # Copies of the embeddings must not fill the memory.
    monkeypatch.setattr(method_stages, "LARGE_PROBLEM", 2 * rows.size)
    most.clear()
    out_of_fold(get_method(method), network, split_of(rows, labels), folds, config=config)
    assert max(most) == 2


def test_the_penalty_of_noise_is_larger_than_that_of_separable_classes():
    noise = np.random.default_rng(0).normal(size=ROWS.shape).astype(np.float32)
    clear = ROWS + 9 * np.eye(3, WIDTH, dtype=np.float32)[LABELS]
    assert choose_penalty(noise, LABELS) == max(PENALTIES)
    assert choose_penalty(clear, LABELS) < 0.1


def test_cross_validation_uses_a_limited_number_of_images_of_each_class(monkeypatch):
    monkeypatch.setattr(module, "CROSS_VALIDATED", 20)
    counts = []
    real = module.minimize

    def record(objective, data, penalty, **options):
        counts.append(np.bincount(data.labels).tolist())
        return real(objective, data, penalty, **options)

    monkeypatch.setattr(module, "minimize", record)
    monkeypatch.setattr(module, "PENALTIES", (1.0,))
    choose_penalty(ROWS, LABELS, seed=0)
    assert np.sum(counts, axis=0).tolist() == [3 * 20, 3 * 20, 3 * 9]


def test_the_same_question_is_answered_once(monkeypatch):
    calls = []
    real = module._cross_validated
    monkeypatch.setattr(module, "_cross_validated", lambda *given: (calls.append(1), real(*given))[1])
    first = [choose_penalty(ROWS, LABELS, seed=seed) for seed in (0, 0, 1)]
    other = ROWS.copy()
    other[0, 0] += 1
    choose_penalty(other, LABELS, seed=0)
    choose_penalty(ROWS, LABELS, groups=np.arange(len(ROWS)), seed=0)
    assert first[0] == first[1]
    assert len(calls) == 4
    for seed in range(20):
        choose_penalty(ROWS[:9], LABELS[:9] * 0 + np.arange(9) % 3, seed=seed)
    assert len(module._remembered) == 8


def test_with_one_image_of_each_class_the_largest_penalty_is_taken():
    assert choose_penalty(ROWS[:3], np.arange(3)) == max(PENALTIES)
    few = np.array([0, 0, 0, 1])
    assert choose_penalty(ROWS[:4], few) in PENALTIES


def test_embeddings_that_are_not_finite_are_refused():
    rows = ROWS.copy()
    rows[5, 2] = np.nan
    with pytest.raises(TrainingError, match="the head's loss is not finite; check the embeddings"):
        minimize(objective(), unchanged(rows, LABELS), 1.0)


# --- methods on standardized embeddings -------------------------------------------------------------------


def standardizing(head_layer="linear"):
    """Return a frozen network that standardizes, with embeddings as wide as `ROWS` are not: 64."""
    network = create_network(
        "tinynet",
        num_classes=3,
        in_channels=1,
        image_size=(8, 8),
        seed=0,
        head_layer=head_layer,
        standardize=True,
    )
    freeze(network, "all")
    return network


def embedded(seed=0, counts=COUNTS):
    generator = np.random.default_rng(seed)
    labels = generator.permutation(np.repeat(np.arange(len(counts)), counts))
    rows = generator.normal(size=(len(labels), 64)) + 1.5 * np.eye(len(counts), 64)[labels]
    split = ImageSplit(
        np.zeros((len(labels), 1, 8, 8), np.uint8), labels, tuple(map(str, range(len(labels))))
    )
    return EmbeddedSplit.of(split, rows.astype(np.float32))


TRAIN = embedded()


def fitted(spec, train=TRAIN, **settings):
    method = get_method(spec)
    config = make_config(**{"epochs": 4, "device": "cpu", "penalty": 0.1} | settings)
    return fit_method(method, standardizing(method.head_layer), train, config=config)


def expected_logits(weights, penalty=0.1):
    return sklearn_logits(
        HeadSamples(TRAIN.rows, TRAIN.labels, weights.astype(np.float32)), penalty, TRAIN.rows
    )


def test_the_baseline_is_logistic_regression():
    result = fitted("bl")
    assert_same(result.logits(TRAIN), expected_logits(np.ones(99)))
    assert result.penalties == {"train": 0.1}
    assert [(entry["stage"], entry["epoch"]) for entry in result.history] == [("train", 1)]


@pytest.mark.parametrize(
    ("spec", "draws"),
    [
        ("ros", (1, 2, 60 / 9)),
        ("rus", (9 / 60, 9 / 30, 1)),
        ("bl-ros-rus", (33 / 60, 33 / 30, 33 / 9)),
        ("class-balanced-sampling", (33 / 60, 33 / 30, 33 / 9)),
    ],
)
def test_a_sampler_acts_as_weights_by_its_mean_draws(spec, draws):
    loose = 0.05 if spec == "class-balanced-sampling" else 2e-3
    expected = expected_logits(np.array(draws)[TRAIN.labels])
    assert_same(fitted(spec).logits(TRAIN), expected, atol=loose)


def test_what_is_deferred_acts_as_in_the_last_epoch():
    always = fitted("bl:loss=weighted-cross-entropy:loss.normalize=mean").logits(TRAIN)
    np.testing.assert_allclose(fitted("bl-cw-drw").logits(TRAIN), always, atol=1e-4)
    sampler = "bl:sampler=class-balanced-sampler"
    late = fitted(f"{sampler}:sampler.defer_epochs=3").logits(TRAIN)
    np.testing.assert_allclose(late, fitted(sampler).logits(TRAIN), atol=1e-4)


def test_feature_space_methods_are_resampled_once_and_weighted(monkeypatch):
    from counterpoise.balance.features import ADOS

    sizes = []
    real = ADOS.fit_resample

    def record(self, rows, labels):
        sizes.append(len(rows))
        return real(self, rows, labels)

    monkeypatch.setattr(ADOS, "fit_resample", record)
    result = fitted("ados")
    assert sizes == [99]
    shown = result.resampled
    data = HeadSamples(shown.embeddings, shown.labels, shown.sample_weight)
    expected = sklearn_logits(data, 0.1, TRAIN.rows)
    assert_same(result.logits(TRAIN), expected)


def test_all_methods_have_the_penalty_of_the_baseline():
    found = {
        spec: next(iter(fitted(spec, penalty=None).penalties.values())) for spec in ("bl", "bl-cw", "ados")
    }
    assert len(set(found.values())) == 1
    assert [fitted("bl", penalty=None).penalties for _ in range(2)] == [{"train": found["bl"]}] * 2
    assert fitted("bl", penalty=0.25).penalties == {"train": 0.25}


def test_experts_are_penalized_and_cosine_heads_are_not():
    assert objective(head=standardizing("experts").classifier).penalized == ["weight"]
    assert objective(head=standardizing("unit-length").classifier).penalized == ["weight"]
    assert objective(head=standardizing("cosine").classifier).penalized == []
    assert fitted("bl:head_layer=experts:loss=balpoe", penalty=None).penalties["train"] in PENALTIES
    assert fitted("cosine", penalty=None).penalties == {"head": 0.0}


def test_a_single_thread_is_the_callers_so_that_an_interruption_does_not_wait():
    assert set(map_indices(lambda _: threading.get_ident(), 5, threads=1, chunk=1)) == {threading.get_ident()}
    assert threading.get_ident() not in map_indices(lambda _: threading.get_ident(), 5, threads=2, chunk=1)
