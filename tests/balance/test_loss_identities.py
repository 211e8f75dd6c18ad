"""What holds between losses, for any logits and counts, and what their papers say of them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from counterpoise.balance.losses import (
    ClassBalancedLoss,
    CostModifiedSoftmax,
    CrossEntropy,
    ExpectedCostLoss,
    FocalLoss,
    LDAMLoss,
    SigmoidCrossEntropy,
    WeightedCrossEntropy,
    class_weights,
    effective_number_weights,
)

FEW = settings(max_examples=40)
LOGITS = arrays(np.float64, (4, 3), elements=st.floats(-30, 30)).map(torch.from_numpy)
TARGETS = st.lists(st.integers(0, 2), min_size=4, max_size=4).map(torch.tensor)
SURE = torch.tensor(
    [[-28.0, -15.0, 14.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]], dtype=torch.float64
)
COUNTS = st.lists(st.integers(1, 10**6), min_size=3, max_size=3)
SOME_COSTS = arrays(np.float64, (3, 3), elements=st.floats(0.1, 100)).map(
    lambda costs: costs * (1 - np.eye(3))
)


def values(loss, logits, targets):
    return loss(logits, targets).numpy()


@FEW
@given(LOGITS, TARGETS, COUNTS)
def test_what_becomes_cross_entropy(logits, targets, counts):
    plain = values(CrossEntropy(reduction="none"), logits, targets)
    for loss in (
        FocalLoss(gamma=0, reduction="none"),
        ClassBalancedLoss(class_counts=counts, beta=0, reduction="none"),
        WeightedCrossEntropy(class_counts=counts, power=0, normalize="mean", reduction="none"),
        LDAMLoss(class_counts=counts, max_margin=0, reduction="none"),
        CostModifiedSoftmax(costs=1 - np.eye(3), reduction="none"),
        CostModifiedSoftmax(class_counts=[7, 7, 7], reduction="none"),
    ):
        np.testing.assert_allclose(values(loss, logits, targets), plain, rtol=1e-9, atol=1e-12)


@FEW
@given(LOGITS, TARGETS, COUNTS, st.floats(0, 5))
@example(SURE, torch.tensor([2, 0, 0, 0]), [1, 1, 1], 0.0)
def test_what_becomes_binary_or_focal_loss(logits, targets, counts, gamma):
    binary = values(SigmoidCrossEntropy(reduction="none"), logits, targets)
    balanced = ClassBalancedLoss(class_counts=counts, beta=0, base="sigmoid", reduction="none")
    np.testing.assert_allclose(values(balanced, logits, targets), binary, rtol=1e-9)
    even = SigmoidCrossEntropy(positive_weight="inverse", class_counts=[5, 5, 10], reduction="none")
    own, weight = (
        logits[torch.arange(4), targets],
        torch.tensor([3.0, 3.0, 1.0], dtype=torch.float64)[targets],
    )
    wanted = binary - ((weight - 1) * F.logsigmoid(own)).numpy()
    np.testing.assert_allclose(values(even, logits, targets), wanted, rtol=1e-9)
    focal = values(FocalLoss(gamma=gamma, reduction="none"), logits, targets)
    balanced = ClassBalancedLoss(class_counts=counts, beta=0, gamma=gamma, reduction="none")
    np.testing.assert_allclose(values(balanced, logits, targets), focal, rtol=1e-9)


@FEW
@given(LOGITS, TARGETS, st.floats(0, 4), st.floats(0.01, 2))
def test_a_larger_gamma_makes_every_sample_weigh_less(logits, targets, gamma, more):
    less = values(FocalLoss(gamma=gamma + more, reduction="none"), logits, targets)
    assert (less <= values(FocalLoss(gamma=gamma, reduction="none"), logits, targets) * (1 + 1e-12)).all()


@FEW
@given(COUNTS, st.floats(0, 0.999999))
def test_effective_number_weights_lie_between_none_and_the_inverse_shares(counts, beta):
    n, weights = np.array(counts), effective_number_weights(counts, beta=beta)
    assert weights.mean() == pytest.approx(1)
    rare_first = np.argsort(n, kind="stable")
    assert (np.diff(weights[rare_first]) <= 1e-12).all()
    # Never further apart than the inverse shares.
    assert (np.diff((weights * n)[rare_first]) >= -1e-9 * n.max()).all()


def test_effective_numbers_of_the_paper():
    np.testing.assert_allclose(effective_number_weights([3, 40, 500], beta=0), [1, 1, 1])
    nearly_one = effective_number_weights([3, 40, 500], beta=1 - 1e-12)
    np.testing.assert_allclose(nearly_one, class_weights([3, 40, 500], normalize="mean"), rtol=1e-3)
    assert effective_number_weights([10**6, 10**7], beta=0.999) == pytest.approx([1, 1])
    np.testing.assert_allclose(effective_number_weights([1, 0, 2], beta=0.5), [1.2, 0, 0.8])


@FEW
@given(LOGITS, TARGETS, SOME_COSTS, st.floats(0.01, 100))
def test_costs_in_another_currency(logits, targets, costs, rate):
    for loss, factor in ((ExpectedCostLoss, rate), (CostModifiedSoftmax, 1.0)):
        here = values(loss(costs=costs, reduction="none"), logits, targets)
        there = values(loss(costs=rate * costs, reduction="none"), logits, targets)
        np.testing.assert_allclose(there, factor * here, rtol=1e-9, atol=1e-12)


@FEW
@given(LOGITS, TARGETS, SOME_COSTS)
def test_expected_cost_is_the_chance_of_a_mistake_where_all_cost_one(logits, targets, costs):
    missed = 1 - logits.softmax(1)[torch.arange(4), targets].numpy()
    alike = values(ExpectedCostLoss(costs=1 - np.eye(3), reduction="none"), logits, targets)
    np.testing.assert_allclose(alike, missed, atol=1e-12)
    bounded = values(ExpectedCostLoss(costs=costs, reduction="none"), logits, targets)
    assert (bounded <= costs.max(1)[targets] * (1 + 1e-12)).all()


@FEW
@given(LOGITS, TARGETS, SOME_COSTS)
def test_modified_softmax_asks_for_the_margin_of_the_costs(logits, targets, costs):
    """Raising the target's logits by the margins over each class takes the costs back."""
    cheapest = costs[costs > 0].min()
    xi = np.where(costs > 0, costs, cheapest)[targets]
    met = CostModifiedSoftmax(costs=costs, reduction="none")(
        logits - torch.from_numpy(np.log(xi / cheapest)), targets
    )
    np.testing.assert_allclose(met, values(CrossEntropy(reduction="none"), logits, targets), atol=1e-9)


