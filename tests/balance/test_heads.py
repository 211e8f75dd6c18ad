"""Heads against their formulas, written as loops."""

import numpy as np
import pytest
import torch
from torch import nn

from counterpoise.balance.heads import (
    ClassMeanHead,
    DiscriminantHead,
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


def imbalanced(counts=(40, 20, 6), width=7, seed=3):
    """Embeddings of correlated features, the last of which is constant, and their classes."""
    generator = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(counts)), counts)
    rows = generator.normal(size=(len(labels), width)) @ generator.normal(size=(width, width))
    rows += 2 * generator.normal(size=(len(counts), width))[labels]
    rows[:, -1] = 0
    return torch.tensor(rows, dtype=torch.float32), torch.tensor(labels)


def lda(rows, labels, classes=3, **options):
    head = nn.Linear(rows.shape[1], classes)
    stage = DiscriminantHead(**options)
    stage.finish(stage.prepare(head, rows, labels), head)
    return head


@pytest.mark.parametrize("shrinkage", [0.05, 0.5, 1.0])
@pytest.mark.parametrize("counts", [(20, 20, 20), (40, 20, 6)])
def test_lda_is_that_of_sklearn_with_equal_priors(shrinkage, counts):
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    rows, labels = imbalanced(counts)
    model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrinkage).fit(rows.double(), labels)
    # With its priors, the class shares, its covariance is that of all images; in the intercept they are equal here.
    expected = rows.numpy() @ model.coef_.T + model.intercept_ - np.log(np.array(counts) / sum(counts))
    found = lda(rows, labels, shrinkage=shrinkage)(rows).detach().numpy()
    assert found == pytest.approx(expected, rel=1e-4, abs=1e-3)


def test_the_estimated_shrinkage_of_lda_is_that_of_ledoit_and_wolf():
    from sklearn.covariance import ledoit_wolf

    rows, labels = imbalanced()
    data, classes = rows.double().numpy(), labels.numpy()
    means = np.array([data[classes == c].mean(axis=0) for c in range(3)])
    covariance, share = ledoit_wolf(data - means[classes], assume_centered=True)
    assert 0 < share < 1
    directions = np.linalg.solve(covariance, means.T).T
    expected = data @ directions.T - (directions * means).sum(axis=1) / 2
    assert lda(rows, labels)(rows).detach().numpy() == pytest.approx(expected, rel=1e-4, abs=1e-3)


def test_lda_survives_dead_features_absent_classes_and_single_images():
    rows, labels = imbalanced()
    # A constant feature has no weight, even without shrinkage.
    head = lda(rows, labels, shrinkage=0.0)
    assert head.weight[:, -1].tolist() == [0, 0, 0]
    assert torch.isfinite(head(rows)).all()
    # A class without images is never predicted.
    four = lda(rows, labels, classes=4)
    assert torch.isfinite(four(rows)).all()
    assert 3 not in four(rows).argmax(dim=1)
    torch.testing.assert_close(four(rows)[:, :3], lda(rows, labels)(rows))
    # One image of each class: the nearest one decides, since the covariance is zero.
    few = torch.tensor([[0.0, 1.0], [4.0, 0.0], [0.0, -5.0]])
    alone = lda(few, torch.arange(3))
    assert alone(few).argmax(dim=1).tolist() == [0, 1, 2]
    for wrong in (-0.1, 1.5, "auto", None):
        with pytest.raises(InputError, match="expected a share from 0 to 1, or 'ledoit-wolf'"):
            DiscriminantHead(shrinkage=wrong)


def test_lda_does_not_depend_on_the_scale_of_features_without_shrinkage():
    rows, labels = imbalanced()
    rows = rows[:, :-1]
    scales = torch.tensor([0.3, 1, 5, 3, 0.2, 0.7])
    one, two = (
        lda(rows, labels, shrinkage=0.0)(rows),
        lda(rows * scales, labels, shrinkage=0.0)(rows * scales),
    )
    torch.testing.assert_close(one, two, rtol=1e-3, atol=1e-2)


def test_a_cosine_head_starts_from_the_class_means():
    rows, labels = imbalanced()
    head = CosineHead(rows.shape[1], 3)
    stage = ClassMeanHead(scale=20.0)
    started = stage.prepare(head, rows, labels)
    data = rows.numpy()
    for c in range(3):
        mean = data[labels.numpy() == c].mean(axis=0)
        cosines = data @ mean / np.linalg.norm(data, axis=1) / np.linalg.norm(mean)
        assert started(rows)[:, c].detach().numpy() == pytest.approx(20 * cosines, abs=1e-3)
    assert head.scale == 20.0
    assert ClassMeanHead.fresh
    with pytest.raises(InputError, match="needs a cosine head, found Linear; set head_layer=cosine"):
        stage.prepare(nn.Linear(7, 3), rows, labels)
    with pytest.raises(InputError, match="scale is 0"):
        ClassMeanHead(scale=0)
