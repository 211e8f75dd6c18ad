"""Objectives against slow loops written from their equations, and worked by hand."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from counterpoise.balance import objectives
from counterpoise.balance.losses import CrossEntropy
from counterpoise.balance.objectives import DOS, LMLE
from counterpoise.balance.objectives.dos import (
    closeness,
    embedding_loss,
    nearest_in_class,
    neighbor_counts,
    overloaded_points,
)
from counterpoise.balance.objectives.lmle import cluster_classes, quintuplet_distances, triple_header_hinge
from counterpoise.balance.samplers import ClassBalancedSampler, epoch_indices
from counterpoise.exceptions import InputError
from counterpoise.methods import get_method

COUNTS = [24, 11, 4, 1]


class Net(nn.Module):
    """Images of 4 pixels to embeddings of 3 numbers to 4 logits."""

    def __init__(self, seed=0):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.below = nn.Linear(4, 3)
        self.above = nn.Linear(3, 4)
        for parameter in self.parameters():
            nn.init.normal_(parameter, generator=generator)

    def embed(self, x):
        return torch.tanh(self.below(x.flatten(1)))

    def head(self, z):
        return self.above(z)


def training_set(counts=COUNTS, seed=0):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    labels = labels[torch.randperm(len(labels), generator=generator)]
    images = torch.rand(len(labels), 1, 2, 2, generator=generator)
    images[:, 0, 0, 0] += labels
    return images, labels


def begun(objective, net, images, labels, *, epoch=0, seed=0):
    def embed(rows=None):
        with torch.no_grad():
            return net.embed(images if rows is None else images[rows])

    objective.begin_epoch(epoch, embed, labels, np.random.default_rng(seed))
    return objective


def step(objective, net, images, labels, indices, loss=None):
    return objective.step(net, images[indices], labels[indices], indices, loss or CrossEntropy())


def gradients(value, net):
    grads = torch.autograd.grad(value, list(net.parameters()), allow_unused=True)
    return {
        name: g is not None and bool(g.any())
        for (name, _), g in zip(net.named_parameters(), grads, strict=True)
    }


# --- DOS ------------------------------------------------------------------------------------------------------------


@given(
    counts=st.lists(st.integers(1, 400), min_size=2, max_size=6),
    k=st.integers(1, 12),
)
def test_neighbours_make_up_for_what_a_class_lacks(counts, k):
    found = neighbor_counts(torch.tensor(counts), k).tolist()
    for n, number in zip(counts, found, strict=True):
        lacking = max(counts) // n - 1
        assert number == min(k, lacking, n - 1)


def test_neighbours_are_the_nearest_of_the_class():
    points = torch.randn(3000, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64) + 100
    found = nearest_in_class(points, k=4)
    for row in (0, 1, 2047, 2048, 2999):
        distances = (points - points[row]).square().sum(dim=1)
        distances[row] = math.inf
        assert found[row].tolist() == distances.sort().indices[:4].tolist()


def test_a_copy_of_a_point_is_its_neighbour_and_the_point_itself_is_not():
    found = nearest_in_class(torch.tensor([[0.0], [0.0], [9.0]]), k=1)
    assert found.flatten()[:2].tolist() == [1, 0]


def slow_dos(net, images, labels, before, indices, weights, *, k, embedding_weight):
    """The objective of a batch from the equations, one image, draw and neighbour at a time."""
    n = [int((labels == c).sum()) for c in range(len(COUNTS))]
    total = 0.0
    for row, i in enumerate(indices.tolist()):
        c = int(labels[i])
        peers = [j for j in range(len(labels)) if int(labels[j]) == c and j != i]
        peers.sort(key=lambda j, i=i: float((before[j] - before[i]).norm()))
        z = net.embed(images[i : i + 1])[0]
        targets = [z, *(before[j] for j in peers[: min(k, max(n) // n[c] - 1, n[c] - 1)])]
        points = [sum(w * v for w, v in zip(draw, targets, strict=False)) for draw in weights[row]]
        near = [math.exp(-float((z - p).detach().square().sum())) for p in points]
        for draw, p, close in zip(weights[row], points, near, strict=True):
            cross_entropy = -net.head(p).log_softmax(0)[c]
            total += max(n) / n[c] * close / sum(near) * cross_entropy
            pull = sum(w * (z - v).square().sum() for w, v in zip(draw, targets, strict=False))
            total += embedding_weight * pull / len(points)
    return total / len(indices)


def test_dos_equals_the_slow_loop():
    net = Net()
    images, labels = training_set()
    before = (
        Net(seed=1).embed(images).detach()
    )  # the embeddings of the epoch's start: the network has moved on
    dos = DOS(k=3, draws=4, embedding_weight=0.7, defer_epochs=0)
    dos.begin_epoch(0, lambda rows: before[rows], labels, np.random.default_rng(0))
    drawn = []
    draw_weights = dos._draw_weights
    dos._draw_weights = lambda counts: drawn.append(draw_weights(counts)) or drawn[-1]
    indices = torch.randperm(len(labels))
    value = step(dos, net, images, labels, indices)
    # The largest class has no neighbours: all its weight is on the image itself.
    weights = [[[1.0]] * 4 for _ in indices]
    for row, draws in zip(
        torch.nonzero(dos._counts[indices]).flatten().tolist(), drawn[0].tolist(), strict=True
    ):
        weights[row] = draws
    expected = slow_dos(net, images, labels, before, indices, weights, k=3, embedding_weight=0.7)
    torch.testing.assert_close(value, expected)
    # What the network learns, too: the weights by closeness are constants in both.
    found, wanted = (torch.autograd.grad(part, list(net.parameters())) for part in (value, expected))
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-4)


def test_only_images_with_neighbours_are_embedded():
    images, labels = training_set()
    embedded = []

    def embed(rows):
        embedded.extend(rows.tolist())
        return Net().embed(images[rows]).detach()

    DOS(defer_epochs=0).begin_epoch(0, embed, labels, np.random.default_rng(0))
    # Neither the largest class nor the class of a single image has any.
    assert embedded == [i for i, label in enumerate(labels.tolist()) if label in (1, 2)]


def test_a_batch_costs_the_same_whether_its_rare_images_come_first_or_last():
    net = Net()
    images, labels = training_set()
    dos = begun(DOS(k=1, draws=1, defer_epochs=0), net, images, labels)
    dos._draw_weights = lambda counts: torch.tensor([[[0.25, 0.75]]]).expand(len(counts), 1, 2)
    order = torch.argsort(labels)
    values = [step(dos, net, images, labels, indices) for indices in (order, order.flip(0))]
    torch.testing.assert_close(*values)


def test_weights_are_uniform_on_the_simplex_of_an_image_and_its_neighbours():
    images, labels = training_set()
    dos = begun(DOS(k=3, draws=4000, defer_epochs=0), Net(), images, labels)
    counts = torch.tensor([0, 1, 2, 3])
    weights = dos._draw_weights(counts)
    torch.testing.assert_close(weights.sum(dim=2), torch.ones(4, 4000))
    assert bool((weights >= 0).all())
    for row, count in enumerate(counts.tolist()):
        used, unused = weights[row, :, : count + 1], weights[row, :, count + 1 :]
        assert not unused.any()
        # The mean and the variance of Dirichlet(1, ..., 1).
        size = count + 1
        torch.testing.assert_close(used.mean(dim=0), torch.full((size,), 1 / size), atol=0.02, rtol=0)
        variance = (1 / size) * (1 - 1 / size) / (size + 1)
        torch.testing.assert_close(used.var(dim=0), torch.full((size,), variance), atol=0.01, rtol=0)


def test_every_class_counts_as_much_as_the_largest():
    """Over an epoch that shows each image once, the importance of a class's overloaded points adds up to n_max."""
    images, labels = training_set()
    dos = begun(DOS(defer_epochs=0), Net(), images, labels)
    seen = torch.zeros(len(COUNTS))

    def loss(logits, targets, weights):
        # The weights of a mean over the points that stand for the images of the batch.
        seen.index_add_(0, targets, weights * len(indices) / len(weights))
        return (logits.sum(dim=1) * weights).mean()

    for indices in torch.randperm(len(labels)).split(7):
        step(dos, Net(), images, labels, indices, loss)
    torch.testing.assert_close(seen, torch.full((len(COUNTS),), float(max(COUNTS))))


