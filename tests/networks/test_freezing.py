"""Freezing the first layers: nothing in them moves, not even a statistic; and cutting a network in two."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from counterpoise.exceptions import InputError
from counterpoise.networks import create_network, cut, freeze, is_chain, learned_layers

# name, channels, image size, learned layers below the head
CHAINS = [
    ("tinynet", 1, (8, 8), 3),
    ("lenet", 1, (28, 28), 3),
    ("convnet", 3, (32, 32), 4),
    ("alexnet8", 1, (28, 28), 7),
    ("alexnet8", 3, (33, 40), 7),
]
OTHERS = [
    ("resnet32", 3, (16, 16), 16),  # the stem and 15 residual blocks
    ("resnet18", 3, (32, 32), 5),  # timm's groups: the stem and four stages
    ("vit_tiny_patch16_224", 3, (32, 32), 13),  # patches with class token and positions; twelve blocks
    ("alexnet", 3, (64, 64), 7),  # torchvision's
    ("torchvision:resnet18", 3, (32, 32), 5),
]


def build(name, channels, size, classes=4, seed=0):
    return create_network(name, num_classes=classes, in_channels=channels, image_size=size, seed=seed)


def state(network):
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def train_some_steps(network, steps=3):
    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.SGD([p for p in network.parameters() if p.requires_grad], lr=0.1)
    for _ in range(steps):
        network.train()
        x = torch.rand(4, network.in_channels, *network.image_size, generator=generator)
        y = torch.randint(0, network.num_classes, (4,), generator=generator)
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(x), y).backward()
        optimizer.step()


def names_below(network, n):
    """Names of the state of the first n layers, from their parameters' modules."""
    frozen = {id(parameter) for layer in learned_layers(network)[:n] for parameter in layer.parameters}
    modules = [name for name, p in network.named_parameters() if id(p) in frozen]
    homes = {name.rpartition(".")[0] for name in modules}
    return {name for name in network.state_dict() if name.rpartition(".")[0] in homes}


@pytest.mark.parametrize(("name", "channels", "size", "layers"), CHAINS + OTHERS)
def test_every_parameter_below_the_head_is_in_one_layer(name, channels, size, layers):
    network = build(name, channels, size)
    found = learned_layers(network)
    assert len(found) == layers
    ids = [id(parameter) for layer in found for parameter in layer.parameters]
    head = {id(parameter) for parameter in network.classifier.parameters()}
    assert len(ids) == len(set(ids))
    assert set(ids) == {id(parameter) for parameter in network.parameters()} - head


@pytest.mark.parametrize(
    ("name", "channels", "size", "n"),
    [
        ("alexnet8", 3, (16, 16), 1),
        ("alexnet8", 3, (16, 16), 6),
        ("convnet", 3, (32, 32), 3),
        ("resnet32", 3, (16, 16), 4),
        ("resnet18", 3, (32, 32), 2),
        ("vit_tiny_patch16_224", 3, (32, 32), 3),
        ("torchvision:resnet18", 3, (32, 32), 2),
    ],
)
def test_frozen_layers_stay_to_the_bit_and_the_others_learn(name, channels, size, n):
    network = build(name, channels, size)
    train_some_steps(network, 1)  # so that statistics are not the initial ones
    frozen = names_below(network, n)
    trainable = freeze(network, n)
    assert trainable == sum(p.numel() for p in network.parameters() if p.requires_grad)
    assert trainable == sum(p.numel() for key, p in network.named_parameters() if key not in frozen)
    assert trainable == network.config["parameters"]
    before = state(network)
    train_some_steps(network)
    after = state(network)
    assert frozen
    for key in before:
        same = torch.equal(before[key], after[key])
        if key in frozen or key in ("mean", "std"):
            assert same, key
        elif not key.endswith(".bias"):  # before a batch norm, a bias has no gradient
            assert not same, key