def test_margins_on_a_cosine_head_are_those_of_the_paper():
    """-log exp(s (cos_y - m_y)) / (exp(s (cos_y - m_y)) + sum_k exp(s cos_k)), m_c = C n_c^(-1/4), the largest 0.5."""
    generator = np.random.default_rng(0)
    embeddings, vectors, targets = (
        generator.normal(size=(5, 8)),
        generator.normal(size=(3, 8)),
        [0, 1, 2, 2, 1],
    )
    cosines = np.array(
        [[z @ w / np.sqrt((z @ z) * (w @ w)) for w in vectors] for z in embeddings],
    )
    counts = [625, 81, 16]
    margins = [0.5 * 2 / 5, 0.5 * 2 / 3, 0.5]
    wanted = []
    for row, y in zip(cosines, targets, strict=True):
        own = math.exp(30 * (row[y] - margins[y]))
        wanted.append(-math.log(own / (own + sum(math.exp(30 * row[k]) for k in range(3) if k != y))))
    loss = LDAMLoss(class_counts=counts, reduction="none")
    np.testing.assert_allclose(loss(torch.from_numpy(30 * cosines), torch.tensor(targets)), wanted)


def test_a_step_under_deferred_margins_is_renormalised():
    """However rare the classes of a batch, its weights sum to 1 (Cao et al. 2019, Algorithm 1, line 11)."""
    counts, logits = [5000, 50], torch.zeros(4, 2, dtype=torch.float64)
    loss = LDAMLoss(class_counts=counts, max_margin=0.0, defer_epochs=0)
    for targets in ([0, 0, 0, 0], [0, 0, 0, 1], [1, 1, 1, 1]):
        assert float(loss(logits, torch.tensor(targets))) == pytest.approx(math.log(2))
    without = LDAMLoss(class_counts=[9, 0], max_margin=0.0, defer_epochs=0)
    assert float(without(logits, torch.ones(4, dtype=torch.int64))) == 0


def test_focal_loss_of_the_paper():
    """Lin et al. 2017, section 3.2: with gamma = 2, p_t = 0.9 counts 100x less, p_t = .5 at most 4x."""
    for p, factor in ((0.9, 100), (0.968, 1000), (0.5, 4)):
        logits, target = torch.tensor([[p, 1 - p]], dtype=torch.float64).log(), torch.tensor([0])
        assert float(CrossEntropy()(logits, target) / FocalLoss()(logits, target)) == pytest.approx(
            factor, rel=0.03
        )


def test_sigmoid_of_the_lecture():
    """The outputs are independent: sigma(x) = 1 / (1 + e^-x) of each, and they need not sum to 1."""
    logits = torch.tensor([[2.0, 1.0, -3.0]], dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(SigmoidCrossEntropy()(logits, torch.tensor([1])), logits)
    wanted = [1 / (1 + math.exp(-x)) - (c == 1) for c, x in enumerate([2.0, 1.0, -3.0])]
    np.testing.assert_allclose(gradient[0], wanted)


def test_sure_outputs_keep_their_digits_in_single_precision():
    z = torch.tensor([[-12.0, 12.0, -16.0]])
    exact = sum(math.log1p(math.exp(-abs(v))) for v in z[0].tolist())
    assert float(SigmoidCrossEntropy()(z, torch.tensor([1]))) == pytest.approx(exact, rel=1e-5)
