"""What every perturbation promises, and mixup and remix against slow loops of their formulas."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from torch import nn

from counterpoise.balance import perturb
from counterpoise.balance.losses import CrossEntropy, WeightedCrossEntropy
from counterpoise.balance.perturb import (
    AOS,
    CMO,
    Mixup,
    PerturbedBatch,
    RandAugment,
    RandomAffine,
    Remix,
    TrivialAugment,
)
from counterpoise.exceptions import InputError

COUNTS = [900, 300, 299, 100, 10]


def bound(**options):
    """CMO with training images of its own, some of them white."""
    images = torch.rand(30, 3, 6, 7, generator=torch.Generator().manual_seed(5)).round(decimals=1)
    cmo = CMO(**options)
    cmo.bind(lambda rows: images[rows], torch.arange(30) % len(COUNTS))
    return cmo


PERTURBATIONS = {
    "aos": lambda: AOS(class_counts=COUNTS),
    "cmo": lambda: bound(p=1.0),
    "mixup": Mixup,
    "mixup-of-images": lambda: Mixup(alpha=0.3, per_image=True),
    "remix": lambda: Remix(class_counts=COUNTS),
    "affine": RandomAffine,
    "trivial": TrivialAugment,
    "rand": lambda: RandAugment(magnitude=15),
    "shift": lambda: RandomAffine(degrees=0, scale=0, flip="horizontal"),
}
every_perturbation = pytest.mark.parametrize("make", PERTURBATIONS.values(), ids=PERTURBATIONS)


def batch(n=20, *, seed=0, dtype=torch.float32):
    """Images with many black and white pixels, where a step leads out most easily."""
    images = torch.rand(n, 3, 6, 7, generator=torch.Generator().manual_seed(seed), dtype=dtype)
    return ((images * 1.5) - 0.25).clamp(0, 1), torch.arange(n) % len(COUNTS)


def perturbed_by(perturbation, images, targets, seed=0):
    generator = torch.Generator().manual_seed(seed)
    network = nn.Sequential(nn.Flatten(), nn.utils.skip_init(nn.Linear, 126, len(COUNTS)))
    if images.dtype == torch.float64:
        network.double()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(generator=torch.Generator().manual_seed(9))
    return perturbation.perturb(images, targets, network=network, loss=CrossEntropy(), generator=generator)


def test_the_list_is_complete():
    assert {type(make()) for make in PERTURBATIONS.values()} == {
        entry.load() for entry in perturb.PERTURBATIONS
    }


@every_perturbation
def test_same_seed_same_batch_and_inputs_are_left_alone(make):
    images, targets = batch()
    kept = images.clone(), targets.clone()
    first, again, other = (perturbed_by(make(), images, targets, seed) for seed in (1, 1, 2))
    assert torch.equal(images, kept[0])
    assert torch.equal(targets, kept[1])
    assert torch.equal(first.targets, targets)
    assert torch.equal(first.images, again.images)
    assert not torch.equal(first.images, other.images)
    assert not torch.equal(first.images, images)


@every_perturbation
def test_all_draws_come_from_the_generator(make):
    images, targets = batch()
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    perturbed_by(make(), images, targets)
    assert torch.equal(torch.rand(1), expected)


@every_perturbation
@given(
    seed=st.integers(0, 10_000), n=st.integers(1, 6), dtype=st.sampled_from([torch.float32, torch.float64])
)
def test_pixels_stay_in_their_range(make, seed, n, dtype):
    images, targets = batch(n, seed=seed, dtype=dtype)
    result = perturbed_by(make(), images, targets, seed).images
    assert result.dtype == dtype
    assert result.shape == images.shape
    assert 0 <= float(result.min()) <= float(result.max()) <= 1


@every_perturbation
def test_the_layout_is_kept(make):
    images, targets = batch()
    expected = perturbed_by(make(), images, targets).images
    result = perturbed_by(make(), images.contiguous(memory_format=torch.channels_last), targets).images
    assert expected.is_contiguous()
    assert result.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(result, expected, rtol=0, atol=1e-6)


@every_perturbation
def test_an_empty_batch_stays_empty(make):
    images, targets = batch()
    assert len(perturbed_by(make(), images[:0], targets[:0]).images) == 0


@every_perturbation
def test_bad_input_is_refused_with_what_was_expected(make):
    images, targets = batch()
    for pictures, classes, message in [
        (images[0], targets, r"expected floats in \[0, 1\] of shape"),
        ((images * 255).to(torch.uint8), targets, "found uint8 of shape"),
        (images, targets[:3], "as targets of 20 images"),
        (images, targets.int(), "expected int64"),
    ]:
        with pytest.raises(InputError, match=message):
            perturbed_by(make(), pictures, classes)


def test_only_those_that_mix_give_two_classes():
    images, targets = batch()
    for make in PERTURBATIONS.values():
        perturbation = make()
        result = perturbed_by(perturbation, images, targets)
        assert (result.share is not None) == (result.other_targets is not None) == perturbation.mixes_classes


# --- the loss of a batch ----------------------------------------------------------------------------------


def log_softmax(row):
    return [z - math.log(sum(math.exp(other) for other in row)) for z in row]


@pytest.mark.parametrize("with_weights", [False, True])
@pytest.mark.parametrize("per_image", [False, True])
@pytest.mark.parametrize("loss", [CrossEntropy(), WeightedCrossEntropy(class_counts=COUNTS)])
def test_mixup_loss_by_hand(loss, per_image, with_weights):
    """lambda * J(logits, y_i) + (1 - lambda) * J(logits, y_j), which is J of the mixed label."""
    images, targets = batch(dtype=torch.float64)
    mixed = perturbed_by(Mixup(per_image=per_image), images, targets)
    logits = torch.randn(20, 5, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    weights = torch.linspace(0, 2, 20, dtype=torch.float64) if with_weights else None
    class_weight = getattr(loss, "weight", torch.ones(5)).tolist()
    by_hand = 0.0
    for i, row in enumerate(logits.tolist()):
        label = [0.0] * 5
        label[int(targets[i])] += float(mixed.share[i])
        label[int(mixed.other_targets[i])] += 1 - float(mixed.share[i])
        one = -sum(q * w * logp for q, w, logp in zip(label, class_weight, log_softmax(row), strict=True))
        by_hand += (1.0 if weights is None else float(weights[i])) * one / 20
    assert float(mixed.loss(loss, logits, weights)) == pytest.approx(by_hand, rel=1e-6)


def test_loss_of_what_is_not_mixed_is_the_plain_one():
    images, targets = batch()
    logits = torch.randn(20, 5)
    plain = PerturbedBatch(images, targets)
    assert plain.loss(nn.CrossEntropyLoss(), logits) == nn.functional.cross_entropy(logits, targets)
    weights = torch.rand(20)
    assert plain.loss(CrossEntropy(), logits, weights) == CrossEntropy()(logits, targets, weights)


# --- mixup ------------------------------------------------------------------------------------------------


@given(st.integers(0, 10_000), st.sampled_from([0.2, 1.0, 3.0]), st.booleans())
def test_mixup_equals_the_slow_loop(seed, alpha, per_image):
    images, _ = batch(9, seed=seed)
    targets = torch.arange(9)  # a class for each image, so that the second class names the second image
    mixed = perturbed_by(Mixup(alpha=alpha, per_image=per_image), images, targets, seed)
    assert sorted(mixed.other_targets.tolist()) == targets.tolist()
    assert (len(set(mixed.share.tolist())) == 1) != per_image
    for i in range(9):
        share, other = float(mixed.share[i]), images[mixed.other_targets[i]]
        assert 0 <= share <= 1
        torch.testing.assert_close(mixed.images[i], share * images[i] + (1 - share) * other)


@pytest.mark.parametrize("alpha", [0.2, 1.0, 3.0])
def test_shares_follow_the_beta_distribution(alpha):
    images, targets = torch.zeros(4000, 1, 1, 1), torch.zeros(4000, dtype=torch.int64)
    generator = torch.Generator().manual_seed(0)
    mixup = Mixup(alpha=alpha, per_image=True)
    shares = mixup.perturb(
        images, targets, network=nn.Flatten(), loss=CrossEntropy(), generator=generator
    ).share
    assert stats.kstest(shares.numpy().astype(float), stats.beta(alpha, alpha).cdf).pvalue > 1e-3
    batches = [perturbed_by(Mixup(alpha=alpha), *batch(2), seed).share[0] for seed in range(400)]
    assert stats.kstest(np.array(batches, dtype=float), stats.beta(alpha, alpha).cdf).pvalue > 1e-3


# --- remix ------------------------------------------------------------------------------------------------


def slow_remix_share(share, n_i, n_j, kappa, tau):
    if n_i / n_j >= kappa and share < tau:
        return 0.0
    if n_i / n_j <= 1 / kappa and 1 - share < tau:
        return 1.0
    return share


@given(
    st.integers(0, 10_000),
    st.lists(st.integers(1, 60), min_size=9, max_size=9),
    st.sampled_from([1.0, 2.0, 3.0, 10.0]),
    st.sampled_from([0.0, 0.3, 0.5, 0.9, 1.0]),
    st.booleans(),
)
def test_remix_shares_equal_the_slow_loop(seed, counts, kappa, tau, per_image):
    images, _ = batch(9, seed=seed)
    targets = torch.arange(9)
    remix = Remix(class_counts=counts, kappa=kappa, tau=tau, per_image=per_image)
    mixed = perturbed_by(remix, images, targets, seed)
    plain = perturbed_by(Mixup(per_image=per_image), images, targets, seed)
    assert torch.equal(mixed.images, plain.images)
    assert torch.equal(mixed.other_targets, plain.other_targets)
    expected = [
        slow_remix_share(share, counts[i], counts[j], kappa, tau)
        for i, j, share in zip(targets, plain.other_targets, plain.share.tolist(), strict=True)
    ]
    assert mixed.share.tolist() == expected


def test_remix_gives_the_label_to_the_minority():
    """With the paper's kappa of 3 and tau of 0.5: 900 to 300 is a majority, 900 to 301 is none."""
    images, _ = batch(4)
    for n_j, gives in ((300, True), (301, False)):
        remix, shares = Remix(class_counts=[900, n_j]), set()
        for seed in range(30):
            mixed = perturbed_by(remix, images, torch.tensor([0, 0, 1, 1]), seed)
            plain = perturbed_by(Mixup(), images, torch.tensor([0, 0, 1, 1]), seed).share
            pair = mixed.targets != mixed.other_targets
            majority_first = pair & (mixed.targets == 0)
            moved = mixed.share != plain
            assert not moved[~pair].any()
            assert torch.equal(moved[majority_first], (plain < 0.5)[majority_first] & gives)
            shares |= set(mixed.share[moved].tolist())
        assert shares == ({0.0, 1.0} if gives else set())


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Mixup(alpha=0), "alpha is 0"),
        (lambda: Mixup(alpha=math.inf), "alpha is inf"),
        (lambda: CMO(alpha=0), "alpha is 0"),
        (lambda: CMO(power=-1), "power is -1"),
        (lambda: CMO(p=2), "p is 2"),
        (lambda: CMO(plain_epochs=0.1), r"plain_epochs=0\.1 is a share of all epochs"),
        (lambda: CMO(plain_epochs=2, epochs=4), "plain_epochs=2 at both ends of 4 epochs leaves none"),
        (lambda: perturbed_by(CMO(), *batch()), "call bind first"),
        (lambda: Remix(class_counts=COUNTS, alpha=-1), "alpha is -1"),
        (lambda: Remix(class_counts=COUNTS, kappa=0.5), "kappa is 0.5"),
        (lambda: Remix(class_counts=COUNTS, tau=1.5), "tau is 1.5"),
        (lambda: Remix(class_counts=[]), "class counts"),
    ],
)
def test_bad_options_are_refused(build, message):
    with pytest.raises(InputError, match=message):
        build()


def test_remix_needs_a_count_for_each_class():
    with pytest.raises(InputError, match="class 4, and class counts for 3 classes"):
        perturbed_by(Remix(class_counts=[9, 9, 1]), *batch())