def test_the_head_learns_nothing_from_the_embedding_loss_nor_the_layers_below_from_the_classification():
    net = Net()
    images, labels = training_set()
    indices = torch.arange(len(labels))

    def no_loss(logits, targets, weights):
        return logits.sum() * 0

    pull = begun(DOS(defer_epochs=0), net, images, labels)
    assert gradients(step(pull, net, images, labels, indices, no_loss), net) == {
        "below.weight": True,
        "below.bias": True,
        "above.weight": False,
        "above.bias": False,
    }
    apart = begun(DOS(embedding_weight=0, joint=False, defer_epochs=0), net, images, labels)
    assert gradients(step(apart, net, images, labels, indices), net) == {
        "below.weight": False,
        "below.bias": False,
        "above.weight": True,
        "above.bias": True,
    }
    joint = begun(DOS(embedding_weight=0, defer_epochs=0), net, images, labels)
    assert all(gradients(step(joint, net, images, labels, indices), net).values())


def test_one_step_on_the_sum_is_a_step_on_each_part():
    net = Net()
    images, labels = training_set()
    indices = torch.arange(len(labels))
    both = begun(DOS(joint=False, defer_epochs=0), net, images, labels)
    head_only = begun(DOS(embedding_weight=0, joint=False, defer_epochs=0), net, images, labels)
    whole = torch.autograd.grad(step(both, net, images, labels, indices), list(net.parameters()))
    head = torch.autograd.grad(step(head_only, net, images, labels, indices), list(net.above.parameters()))
    torch.testing.assert_close(whole[2:], head)


