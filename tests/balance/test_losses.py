"""Every loss against a slow loop written from its equation, and against the papers' worked examples."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from loss_oracles import COSTS, COUNTS, LOSSES, SLOW, batch, effective, inverse, mean_one

from counterpoise.balance import losses
from counterpoise.balance.catalog import SLOT_CATALOGS
from counterpoise.balance.losses import (
    BalancedSoftmax,
    BalPoELoss,
    ClassBalancedLoss,
    CostModifiedSoftmax,
    CrossEntropy,
    ExpectedCostLoss,
    FocalLoss,
    LDAMLoss,
    SigmoidCrossEntropy,
    VSLoss,
    WeightedCrossEntropy,
    class_weights,
)
from counterpoise.exceptions import InputError
from counterpoise.methods import Component


def slow_divisor(name, targets):
    """Only margins with weights are divided by the weights (Cao et al. 2019, Algorithm 1, line 11)."""
    return sum(effective()[y] for y in targets) if name == "margins-weighted" else len(targets)


def test_every_loss_has_an_oracle():
    assert SLOW.keys() == LOSSES.keys()
    assert {type(build()).__name__ for build in LOSSES.values()} == {
        entry.attribute for entry in SLOT_CATALOGS["losses"]
    }


@pytest.mark.parametrize("name", LOSSES)
def test_equals_the_slow_loop(name):
    logits, targets = batch()
    wanted = [SLOW[name](row, y) for row, y in zip(logits.tolist(), targets.tolist(), strict=True)]
    np.testing.assert_allclose(LOSSES[name](reduction="none")(logits, targets), wanted, rtol=1e-12)


@pytest.mark.parametrize("name", LOSSES)
def test_reductions_and_sample_weights(name):
    logits, targets = batch()
    weight = torch.linspace(0, 2, len(targets), dtype=torch.float32)
    divisor = slow_divisor(name, targets.tolist())
    single = LOSSES[name](reduction="none")(logits, targets)
    torch.testing.assert_close(LOSSES[name](reduction="sum")(logits, targets), single.sum())
    torch.testing.assert_close(LOSSES[name]()(logits, targets), single.sum() / divisor)
    weighted = (single * weight).sum() / divisor
    torch.testing.assert_close(LOSSES[name]()(logits, targets, weight), weighted)
    assert weighted != single.sum() / divisor


@pytest.mark.parametrize("name", LOSSES)
def test_gradients(name):
    logits, targets = batch()
    weight = torch.rand(len(targets), dtype=torch.float64)
    loss = LOSSES[name]()
    assert torch.autograd.gradcheck(lambda z: loss(z, targets, weight), logits.requires_grad_())


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_type_is_that_of_the_logits_and_the_input_is_left_alone(name, dtype):
    logits, targets = batch(dtype=dtype)
    before = logits.clone()
    result = LOSSES[name](reduction="none")(logits, targets, torch.ones(7))
    assert result.dtype == (torch.float32 if dtype == torch.bfloat16 else dtype)
    exact = LOSSES[name](reduction="none")(logits.double(), targets)
    torch.testing.assert_close(result.double(), exact, rtol=1e-5, atol=1e-5)
    assert torch.equal(before, logits)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_huge_logits_give_finite_losses_and_gradients(name, dtype):
    signs = torch.tensor([[1, -1, -1, 1], [-1, 1, 1, 1], [1, 1, 1, 1], [-1, -1, -1, -1], [1, -1, -1, -1]])
    logits = (1e4 * signs).to(dtype).repeat(4, 1).requires_grad_()
    targets = torch.arange(4).repeat_interleave(5)
    for reduction in ("mean", "sum", "none"):
        values = LOSSES[name](reduction=reduction)(logits, targets)
        (gradient,) = torch.autograd.grad(values.sum(), logits)
        assert torch.isfinite(values).all()
        assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("name", SLOT_CATALOGS["losses"].names)
def test_a_class_without_samples_does_no_harm(name):
    loss = Component("losses", name).build(class_counts=[50, 0, 20, 1], epochs=10, reduction="none")
    logits, targets = batch()
    values = loss(logits.requires_grad_(), targets)
    (gradient,) = torch.autograd.grad(values.sum(), logits)
    assert torch.isfinite(values).all()
    assert torch.isfinite(gradient).all()
    assert (values[targets != 1] > 0).all()


@pytest.mark.parametrize("name", LOSSES)
def test_empty_batch_is_zero_and_has_a_gradient(name):
    logits = torch.empty(0, len(COUNTS), requires_grad=True)
    loss = LOSSES[name]()(logits, torch.empty(0, dtype=torch.int64))
    loss.backward()
    assert loss == 0
    assert logits.grad.shape == (0, len(COUNTS))


@pytest.mark.parametrize("name", LOSSES)
def test_bad_input_is_refused_with_what_was_expected(name):
    logits, targets = batch()
    loss = LOSSES[name]()
    for arguments, message in [
        ((logits[0], targets), r"shape \(N, C\)"),
        ((logits.long(), targets), "expected floats"),
        ((logits, targets[:3]), r"int64 of shape \(7,\)"),
        ((logits, targets.int()), "int64"),
        ((logits, targets, torch.ones(3)), "each of the 7"),
        ((logits, torch.ones(7, 3) / 3), r"floats of shape \(7, 4\): probabilities"),
        ((logits, torch.ones(7, 4) / 3), "rows of 0 or more that sum to 1"),
        ((logits, torch.tensor([[1.5, -0.5, 0, 0]]).expand(7, 4)), "rows of 0 or more that sum to 1"),
    ]:
        with pytest.raises(InputError, match=message):
            loss(*arguments)


@pytest.mark.parametrize(
    "loss", [WeightedCrossEntropy, BalancedSoftmax, ClassBalancedLoss, LDAMLoss, VSLoss, BalPoELoss]
)
def test_counts_must_match_the_logits(loss):
    with pytest.raises(InputError, match="3 class counts for 4 logits"):
        loss(class_counts=[1, 2, 3])(*batch())
    for bad in ([], [0, 0], [-1, 2], [[1, 2]], [1.0, math.nan], ["a"]):
        with pytest.raises(InputError, match="class counts"):
            loss(class_counts=bad)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: CrossEntropy(reduction="avg"), "mean, sum, none"),
        (lambda: CrossEntropy(label_smoothing=1.0), "label_smoothing is 1.0"),
        (lambda: VSLoss(class_counts=[1], gamma=-1), "gamma is -1"),
        (lambda: VSLoss(class_counts=[1], tau=math.inf), "tau is inf"),
        (lambda: BalPoELoss(class_counts=[1], tau=-1), "tau is -1"),
        (lambda: BalPoELoss(class_counts=[1], spread=math.nan), "spread is nan"),
        (lambda: LDAMLoss(class_counts=[1], label_smoothing=-0.1), r"label_smoothing is -0\.1"),
        (lambda: WeightedCrossEntropy(class_counts=[1], power=1.5), r"power .*1\.5"),
        (lambda: WeightedCrossEntropy(class_counts=[1], normalize="max"), "normalize .*'max'"),
        (lambda: WeightedCrossEntropy(class_counts=[1], defer_epochs=-1), "defer_epochs is -1"),
        (lambda: BalancedSoftmax(class_counts=[1], tau=-1), "tau is -1"),
        (lambda: FocalLoss(gamma=-1), "gamma is -1"),
        (lambda: FocalLoss(gamma=math.nan), "gamma is nan"),
        (lambda: FocalLoss(alpha="inverse"), "give class_counts="),
        (lambda: FocalLoss(alpha="invers"), "alpha is 'invers'; expected 'inverse', or a number for each"),
        (lambda: FocalLoss(alpha=[1, -1]), "0 or more"),
        (lambda: FocalLoss(alpha=0.25), "a number for each class"),
        (lambda: FocalLoss(alpha=[1, 2])(*batch()), "alpha is of 2 classes for 4 logits"),
        (lambda: ClassBalancedLoss(class_counts=[1], beta=1.0), "beta is 1.0"),
        (lambda: ClassBalancedLoss(class_counts=[1], base="hinge"), "base is 'hinge'; .* softmax, sigmoid"),
        (lambda: ClassBalancedLoss(class_counts=[1], gamma=-0.5), r"gamma is -0\.5"),
        (lambda: LDAMLoss(class_counts=[1], max_margin=-1), "max_margin is -1"),
        (lambda: LDAMLoss(class_counts=[1], scale=0), "scale is 0"),
        (lambda: LDAMLoss(class_counts=[1], beta=0.5), r"beta=0\.5 has no effect"),
        (lambda: LDAMLoss(class_counts=[1], beta=2, defer_epochs=1), "beta is 2"),
        (lambda: SigmoidCrossEntropy(positive_weight="inverse"), "give class_counts="),
        (lambda: SigmoidCrossEntropy(positive_weight=[math.inf]), "positive_weight is "),
        (lambda: SigmoidCrossEntropy(positive_weight=[1, 2])(*batch()), "of 2 classes for 4 logits"),
        (lambda: ExpectedCostLoss(), "give costs=, or class_counts="),
        (lambda: ExpectedCostLoss(costs=[[1, 1], [0, 0]]), "no mistake costs more than the right decision"),
        (
            lambda: CostModifiedSoftmax(costs=[[1, 0], [0, 0]]),
            "no mistake costs more than the right decision",
        ),
        (lambda: CostModifiedSoftmax(costs=COSTS, class_counts=[1, 2]), "is 4 x 4; expected 2 x 2"),
        (lambda: ExpectedCostLoss(costs=[[0, 1], [1, 0]])(*batch()), "of 2 classes for 4 logits"),
    ],
)
def test_bad_options_are_refused(build, message):
    with pytest.raises(InputError, match=message):
        build()


def test_lecture_softmax_and_cross_entropy():
    """The lecture's softmax of [0.3, 1.6, 3.1, 5.6] and its cross entropy of 0.462."""
    logits = torch.tensor([[0.3, 1.6, 3.1, 5.6]], dtype=torch.float64)
    printed = [0.0045156766666643495, 0.016569357344960955, 0.07425870771543724, 0.9046562582729584]
    probabilities = [float(torch.exp(-CrossEntropy()(logits, torch.tensor([c])))) for c in range(4)]
    np.testing.assert_allclose(probabilities, printed, rtol=1e-10)
    lecture = CrossEntropy()(torch.tensor([[0.23, 0.63, 0.14]]).log(), torch.tensor([1]))
    assert float(lecture) == pytest.approx(0.462, abs=5e-4)


