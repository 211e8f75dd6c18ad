"""Every loss against a slow loop written from its equation, and against the papers' worked examples."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from counterpoise.balance import losses
from counterpoise.balance.losses import BalancedSoftmax, CrossEntropy, WeightedCrossEntropy, class_weights
from counterpoise.exceptions import InputError

COUNTS = [50, 5, 20, 1]
LOSSES = {
    "plain": lambda **kw: CrossEntropy(**kw),
    "smoothed": lambda **kw: CrossEntropy(label_smoothing=0.2, **kw),
    "weighted": lambda **kw: WeightedCrossEntropy(class_counts=COUNTS, **kw),
    "weighted-mean": lambda **kw: WeightedCrossEntropy(
        class_counts=COUNTS, power=0.5, normalize="mean", **kw
    ),
    "balanced": lambda **kw: BalancedSoftmax(class_counts=COUNTS, **kw),
    "balanced-tau": lambda **kw: BalancedSoftmax(class_counts=COUNTS, tau=0.3, **kw),
}


def batch(n=7, dtype=torch.float64):
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn(n, len(COUNTS), generator=generator, dtype=dtype)
    return logits, torch.arange(n) % len(COUNTS)


def log_softmax(row):
    return [z - math.log(sum(math.exp(other) for other in row)) for z in row]


def slow_loss(name, row, target):
    """One sample's loss, from the equations."""
    share = [n / sum(COUNTS) for n in COUNTS]
    if name == "plain":
        return -log_softmax(row)[target]
    if name == "smoothed":
        wanted = [0.2 / len(row) + (0.8 if c == target else 0.0) for c in range(len(row))]
        return -sum(q * logp for q, logp in zip(wanted, log_softmax(row), strict=True))
    if name.startswith("weighted"):
        raw = [(1 / p) ** (0.5 if name.endswith("mean") else 1.0) for p in share]
        scale = len(raw) if name.endswith("mean") else 1
        return -scale * raw[target] / sum(raw) * log_softmax(row)[target]
    tau = 0.3 if name.endswith("tau") else 1.0
    raised = [p**tau * math.exp(z) for p, z in zip(share, row, strict=True)]
    return -math.log(raised[target] / sum(raised))


@pytest.mark.parametrize("name", LOSSES)
def test_equals_the_slow_loop(name):
    logits, targets = batch()
    expected = [slow_loss(name, row, int(t)) for row, t in zip(logits.tolist(), targets, strict=True)]
    np.testing.assert_allclose(LOSSES[name](reduction="none")(logits, targets), expected, rtol=1e-12)


@pytest.mark.parametrize("name", LOSSES)
def test_reductions_and_sample_weights(name):
    logits, targets = batch()
    weight = torch.linspace(0, 2, len(targets), dtype=torch.float32)
    single = LOSSES[name](reduction="none")(logits, targets)
    torch.testing.assert_close(LOSSES[name](reduction="sum")(logits, targets), single.sum())
    torch.testing.assert_close(LOSSES[name]()(logits, targets), single.sum() / 7)
    weighted = (single * weight).sum() / 7
    torch.testing.assert_close(LOSSES[name]()(logits, targets, weight), weighted)
    assert weighted != single.mean()


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
    assert result.dtype == dtype
    exact = LOSSES[name](reduction="none")(logits.double(), targets)
    torch.testing.assert_close(
        result.double(), exact, rtol=3e-2 if dtype == torch.bfloat16 else 1e-5, atol=1e-5
    )
    assert torch.equal(before, logits)


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
    ]:
        with pytest.raises(InputError, match=message):
            loss(*arguments)


@pytest.mark.parametrize("loss", [WeightedCrossEntropy, BalancedSoftmax])
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
        (lambda: WeightedCrossEntropy(class_counts=[1], power=1.5), r"power .*1\.5"),
        (lambda: WeightedCrossEntropy(class_counts=[1], normalize="max"), "normalize .*'max'"),
        (lambda: WeightedCrossEntropy(class_counts=[1], defer_epochs=-1), "defer_epochs is -1"),
        (lambda: BalancedSoftmax(class_counts=[1], tau=-1), "tau is -1"),
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
    for name in ("plain", "balanced"):
        loss = LOSSES[name]()
        before = loss(logits, targets)
        loss.set_epoch(9)
        assert loss(logits, targets) == before


def test_losses_add_nothing_to_a_checkpoint():
    assert all(not build().state_dict() and not list(build().parameters()) for build in LOSSES.values())


def test_public_names_exist():
    assert all(hasattr(losses, name) for name in losses.__all__)
