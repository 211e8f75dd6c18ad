"""Heads of networks: angles and prototypes, by hand and through a file."""

import numpy as np
import pytest
import torch

from counterpoise.exceptions import UnknownNameError
from counterpoise.networks import create_network, load_network, save_network
from counterpoise.networks.heads import (
    CosineHead,
    ExpertsHead,
    OneVsRestHead,
    PrototypeHead,
    UnitLengthHead,
)

POINTS = torch.tensor(np.random.default_rng(0).normal(size=(20, 5)), dtype=torch.float32)


def network(**options):
    return create_network("tinynet", num_classes=3, in_channels=1, image_size=(8, 8), seed=0, **options)


def test_cosine_logits_are_scaled_cosines():
    head = CosineHead(5, 3, scale=7.0)
    weights = head.weight.detach().numpy()
    expected = [[7 * z @ w / np.linalg.norm(z) / np.linalg.norm(w) for w in weights] for z in POINTS.numpy()]
    assert head(POINTS).detach().numpy() == pytest.approx(np.array(expected), rel=1e-4, abs=1e-5)


def test_one_vs_rest_starts_at_the_share_of_a_class_also_when_reset():
    net = network(head_layer="one-vs-rest")
    black = torch.zeros(1, net.embedding_dim)
    assert torch.sigmoid(net.head(black)).tolist() == pytest.approx(np.full((1, 3), 1 / 3))
    net.reset_head(5, generator=torch.Generator().manual_seed(3))
    assert isinstance(net.classifier, OneVsRestHead)
    assert torch.sigmoid(net.head(black)).tolist() == pytest.approx(np.full((1, 5), 1 / 5))
    plain = network()
    assert torch.equal(network(head_layer="one-vs-rest").classifier.weight, plain.classifier.weight)