def test_thesis_example_4_2():
    np.testing.assert_allclose(class_weights([2000, 100]), [1 / 21, 20 / 21])
    np.testing.assert_allclose(class_weights([2000, 500]), [1 / 5, 4 / 5])


def test_class_weights_options():
    counts = np.array([90, 9, 1])
    np.testing.assert_allclose(class_weights(counts, power=0), [1 / 3] * 3)
    np.testing.assert_allclose(class_weights(counts, normalize="mean"), 3 * class_weights(counts))
    half = class_weights(counts, power=0.5)
    np.testing.assert_allclose(half[2] / half[0], math.sqrt(90))
    np.testing.assert_allclose(counts * class_weights(counts), [90 * class_weights(counts)[0]] * 3)
    np.testing.assert_array_equal(class_weights(torch.tensor(counts)), class_weights(counts.tolist()))


def test_class_without_samples_has_no_weight_and_does_not_count():
    np.testing.assert_allclose(class_weights([2000, 0, 100]), [1 / 21, 0, 20 / 21])
    np.testing.assert_allclose(class_weights([2000, 0, 100], normalize="mean"), [2 / 21, 0, 40 / 21])
    np.testing.assert_allclose(class_weights([3, 0], power=0), [1, 0])


def test_class_without_samples_has_no_share_in_the_balanced_softmax():
    loss = BalancedSoftmax(class_counts=[3, 0, 1], reduction="none")
    values = loss(torch.zeros(3, 3), torch.tensor([0, 1, 2]))
    torch.testing.assert_close(values[[0, 2]], torch.tensor([4 / 3, 4.0]).log())
    assert torch.isfinite(values).all()
    off = BalancedSoftmax(class_counts=[3, 0, 1], tau=0.0)
    torch.testing.assert_close(off(torch.zeros(1, 3), torch.tensor([1])), torch.tensor(3.0).log())