def test_statistics_of_a_frozen_batch_norm_do_not_move_and_do_count_in_training_mode():
    network = build("alexnet8", 3, (16, 16))
    train_some_steps(network, 2)
    freeze(network, 2)
    network.train()
    norms = [module for module in network.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    assert [norm.training for norm in norms] == [False] * 2 + [True] * 5
    bottom, _ = cut(network, 2)
    x = torch.rand(6, 3, 16, 16)
    alone = torch.cat([bottom(x[i : i + 1]) for i in range(6)])
    torch.testing.assert_close(bottom(x), alone)  # whatever else is in the batch
    network.eval()
    torch.testing.assert_close(bottom(x), alone)


def test_all_leaves_the_head_alone():
    for name, channels, size in [("convnet", 3, (32, 32)), ("resnet18", 3, (32, 32))]:
        network = build(name, channels, size, classes=7)
        assert freeze(network, "all") == (network.embedding_dim + 1) * 7
        before = state(network)
        train_some_steps(network, 2)
        changed = {key for key, value in state(network).items() if not torch.equal(value, before[key])}
        assert changed == {"classifier.weight", "classifier.bias"}


def test_freezing_more_adds_up_and_nothing_is_thawed():
    network = build("alexnet8", 1, (28, 28))
    counts = [freeze(network, n) for n in range(8)]
    assert counts == sorted(counts, reverse=True)
    assert freeze(network, 0) == counts[-1] == freeze(network, "all") == 257 * 4


def test_a_frozen_layer_is_as_the_thesis_counts_it():
    """LeNet's first layer: 6 filters of 5x5 and a bias each, and batch norm's two."""
    network = build("lenet", 1, (28, 28), classes=10)
    assert freeze(network, 1) == 52_186 - (6 * 26 + 12)


@pytest.mark.parametrize(("name", "channels", "size", "layers"), [*CHAINS, ("vgg16", 3, (32, 32), 14)])
def test_the_two_parts_of_a_cut_are_the_network(name, channels, size, layers):
    network = create_network(
        name, num_classes=3, in_channels=channels, image_size=size, seed=0, mean=0.4, std=0.2
    ).eval()
    assert is_chain(network)
    x = torch.rand(2, channels, *size)
    for n in range(layers + 1):
        bottom, rest = cut(network, n)
        assert torch.equal(rest(bottom(x)), network(x))
        parts = [sum(p.numel() for p in part.parameters()) for part in (bottom, rest)]
        assert sum(parts) == sum(p.numel() for p in network.parameters())
    embedding = cut(network, layers)[0](x)
    assert torch.equal(embedding, network.embed(x))


def test_what_cannot_be_frozen_or_cut_says_why():
    network = build("lenet", 1, (28, 28))
    with pytest.raises(
        InputError, match="4 layers of lenet: it has 3 below its head; give a number from 0 to 3"
    ):
        freeze(network, 4)
    for wrong in (-1, "some", True):
        with pytest.raises(InputError, match="below its head"):
            freeze(network, wrong)
    with pytest.raises(InputError, match="resnet32 is not a chain of layers"):
        cut(build("resnet32", 3, (16, 16)), 2)


@pytest.mark.parametrize(
    ("size", "expected"),
    [((28, 28), (3, 3)), ((32, 32), (4, 4)), ((63, 80), (7, 10)), ((64, 64), (4, 4)), ((100, 100), (6, 6))],
)
def test_alexnet8_is_sized_for_its_images(size, expected):
    network = build("alexnet8", 3, size).eval()
    assert network.features(torch.rand(1, 3, *size)).shape == (1, 64, *expected)
    flat = 64 * expected[0] * expected[1]
    channels, kernels = (3, 32, 64, 96, 96, 64), (25, 9, 9, 9, 9)
    convolutions = sum(
        a * b * k + 3 * b for a, b, k in zip(channels[:-1], channels[1:], kernels, strict=True)
    )
    dense = 256 * (flat + 3) + 256 * (256 + 3) + 4 * 257
    assert network.config["parameters"] == convolutions + dense
    kinds = (nn.Conv2d, nn.Linear)
    assert sum(isinstance(module, kinds) for module in network.modules()) == 8