def test_experts_are_linear_heads_whose_mean_decides():
    head = ExpertsHead(5, 4)
    weights = head.weight.detach().numpy().reshape(3, 4, 5)
    biases = head.bias.detach().numpy().reshape(3, 4)
    each = np.stack([POINTS.numpy() @ w.T + b for w, b in zip(weights, biases, strict=True)], axis=1)
    np.testing.assert_allclose(head.train()(POINTS).detach(), each, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(head.eval()(POINTS).detach(), each.mean(axis=1), rtol=1e-4, atol=1e-5)
    assert (np.abs(weights) <= 5**-0.5).all()
    net = network(head_layer="experts")
    net.reset_head(5, generator=torch.Generator().manual_seed(3))
    assert net.train()(torch.zeros(2, 1, 8, 8)).shape == (2, 3, 5)
    assert net.eval()(torch.zeros(2, 1, 8, 8)).shape == (2, 5)


def test_unit_length_logits_ignore_the_length_of_an_embedding():
    head = UnitLengthHead(5, 3)
    weights, biases = head.weight.detach().numpy(), head.bias.detach().numpy()
    expected = [5**0.5 * z @ weights.T / np.linalg.norm(z) + biases for z in POINTS.numpy()]
    np.testing.assert_allclose(head(POINTS).detach(), expected, rtol=1e-4, atol=1e-5)
    same_length = torch.tensor([[2.0, 1.0, 0.0, 0.0, 0.0], [-1.0, 1.0, 1.0, 1.0, -1.0]])
    linear = same_length.numpy() @ weights.T + biases
    np.testing.assert_allclose(head(same_length).detach(), linear, rtol=1e-4, atol=1e-5)


def test_prototype_logits_are_squared_distances_to_the_nearest_of_each_class():
    centers = np.random.default_rng(1).normal(size=(4, 5))
    labels = [0, 2, 2, 0]
    head = PrototypeHead(5, 3, prototypes=4, scale=2.0)
    head.set_prototypes(torch.tensor(centers), torch.tensor(labels))
    for z, logits in zip(POINTS.numpy(), head(POINTS).numpy(), strict=True):
        unit = z / np.linalg.norm(z)
        for c in (0, 2):
            own = [m / np.linalg.norm(m) for m, y in zip(centers, labels, strict=True) if y == c]
            assert logits[c] == pytest.approx(-2 * min(np.sum((unit - m) ** 2) for m in own), abs=1e-5)
        assert logits[1] == -8  # no prototype: as far as a point of the sphere can be


def slow_cluster_wise_knn(z, centers, labels, k):
    """The class by Huang et al. 2016, one query at a time; D are squared distances on the unit sphere."""
    unit = z / np.linalg.norm(z)
    distances = [np.sum((unit - m / np.linalg.norm(m)) ** 2) for m in centers]
    found = sorted(range(len(centers)), key=lambda j: distances[j])[:k]  # the local clusters
    classes = {labels[j] for j in found}
    if len(classes) == 1:
        return classes.pop()
    margins = {}
    for c in classes:
        other = min(distances[j] for j in found if labels[j] != c)
        own = max(distances[i] for i in found if labels[i] == c)
        margins[c] = other - own
    return max(margins, key=lambda c: margins[c])


@pytest.mark.parametrize("k", [2, 3, 4, 7, 12, 50])
def test_cluster_wise_knn_is_the_papers_decision(k):
    """Over random centers of classes with one to five clusters; class 3 has none."""
    rng = np.random.default_rng(k)
    labels = [0, 0, 0, 0, 0, 1, 2, 2, 4, 4, 4, 4]
    differs = 0
    for _ in range(20):
        centers, queries = rng.normal(size=(12, 3)), rng.normal(size=(30, 3))
        head = PrototypeHead(3, 5, prototypes=12, neighbors=k).double()
        head.set_prototypes(torch.tensor(centers), torch.tensor(labels))
        logits = head(torch.tensor(queries))
        expected = [slow_cluster_wise_knn(z, centers, labels, k) for z in queries]
        assert logits.argmax(dim=1).tolist() == expected
        nearest = PrototypeHead(3, 5, prototypes=12).double()
        nearest.set_prototypes(torch.tensor(centers), torch.tensor(labels))
        differs += int((nearest(torch.tensor(queries)).argmax(dim=1) != logits.argmax(dim=1)).sum())
    # Of two centers the nearer one decides, as the rule says; of more, their distances do.
    assert (differs > 0) is (k > 2)


def test_cluster_wise_knn_by_hand():
    """Distances .4 and 2 to class 0, 1.2 to class 1, 3.2 to class 2, none to class 3."""
    angles = {cosine: [cosine, (1 - cosine**2) ** 0.5] for cosine in (0.8, 0.0, 0.4, -0.6)}
    head = PrototypeHead(2, 4, prototypes=4, scale=1.0, neighbors=3)
    head.set_prototypes(torch.tensor(list(angles.values())), torch.tensor([0, 0, 1, 2]))
    query = torch.tensor([[5.0, 0.0]])
    # Class 0: the nearest other, 1.2, minus its farthest of the three, 2. Class 2 has none of the three, so 3.2.
    expected = torch.tensor([[1.2 - 2.0, 0.4 - 1.2, 0.4 - 3.2, 0.4 - 4.0]])
    torch.testing.assert_close(head(query), expected)
    head.neighbors = 2  # 0 and 1: the nearer
    torch.testing.assert_close(head(query)[:, :2], torch.tensor([[1.2 - 0.4, 0.4 - 1.2]]))
    head.neighbors = 99
    torch.testing.assert_close(head(query), expected)


def test_neighbors_of_one_class_decide_alone():
    """The two nearest centers are of class 0, whatever the margins beyond them."""
    centers = torch.tensor([[1.0, 0.1], [0.2, -1.0], [-0.3, 1.0]])
    head = PrototypeHead(2, 2, prototypes=3, neighbors=2)
    head.set_prototypes(centers, torch.tensor([0, 0, 1]))
    query = torch.tensor([[1.0, -0.2]])
    assert head(query).argmax() == 0
    assert head(query)[0, 0] >= 0 >= head(query)[0, 1]


@pytest.mark.parametrize("kind", ["linear", "one-vs-rest", "cosine", "experts", "unit-length"])
def test_every_head_comes_back_from_its_file(kind, tmp_path):
    images = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    saved = network(head_layer=kind).eval()
    save_network(saved, tmp_path / "model.safetensors")
    loaded = load_network(saved.config, tmp_path / "model.safetensors")
    assert torch.equal(loaded(images), saved(images))
    assert type(loaded.classifier) is type(saved.classifier)


@pytest.mark.parametrize("neighbors", [1, 3])
def test_prototypes_come_back_from_their_file(tmp_path, neighbors):
    images = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    saved = network().eval()
    centers = torch.rand(5, saved.embedding_dim, generator=torch.Generator().manual_seed(1))
    saved.set_prototypes(centers, torch.tensor([0, 1, 2, 2, 1]), neighbors=neighbors)
    save_network(saved, tmp_path / "model.safetensors")
    # Runs from before there were neighbors name none, and the nearest prototype decides.
    assert saved.config["head"].get("neighbors") == (None if neighbors == 1 else neighbors)
    loaded = load_network(saved.config, tmp_path / "model.safetensors")
    assert torch.equal(loaded(images), saved(images))
    assert loaded.config == saved.config


def test_a_new_head_is_of_the_same_kind_and_follows_its_generator():
    heads = []
    for _ in range(2):
        net = network(head_layer="cosine")
        net.reset_head(5, generator=torch.Generator().manual_seed(3))
        heads.append(net.classifier)
    assert isinstance(heads[0], CosineHead)
    assert heads[0].weight.shape[0] == 5
    assert torch.equal(heads[0].weight, heads[1].weight)


def test_an_unknown_head_is_refused():
    with pytest.raises(UnknownNameError, match="cosin"):
        network(head_layer="cosin")