DEFERRED = {
    "weighted": lambda **kw: WeightedCrossEntropy(class_counts=COUNTS, normalize="mean", **kw),
    "effective": lambda **kw: ClassBalancedLoss(class_counts=COUNTS, **kw),
    "margins": lambda **kw: LDAMLoss(class_counts=COUNTS, max_margin=0.0, **kw),
}


@pytest.mark.parametrize("name", DEFERRED)
@pytest.mark.parametrize(("defer_epochs", "first"), [(0, 0), (3, 3), (0.8, 4), (0.5, 2)])
def test_a_deferral_counts_epochs_or_is_a_share_of_them(name, defer_epochs, first):
    loss = DEFERRED[name](defer_epochs=defer_epochs, epochs=5, reduction="none")
    weights = {"weighted": mean_one(inverse())}.get(name, effective())
    logits, targets = batch()
    for epoch in (0, 1, 2, 3, 4, 0):  # a resumed run goes back
        loss.set_epoch(epoch)
        factor = [weights[y] if epoch >= first else 1.0 for y in targets.tolist()]
        unweighted = CrossEntropy(reduction="none")(logits, targets)
        np.testing.assert_allclose(loss(logits, targets), unweighted * torch.tensor(factor))


@pytest.mark.parametrize("name", DEFERRED)
def test_a_share_needs_the_number_of_epochs(name):
    with pytest.raises(InputError, match=r"defer_epochs=0\.8 is a share of all epochs; .* epochs="):
        DEFERRED[name](defer_epochs=0.8)
    for bad in (-1, 1.0, 2.5, -0.5, True, "often"):
        with pytest.raises(InputError, match="defer_epochs is "):
            DEFERRED[name](defer_epochs=bad, epochs=5)