def test_images_of_the_largest_class_are_classified_as_ever():
    net = Net()
    images, labels = training_set()
    dos = begun(DOS(defer_epochs=0), net, images, labels)
    indices = torch.nonzero(labels == 0).flatten()
    plain = CrossEntropy()(net.head(net.embed(images[indices])), labels[indices])
    value = step(dos, net, images, labels, indices)
    torch.testing.assert_close(value, plain)
    own = torch.autograd.grad(value, list(net.parameters()))
    torch.testing.assert_close(own, torch.autograd.grad(plain, list(net.parameters())))


def test_on_balanced_classes_dos_is_plain_training():
    net = Net()
    images, labels = training_set([5, 5, 5, 5])
    dos = begun(DOS(defer_epochs=0), net, images, labels)
    indices = torch.arange(len(labels))
    torch.testing.assert_close(
        step(dos, net, images, labels, indices), CrossEntropy()(net.head(net.embed(images)), labels)
    )


def test_an_embedding_is_drawn_to_its_neighbours():
    """The gradient of the embedding loss at z is 2 times the sum of w_j (z - v_j)."""
    z = torch.tensor([[0.0, 1.0]], requires_grad=True)
    neighbours = torch.tensor([[[2.0, 1.0], [0.0, 4.0]]])
    weights = torch.tensor([[[0.5, 0.25, 0.25], [0.1, 0.5, 0.4]]])
    value = embedding_loss(z, neighbours, weights)
    assert float(value.detach()) == pytest.approx((0.25 * 4 + 0.25 * 9 + 0.5 * 4 + 0.4 * 9) / 2)
    value.backward()
    torch.testing.assert_close(z.grad, torch.tensor([[-(1.0 + 2.0) / 2, -(1.5 + 2.4) / 2]]))
    points = overloaded_points(z, neighbours, weights)
    torch.testing.assert_close(points, torch.tensor([[[0.5, 1.75], [1.0, 2.2]]]))
    near = [math.exp(-(0.25 + 0.5625)), math.exp(-(1.0 + 1.44))]
    torch.testing.assert_close(closeness(z, points), torch.tensor([near]) / sum(near))


