"""Soft targets and label smoothing in every loss, and the losses of experts."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from loss_oracles import COUNTS, LOSSES, SLOW, balanced, batch, effective

from counterpoise.balance.catalog import SLOT_CATALOGS
from counterpoise.balance.losses import BalancedSoftmax, BalPoELoss, CrossEntropy, WeightedCrossEntropy
from counterpoise.methods import Component, get_method

every_loss = pytest.mark.parametrize("name", LOSSES)


def soft_batch(n=7):
    logits, _ = batch(n)
    targets = torch.rand(n, len(COUNTS), generator=torch.Generator().manual_seed(8), dtype=torch.float64)
    return logits, targets / targets.sum(dim=1, keepdim=True)


def slow(name, logits, shares):
    """sum_c q_c loss(z, c), from the oracle of one class."""
    return [
        sum(q * SLOW[name](row, c) for c, q in enumerate(own))
        for row, own in zip(logits.tolist(), shares.tolist(), strict=True)
    ]


@every_loss
def test_soft_targets_add_the_losses_of_their_classes(name):
    logits, targets = soft_batch()
    wanted = slow(name, logits, targets)
    np.testing.assert_allclose(LOSSES[name](reduction="none")(logits, targets), wanted, rtol=1e-12)
    weights = (targets * torch.tensor(effective())).sum() if name == "margins-weighted" else len(targets)
    np.testing.assert_allclose(LOSSES[name]()(logits, targets), sum(wanted) / weights)


@every_loss
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_one_hot_targets_are_hard_ones(name, dtype):
    logits, targets = batch(dtype=dtype)
    weight = torch.linspace(0, 2, len(targets))
    for reduction in ("mean", "none"):
        loss = LOSSES[name](reduction=reduction)
        one_hot = F.one_hot(targets, len(COUNTS)).to(torch.float32)
        soft, hard = loss(logits, one_hot, weight), loss(logits, targets, weight)
        assert soft.dtype == hard.dtype
        torch.testing.assert_close(soft, hard)


@pytest.mark.parametrize("name", SLOT_CATALOGS["losses"].names)
def test_label_smoothing_is_a_soft_target(name):
    logits, targets = batch()
    plain, smooth = (
        Component("losses", name, options).build(class_counts=COUNTS, epochs=3, reduction="none")
        for options in ({}, {"label_smoothing": 0.3})
    )
    shares = 0.7 * F.one_hot(targets, 4).double() + 0.3 / 4
    torch.testing.assert_close(smooth(logits, targets), plain(logits, shares))
    torch.testing.assert_close(smooth(logits, shares), plain(logits, 0.7 * shares + 0.3 / 4))
    assert not torch.allclose(smooth(logits, targets), plain(logits, targets))


def test_cross_entropies_are_those_of_torch():
    logits, shares = soft_batch()
    targets, weight = batch()[1], WeightedCrossEntropy(class_counts=COUNTS).weight
    for smoothing in (0.0, 0.98):
        for y in (targets, shares):
            options = {"label_smoothing": smoothing, "reduction": "none"}
            plain = CrossEntropy(**options)(logits, y)
            torch.testing.assert_close(plain, F.cross_entropy(logits, y, **options))
            weighted = WeightedCrossEntropy(class_counts=COUNTS, **options)(logits, y)
            torch.testing.assert_close(weighted, F.cross_entropy(logits, y, weight=weight, **options))
    binary = F.binary_cross_entropy_with_logits(logits, shares, reduction="none").sum(dim=1)
    torch.testing.assert_close(LOSSES["sigmoid"](reduction="none")(logits, shares), binary)


@every_loss
def test_gradients_and_extreme_logits_of_soft_targets(name):
    logits, targets = soft_batch()
    loss = LOSSES[name](label_smoothing=0.1) if name != "smoothed" else LOSSES[name]()
    assert torch.autograd.gradcheck(lambda z: loss(z, targets), logits.requires_grad_())
    huge = (1e4 * torch.sign(logits.detach())).float().requires_grad_()
    value = loss(huge, targets)
    (gradient,) = torch.autograd.grad(value, huge)
    assert torch.isfinite(value)
    assert torch.isfinite(gradient).all()
    empty = torch.empty(0, 4, requires_grad=True)
    assert loss(empty, torch.empty(0, 4)) == 0


# --- experts ----------------------------------------------------------------------------------------------


def test_each_expert_has_its_own_weight_of_the_counts():
    """Sanchez Aimar et al. 2023: lambda = 1, 0 and -1, so each logit is raised by (1 - lambda) log n_c."""
    logits = torch.randn(7, 3, 4, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    targets = batch()[1]
    wanted = [
        sum(balanced(expert, y, 1 - lam) for expert, lam in zip(experts, (1, 0, -1), strict=True)) / 3
        for experts, y in zip(logits.tolist(), targets.tolist(), strict=True)
    ]
    loss = BalPoELoss(class_counts=COUNTS, reduction="none")
    np.testing.assert_allclose(loss(logits, targets), wanted, rtol=1e-12)
    shares = F.one_hot(targets, 4).double()
    torch.testing.assert_close(loss(logits, shares), loss(logits, targets))
    np.testing.assert_allclose(BalPoELoss(class_counts=COUNTS, tau=2, spread=0.5).taus(3), [1.5, 2, 2.5])


def test_one_expert_is_balanced_softmax():
    logits, targets = batch()
    for z in (logits, logits[:, None]):
        assert BalPoELoss(class_counts=COUNTS)(z, targets) == pytest.approx(
            float(BalancedSoftmax(class_counts=COUNTS)(logits, targets))
        )


@every_loss
def test_other_losses_take_the_mean_of_the_experts(name):
    if name == "expert":
        return
    logits = torch.randn(7, 3, 4, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    targets = batch()[1]
    assert torch.equal(LOSSES[name]()(logits, targets), LOSSES[name]()(logits.mean(dim=1), targets))


# --- identities -------------------------------------------------------------------------------------------


def test_an_added_option_enters_the_identity_where_it_changes_something():
    plain, smooth = (get_method(spec) for spec in ("bl-cw", "bl-cw:label_smoothing=0.1"))
    assert "label_smoothing" in plain.loss.defaults()
    assert "label_smoothing" not in plain.loss.identity()
    assert "loss.label_smoothing" not in plain.settings()
    assert get_method("bl-cw:label_smoothing=0.0").identity() == plain.identity()
    assert smooth.loss.identity() == {**plain.loss.identity(), "label_smoothing": 0.1}
    # It always was an option of cross entropy.
    assert get_method("bl").loss.identity() == {"name": "cross-entropy", "label_smoothing": 0.0}


def test_an_option_typed_before_a_second_component_had_it_keeps_its_meaning():
    method = get_method("ados:label_smoothing=0.1")
    assert method.head_loss.options == {"label_smoothing": 0.1}
    assert not method.loss.options
