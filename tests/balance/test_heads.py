"""Heads against their formulas, written as loops."""

import numpy as np
import pytest
import torch
from torch import nn

from counterpoise.balance.heads import (
    FineTunedHead,
    HeadStage,
    NearestMeanHead,
    NewHead,
    NormalisedHead,
    ScaledHead,
)
from counterpoise.exceptions import InputError
from counterpoise.networks.heads import CosineHead

GENERATOR = np.random.default_rng(0)
EMBEDDINGS = torch.tensor(GENERATOR.normal(size=(30, 4)), dtype=torch.float32)
LABELS = torch.tensor(GENERATOR.permutation([0] * 18 + [1] * 9 + [2] * 3))
POINTS = torch.tensor(GENERATOR.normal(size=(50, 4)), dtype=torch.float32)


def linear(classes=3):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Linear(4, classes)


def made(stage: HeadStage, head: nn.Module) -> nn.Module:
    stage.finish(stage.prepare(head, EMBEDDINGS, LABELS), head)
    return head


def test_nearest_mean_gives_each_point_the_class_of_the_nearest_mean():
    head = made(NearestMeanHead(), linear())
    means = [
        np.mean([z.numpy() for z, y in zip(EMBEDDINGS, LABELS, strict=True) if y == c], axis=0)
        for c in range(3)
    ]
    distances = [[np.sum((z.numpy() - mean) ** 2) for mean in means] for z in POINTS]
    logits = head(POINTS).detach().numpy()
    # Up to what all classes share.
    shifted = logits + np.array(distances)
    assert shifted == pytest.approx(np.repeat(shifted[:, :1], 3, axis=1), abs=1e-4)
    assert logits.argmax(axis=1).tolist() == np.argmin(distances, axis=1).tolist()


def test_a_class_without_images_is_never_the_nearest_mean():
    head = made(NearestMeanHead(), linear(classes=4))
    assert torch.isfinite(head(POINTS)).all()
    assert 3 not in head(POINTS).argmax(dim=1)


@pytest.mark.parametrize("tau", [0.0, 0.5, 1.0])
def test_tau_norm_divides_each_class_vector_by_its_length(tau):
    before = linear()
    head = made(NormalisedHead(tau=tau), linear())
    for c in range(3):
        w = before.weight[c].detach().numpy()
        assert head.weight[c].detach().numpy() == pytest.approx(w / np.linalg.norm(w) ** tau, rel=1e-5)
    assert head.bias.tolist() == [0, 0, 0]


def test_learned_factors_multiply_the_logits_and_nothing_else_is_trained():
    stage, head, before = ScaledHead(), linear(), linear()
    scaled = stage.prepare(head, EMBEDDINGS, LABELS)
    assert torch.equal(scaled(POINTS), before(POINTS))
    assert [tuple(p.shape) for p in scaled.parameters()] == [(3,)]
    optimizer = torch.optim.SGD(scaled.parameters(), lr=0.5)
    nn.functional.cross_entropy(scaled(EMBEDDINGS), LABELS).backward()
    optimizer.step()
    assert torch.equal(head.weight, before.weight)
    stage.finish(scaled, head)
    factors = scaled.factors.detach()
    assert not torch.allclose(factors, torch.ones(3))
    assert head(POINTS).detach().numpy() == pytest.approx(
        (factors * before(POINTS)).detach().numpy(), rel=1e-4, abs=1e-5
    )


def test_new_and_fine_tuned_heads_are_trained_themselves():
    for stage in (NewHead(), FineTunedHead(lr_factor=0.2)):
        head = linear()
        assert stage.trains
        assert stage.prepare(head, EMBEDDINGS, LABELS) is head
    assert (NewHead().lr_factor, FineTunedHead(lr_factor=0.2).lr_factor) == (1.0, 0.2)
    assert (NewHead.fresh, FineTunedHead.fresh) == (True, False)


@pytest.mark.parametrize("stage", [NearestMeanHead(), NormalisedHead(), ScaledHead()])
def test_a_head_that_is_not_linear_is_refused(stage):
    with pytest.raises(InputError, match="needs a linear head, found CosineHead"):
        stage.prepare(CosineHead(4, 3), EMBEDDINGS, LABELS)


def test_bad_input_is_refused():
    with pytest.raises(InputError, match=r"expected \(N, d\) and \(N,\)"):
        NewHead().prepare(linear(), EMBEDDINGS, LABELS[:-1])
    with pytest.raises(InputError, match="lr_factor is 0"):
        FineTunedHead(lr_factor=0)
    with pytest.raises(InputError, match="tau is nan"):
        NormalisedHead(tau=float("nan"))


def test_a_shrunk_head_decides_alike_but_is_less_sure():
    head = linear()
    FineTunedHead(shrink=0.25).prepare(head, EMBEDDINGS, LABELS)
    assert torch.allclose(head(POINTS), 0.25 * linear()(POINTS), atol=1e-6)
    with pytest.raises(InputError, match="shrink is 0"):
        FineTunedHead(shrink=0)