# --- LMLE -----------------------------------------------------------------------------------------------------------


def slow_quintuplets(z, targets, clusters, indices):
    unit = [row / row.norm() for row in z]
    distances, present = [], []
    for i in range(len(z)):
        squared = [float((unit[i] - other).square().sum()) for other in unit]
        peers = [j for j in range(len(z)) if targets[j] == targets[i] and indices[j] != indices[i]]
        inside = [squared[j] for j in peers if clusters[j] == clusters[i]]
        outside = [squared[j] for j in peers if clusters[j] != clusters[i]]
        others = [squared[j] for j in range(len(z)) if targets[j] != targets[i]]
        row = [
            max(inside, default=None),
            min(outside, default=None),
            max((squared[j] for j in peers), default=None),
            min(others, default=None),
        ]
        distances.append([0.0 if d is None else d for d in row])
        present.append([d is not None for d in row])
    return distances, present


def slow_hinges(distances, present, margins):
    total = 0.0
    for j, margin in enumerate(margins):
        values = [
            max(0.0, margin + d[j] - d[j + 1])
            for d, there in zip(distances, present, strict=True)
            if there[j] and there[j + 1]
        ]
        total += sum(values) / len(values) if values else 0.0
    return total


@given(seed=st.integers(0, 1000), size=st.integers(1, 12), classes=st.integers(1, 4))
def test_quintuplets_and_hinges_equal_the_slow_loop(seed, size, classes):
    rng = np.random.default_rng(seed)
    indices = rng.integers(10, size=size)  # the same image may come twice
    targets, clusters = indices % classes, indices % classes + classes * (indices > 4)
    z = torch.from_numpy(rng.normal(size=(10, 3)))[indices]
    z.requires_grad_()
    tensors = [torch.from_numpy(part) for part in (targets, clusters, indices)]
    distances, present = quintuplet_distances(z, *tensors)
    slow_distances, slow_present = slow_quintuplets(z.detach(), targets, clusters, indices)
    assert present.tolist() == slow_present
    expected = torch.tensor(slow_distances, dtype=torch.float64)
    torch.testing.assert_close(distances, expected, atol=1e-12, rtol=1e-10)
    value = triple_header_hinge(distances, present, (0.1, 0.2, 0.8))
    assert float(value.detach()) == pytest.approx(
        slow_hinges(slow_distances, slow_present, (0.1, 0.2, 0.8)), abs=1e-5
    )
    value.backward()
    assert bool(torch.isfinite(z.grad).all())