def test_deferred_weights_begin_at_their_epoch():
    logits, targets = batch()
    deferred = WeightedCrossEntropy(class_counts=COUNTS, defer_epochs=2)
    plain, weighted = CrossEntropy()(logits, targets) / len(COUNTS), LOSSES["weighted"]()(logits, targets)
    seen = []
    for epoch in range(4):
        deferred.set_epoch(epoch)
        seen.append(float(deferred(logits, targets)))
    np.testing.assert_allclose(seen, [plain, plain, weighted, weighted])
    deferred.set_epoch(0)  # a resumed run goes back
    assert float(deferred(logits, targets)) == pytest.approx(float(plain))
    mean = WeightedCrossEntropy(class_counts=COUNTS, defer_epochs=2, normalize="mean")
    torch.testing.assert_close(mean(logits, targets), CrossEntropy()(logits, targets))


def test_set_epoch_does_nothing_without_a_schedule():
    logits, targets = batch()
    for name in ("plain", "balanced", "focal-inverse", "margins", "sigmoid", "expected", "modified"):
        loss = LOSSES[name]()
        before = loss(logits, targets)
        loss.set_epoch(9)
        assert loss(logits, targets) == before


def test_losses_add_nothing_to_a_checkpoint():
    assert all(not build().state_dict() and not list(build().parameters()) for build in LOSSES.values())


def test_public_names_exist():
    assert all(hasattr(losses, name) for name in losses.__all__)