def test_gradients_of_the_embedding_losses():
    """Against finite differences."""
    generator = torch.Generator().manual_seed(2)

    def drawn(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    neighbours, weights = drawn(6, 3, 4), drawn(6, 2, 4).softmax(dim=2)
    assert torch.autograd.gradcheck(
        lambda z: (embedding_loss(z, neighbours, weights), overloaded_points(z, neighbours, weights)),
        drawn(6, 4).requires_grad_(),
    )
    targets, clusters = torch.arange(12) % 2, torch.arange(12) % 4

    def hinges(z):
        return triple_header_hinge(
            *quintuplet_distances(z, targets, clusters, torch.arange(12)), (0.1, 0.2, 0.8)
        )

    z = drawn(12, 3).requires_grad_()
    assert torch.autograd.grad(hinges(z), z)[0].any(dim=1).sum() > 6
    assert torch.autograd.gradcheck(hinges, z)


def test_hinges_by_hand():
    distances = torch.tensor([[0.5, 0.4, 1.0, 1.2], [0.0, 0.3, 0.9, 0.8], [0.0, 0.0, 0.6, 1.9]])
    present = torch.tensor([[True] * 4, [False, True, True, True], [False, False, True, True]])
    # The first: .2 + .5 - .4; the second: nothing, .7 + .3 - .9; the third: .5 + 1. - 1.2, .5 + .9 - .8, nothing.
    expected = 0.3 + (0.1 + 0.1) / 2 + (0.3 + 0.6 + 0.0) / 3
    assert float(triple_header_hinge(distances, present, (0.2, 0.7, 0.5))) == pytest.approx(expected)
    first_only = float(triple_header_hinge(distances, present, (0.2, 0.0, 0.0)))
    assert first_only == pytest.approx(0.3 + (0.0 + 0.1) / 3)


def test_a_batch_of_one_class_or_of_one_image_costs_nothing():
    net = Net()
    images, labels = training_set()
    lmle = begun(LMLE(defer_epochs=0, cluster_size=100), net, images, labels)
    for indices in (torch.nonzero(labels == 0).flatten(), torch.tensor([3]), torch.tensor([3, 3])):
        value = step(lmle, net, images, labels, indices)
        assert float(value.detach()) == 0
        value.backward()
        assert not any(p.grad.any() for p in net.below.parameters())


def test_lmle_step_is_the_slow_loop_and_leaves_the_head_alone():
    net = Net()
    images, labels = training_set()
    lmle = begun(LMLE(defer_epochs=0, cluster_size=4, margins=(0.1, 0.2, 0.3)), net, images, labels)
    indices = torch.randperm(len(labels))[:20]
    with torch.no_grad():
        members = cluster_classes(
            net.embed(images), labels, cluster_size=4, max_clusters=5, generator=np.random.default_rng(0)
        ).members
        found = slow_quintuplets(net.embed(images[indices]), labels[indices], members[indices], indices)
    value = step(lmle, net, images, labels, indices)
    assert float(value.detach()) == pytest.approx(slow_hinges(*found, (0.1, 0.2, 0.3)), abs=1e-5)
    moved = gradients(value, net)
    assert moved["below.weight"]
    assert not moved["above.weight"]


@pytest.mark.parametrize("large", [False, True])
def test_clusters_are_those_of_k_means(monkeypatch, large):
    """Every image lies in its nearest cluster of its class, and each centre is (near to) the mean of its images."""
    if large:
        monkeypatch.setattr("counterpoise.balance.objectives.lmle._LARGE", 50)
    rng = np.random.default_rng(3)
    labels = np.repeat([0, 1, 3], [120, 40, 9])
    corners = rng.normal(size=(9, 5)) * 10
    z = corners[rng.integers(3, size=169) + 3 * (labels > 0) + 3 * (labels > 1)] + rng.normal(size=(169, 5))
    found = cluster_classes(
        torch.from_numpy(z), torch.from_numpy(labels), cluster_size=20, max_clusters=3, generator=rng
    )
    assert found.labels.tolist() == [0, 0, 0, 1, 1, 3]
    unit = z / np.linalg.norm(z, axis=1, keepdims=True)
    members, centres = found.members.numpy(), found.centers.numpy()
    assert np.array_equal(found.labels.numpy()[members], labels)
    squared = np.square(unit[:, None] - centres).sum(axis=2)
    squared[labels[:, None] != found.labels.numpy()] = np.inf
    assert np.array_equal(squared.argmin(axis=1), members)
    means = np.stack([unit[members == c].mean(axis=0) for c in range(6)])
    np.testing.assert_allclose(centres, means, atol=0.1 if large else 1e-5)


def test_prototypes_are_the_centres_of_the_clusters():
    images, labels = training_set()
    z = Net().embed(images).detach()
    lmle = LMLE(cluster_size=5, max_clusters=3, defer_epochs=0)
    centres, owners = lmle.prototypes(z, labels, np.random.default_rng(5))
    found = cluster_classes(z, labels, cluster_size=5, max_clusters=3, generator=np.random.default_rng(5))
    assert owners.tolist() == [0, 0, 0, 1, 1, 2, 3]
    assert torch.equal(centres, found.centers)
    assert torch.equal(owners, found.labels)
    assert DOS(defer_epochs=0).prototypes(z, labels, np.random.default_rng(5)) is None


def test_the_nearest_center_as_it_was_has_the_identity_that_it_had():
    """Runs of the version without `neighbors` are found again by `neighbors=1`, and never mistaken for others."""
    before = {
        "name": "lmle",
        "margins": (0.1, 0.1, 0.4),
        "cluster_size": 200,
        "max_clusters": 5,
        "recluster_every": 1,
        "defer_epochs": 0.5,
    }
    assert get_method("lmle:neighbors=1").identity()["objective"] == before
    assert get_method("lmle").identity()["objective"] == before | {"neighbors": LMLE(epochs=2).neighbors}
    assert LMLE(epochs=2).neighbors > 2  # of two centers, the nearer decides


def test_equal_embeddings_make_clusters_without_a_word(recwarn):
    labels = torch.tensor([0] * 6 + [1] * 2)
    found = cluster_classes(
        torch.ones(8, 2), labels, cluster_size=2, max_clusters=3, generator=np.random.default_rng(0)
    )
    assert found.labels.tolist() == [0, 0, 0, 1]
    assert not recwarn


def test_clusters_are_made_anew_when_they_are_due():
    images, labels = training_set()
    passes = []

    def embed():
        passes.append(epoch)
        return Net().embed(images).detach()

    lmle = LMLE(defer_epochs=1, recluster_every=2)
    for epoch in range(6):
        lmle.begin_epoch(epoch, embed, labels, np.random.default_rng(epoch))
    assert passes == [1, 3, 5]
    passes.clear()
    epoch = 4
    LMLE(defer_epochs=1, recluster_every=2).begin_epoch(4, embed, labels, np.random.default_rng(4))
    assert passes == [4]  # resumed


# --- both -----------------------------------------------------------------------------------------------------------

OBJECTIVES = {"dos": DOS, "lmle": LMLE}


@pytest.mark.parametrize("name", OBJECTIVES)
def test_training_is_plain_until_it_begins(name):
    net = Net()
    images, labels = training_set()
    indices = torch.arange(len(labels))
    plain = CrossEntropy()(net.head(net.embed(images)), labels)
    for options, begins in (({"epochs": 5}, 2), ({"epochs": 1}, 0), ({"defer_epochs": 3, "epochs": 4}, 3)):
        objective = OBJECTIVES[name](**options)
        for epoch in range(begins):
            objective.begin_epoch(
                epoch, lambda rows=None: pytest.fail("embedded"), labels, np.random.default_rng(0)
            )
            assert torch.equal(step(objective, net, images, labels, indices), plain)
        begun(objective, net, images, labels, epoch=begins)
        assert not torch.isclose(step(objective, net, images, labels, indices), plain)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_all_that_is_random_comes_from_the_generator_of_the_epoch(name):
    net = Net()
    images, labels = training_set()
    indices = torch.arange(len(labels))

    def values(seed):
        torch.manual_seed(np.random.default_rng().integers(2**31))
        options = {"k": 3} if name == "dos" else {"cluster_size": 4}
        objective = begun(OBJECTIVES[name](defer_epochs=0, **options), net, images, labels, seed=seed)
        return [float(step(objective, net, images, labels, indices).detach()) for _ in range(3)]

    state = torch.get_rng_state()
    first = values(0)
    assert values(0) == first
    assert any(values(seed) != first for seed in range(1, 5))
    torch.set_rng_state(state)
    begun(OBJECTIVES[name](defer_epochs=0), net, images, labels)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_it_learns_and_finds_the_rare_class(name):
    """Three classes in a plane, one of 8 images: plain training for 2 epochs, then the objective for 6."""
    rng = np.random.default_rng(0)
    labels = torch.from_numpy(np.repeat([0, 1, 2], [300, 300, 8]))
    angles = torch.from_numpy(2 * np.pi / 3 * labels.numpy() + rng.normal(scale=0.35, size=608))
    images = torch.stack([angles.cos(), angles.sin()], dim=1).float()
    torch.manual_seed(0)
    below, above = nn.Sequential(nn.Linear(2, 16), nn.ReLU()), nn.Linear(16, 3)
    network = SimpleNamespace(embed=below, head=above)
    objective = OBJECTIVES[name](epochs=8, defer_epochs=2)
    sampler = ClassBalancedSampler() if name == "lmle" else None
    optimizer = torch.optim.Adam([*below.parameters(), *above.parameters()], 5e-3)
    for epoch in range(8):

        def embed(rows=None):
            return below(images if rows is None else images[rows]).detach()

        objective.begin_epoch(epoch, embed, labels, np.random.default_rng(epoch))
        order = epoch_indices(sampler, labels.numpy(), seed=0, epoch=epoch)
        for indices in torch.from_numpy(order).split(32):
            optimizer.zero_grad()
            step(objective, network, images, labels, indices).backward()
            optimizer.step()
    with torch.no_grad():
        z = below(images)
        prototypes = objective.prototypes(z, labels, np.random.default_rng(0))
        if prototypes is None:
            predicted = above(z).argmax(dim=1)
        else:
            predicted = prototypes[1][torch.cdist(nn.functional.normalize(z), prototypes[0]).argmin(dim=1)]
    recall = [float((predicted[labels == c] == c).float().mean()) for c in range(3)]
    assert min(recall) > 0.8


@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_step_needs_an_epoch(name):
    images, labels = training_set()
    with pytest.raises(InputError, match="has begun no epoch"):
        step(OBJECTIVES[name](defer_epochs=0), Net(), images, labels, torch.arange(4))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: DOS(k=0, defer_epochs=0), "k is 0"),
        (lambda: DOS(draws=1.5, defer_epochs=0), r"draws is 1\.5"),
        (lambda: DOS(embedding_weight=-1, defer_epochs=0), "embedding_weight is -1"),
        (lambda: DOS(embedding_weight=math.nan, defer_epochs=0), "embedding_weight is nan"),
        (lambda: DOS(), "give their number as epochs="),
        (lambda: DOS(defer_epochs=5, epochs=5), "defer_epochs=5 of 5 epochs leaves none"),
        (lambda: LMLE(defer_epochs=5, epochs=5), "defer_epochs=5 of 5 epochs leaves none"),
        (lambda: LMLE(defer_epochs=-1), "defer_epochs is -1"),
        (lambda: LMLE(margins=(0.1, 0.2), defer_epochs=0), "margins are .*three numbers"),
        (lambda: LMLE(margins=(0.1, 0.2, -0.1), defer_epochs=0), "margins are"),
        (lambda: LMLE(margins=0.1, defer_epochs=0), "margins are 0.1"),
        (lambda: LMLE(margins="abc", defer_epochs=0), "margins are 'abc'"),
        (lambda: LMLE(cluster_size=0, defer_epochs=0), "cluster_size is 0"),
        (lambda: LMLE(max_clusters=0, defer_epochs=0), "max_clusters is 0"),
        (lambda: LMLE(neighbors=0, defer_epochs=0), "neighbors is 0"),
        (lambda: LMLE(recluster_every=0.5, defer_epochs=0), r"recluster_every is 0\.5"),
    ],
)
def test_bad_options_are_refused(build, message):
    with pytest.raises(InputError, match=message):
        build()


def test_public_names_exist():
    assert all(hasattr(objectives, name) for name in objectives.__all__)
