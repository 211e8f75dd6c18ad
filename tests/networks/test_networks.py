"""The networks: the papers' parameter counts, one contract for all, and reproducible weights."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import json
import pkgutil
import subprocess
import sys

import pytest
import torch
from torch import nn
from torch.nn import functional

from counterpoise import networks
from counterpoise.exceptions import InputError, UnknownNameError
from counterpoise.networks import (
    NETWORKS,
    Network,
    create_network,
    default_network_name,
    get_network_entry,
)

# name, channels, image size, width of the embedding
CASES = [
    ("tinynet", 1, (8, 8), 64),
    ("lenet", 1, (28, 28), 120),
    ("lenet", 3, (12, 20), 120),
    ("convnet", 3, (32, 32), 120),
    ("convnet", 1, (16, 40), 120),
    ("resnet32", 3, (32, 32), 64),
    ("vgg16", 1, (32, 32), 1024),
    ("alexnet8", 1, (28, 36), 256),
    ("resnet18", 3, (64, 64), 512),
    ("mobilenetv3_small_050", 1, (48, 48), 1024),
    ("vit_tiny_patch16_224", 3, (48, 32), 192),
    ("test_efficientnet", 3, (32, 32), 256),
    ("shufflenet_v2_x0_5", 1, (40, 40), 1024),
]


def build(name="lenet", channels=1, size=(28, 28), classes=10, seed=0, **options):
    return create_network(
        name, num_classes=classes, in_channels=channels, image_size=size, seed=seed, **options
    )


def images(network, n=3):
    generator = torch.Generator().manual_seed(1)
    return torch.rand(n, network.in_channels, *network.image_size, generator=generator)


@pytest.mark.parametrize(
    ("name", "channels", "size", "classes", "expected"),
    [
        ("lenet", 1, (28, 28), 10, 52_186),  # thesis, section 6.1
        ("convnet", 3, (32, 32), 10, 714_780),  # thesis, section 6.2
        ("resnet32", 3, (32, 32), 10, 464_154),  # 0.46 M: He et al. 2016, Table 6
        ("vgg16", 3, (224, 224), 100, 15_344_548),
        ("alexnet8", 3, (32, 32), 10, 547_210),
    ],
)
def test_parameter_counts(name, channels, size, classes, expected):
    network = build(name, channels, size, classes)
    assert sum(p.numel() for p in network.parameters() if p.requires_grad) == expected
    assert network.config["parameters"] == expected


def test_vgg16_trains_only_its_last_blocks():
    blocks = [38_720, 221_440, 1_475_328, 5_899_776, 7_079_424]
    top = 512 * 1024 + 1024 + 2 * 1024 + 1024 * 100 + 100
    for trainable in range(6):
        network = build("vgg16", 3, (32, 32), 100, trainable_blocks=trainable)
        assert network.config["parameters"] == sum(blocks[5 - trainable :]) + top
        assert network.config["options"] == {"trainable_blocks": trainable}
    with pytest.raises(InputError, match="trainable_blocks is 6"):
        build("vgg16", 3, (32, 32), trainable_blocks=6)


@pytest.mark.parametrize(("name", "channels", "size", "width"), CASES)
def test_contract(name, channels, size, width):
    network = build(name, channels, size, classes=5, mean=[0.4] * channels, std=[0.2] * channels).eval()
    x = images(network)
    before = x.clone()
    z = network.embed(x)
    assert z.shape == (3, width)
    assert network.embedding_dim == width
    assert torch.equal(network(x), network.head(z))
    assert network(x).shape == (3, 5)
    assert torch.equal(before, x)
    assert not torch.equal(z[0], z[1])
    assert json.loads(json.dumps(network.config)) == network.config


@pytest.mark.parametrize(("name", "channels", "size", "width"), CASES[:-1])
def test_last_spatial_map(name, channels, size, width):
    network = build(name, channels, size).eval()
    maps = network.features(images(network))
    assert maps.ndim == 4
    assert len(maps) == 3
    assert max(maps.shape[2:]) < max(size)
    if name in NETWORKS:
        assert torch.equal(network._pool(maps), network.embed(images(network)))


@pytest.mark.parametrize(("name", "channels", "size", "width"), CASES)
def test_training_moves_every_parameter(name, channels, size, width):
    network = build(name, channels, size)
    network(images(network, 4)).square().sum().backward()
    assert all(p.grad is not None for p in network.parameters())


@pytest.mark.parametrize("name", ["tinynet", "lenet", "convnet"])
def test_layers_are_those_of_the_paper(name):
    network = build(name, 3, (16, 16))
    x = papers = images(network)
    for convolution, norm, _, _ in network.backbone:
        normed = functional.batch_norm(convolution(papers), None, None, norm.weight, norm.bias, training=True)
        papers = functional.max_pool2d(functional.relu(normed), 2)
    torch.testing.assert_close(network.features(x), papers)


def test_resnet32_shortcut_is_option_a():
    network = build("resnet32", 3, (8, 8)).eval()
    block = next(b for b in network.backbone if getattr(b, "stride", 1) == 2)
    nn.init.zeros_(block.bn2.weight)
    x = torch.rand(2, 16, 8, 8)
    out = block(x)
    torch.testing.assert_close(out[:, 8:24], x[:, :, ::2, ::2])
    assert not out[:, :8].any()
    assert not out[:, 24:].any()
    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d)]
    assert len(convolutions) + 1 == 32


def test_normalization_is_inside():
    plain, shifted = (
        build("convnet", 3, (16, 16)).eval(),
        build("convnet", 3, (16, 16), mean=[0.5, 0.1, 0.2]).eval(),
    )
    scaled = build("convnet", 3, (16, 16), mean=0.25, std=[0.5, 0.2, 0.1]).eval()
    x = images(plain)
    assert not torch.allclose(plain(x), shifted(x))
    assert not torch.allclose(shifted(x), scaled(x))
    by_hand = (x - torch.tensor([0.5, 0.1, 0.2]).reshape(1, 3, 1, 1)) / 1.0
    torch.testing.assert_close(shifted(x), plain(by_hand))
    by_hand = (x - 0.25) / torch.tensor([0.5, 0.2, 0.1]).reshape(1, 3, 1, 1)
    torch.testing.assert_close(scaled(x), plain(by_hand))
    assert scaled.config["mean"] == [0.25] * 3
    assert {"mean", "std"} <= set(scaled.state_dict())


@pytest.mark.parametrize("name", ["lenet", "resnet18"])
def test_same_seed_same_weights_and_the_global_generator_stays(name):
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    first, again, other = (build(name, 1, (32, 32), seed=seed) for seed in (0, 0, 1))
    assert torch.equal(torch.rand(3), expected)
    weights, same, different = (list(n.state_dict().values()) for n in (first, again, other))
    assert all(torch.equal(a, b) for a, b in zip(weights, same, strict=True))
    assert any(not torch.equal(a, b) for a, b in zip(weights, different, strict=True))


def test_without_a_seed_the_callers_generator_decides():
    torch.manual_seed(7)
    first = build(seed=None)
    second = build(seed=None)
    torch.manual_seed(7)
    again = build(seed=None)
    assert torch.equal(first.classifier.weight, again.classifier.weight)
    assert not torch.equal(first.classifier.weight, second.classifier.weight)


def test_reset_head():
    network = build()
    old, body = network.classifier.weight.clone(), network.backbone[0][0].weight.clone()
    network.reset_head(generator=torch.Generator().manual_seed(3))
    first = network.classifier.weight.clone()
    assert not torch.equal(old, first)
    assert torch.equal(body, network.backbone[0][0].weight)
    network.reset_head(generator=torch.Generator().manual_seed(3))
    assert torch.equal(first, network.classifier.weight)
    bound = 120**-0.5  # as torch.nn.Linear draws: U(-1/sqrt(d), 1/sqrt(d))
    assert first.abs().max() <= bound
    assert first.std().item() == pytest.approx(bound / 3**0.5, rel=0.05)
    network.double().reset_head(4)
    assert network.num_classes == network.config["num_classes"] == 4
    assert network(images(network).double()).shape == (3, 4)
    network.reset_head(generator=None)
    assert network.classifier.weight.requires_grad


def test_entries_and_defaults():
    assert NETWORKS.names == ("tinynet", "lenet", "convnet", "resnet32", "vgg16", "alexnet8")
    for name in NETWORKS.names:
        entry = NETWORKS[name]
        assert issubclass(entry.load(), Network)
        assert entry.title
        assert entry.summary.endswith(".")
        assert entry.source
        least = (entry.smallest_image, entry.smallest_image)
        build(name, 3, least).eval()(torch.zeros(1, 3, *least))
        if name in ("tinynet", "lenet", "convnet", "vgg16", "alexnet8"):
            with pytest.raises(InputError, match=f"at least {least[0]}x{least[0]}"):
                build(name, 3, (least[0], least[1] - 1))
    assert default_network_name(1, (8, 8)) == "tinynet"
    assert default_network_name(3, (15, 40)) == "tinynet"
    assert default_network_name(1, (28, 28)) == "lenet"
    assert default_network_name(1, (40, 40)) == "convnet"
    assert default_network_name(3, (32, 32)) == "convnet"
    assert default_network_name(3, (100, 100)) == "resnet18"


@pytest.mark.parametrize("size", [(8, 8), (16, 16), (28, 28), (16, 48), (49, 16), (100, 100)])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_default_network_takes_the_images(channels, size):
    network = build(default_network_name(channels, size), channels, size).eval()
    assert network(images(network)).shape == (3, 10)


def test_unknown_names_get_the_nearest():
    with pytest.raises(UnknownNameError, match="did you mean 'lenet'"):
        build("lenett")
    with pytest.raises(UnknownNameError, match="did you mean 'resnet18'"):
        build("resnet1x")
    assert get_network_entry("timm:vgg16").load() is not get_network_entry("vgg16").load()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"name": "lenet", "size": (8, 8)},
            "lenet needs images of at least 12x12, found 8x8; resize them, or use tinynet",
        ),
        ({"name": "convnet", "size": (32, 15)}, "convnet needs images of at least 16x16, found 32x15"),
        ({"name": "alexnet", "size": (20, 20)}, "alexnet cannot take 20x20 images"),
        ({"name": "lenet", "classes": 0}, "num_classes is 0"),
        ({"name": "lenet", "channels": 0}, "in_channels is 0"),
        ({"name": "lenet", "std": [0.0]}, "expected positive values"),
        ({"name": "lenet", "mean": [0.1, 0.2]}, "mean has 2 values for 1 channels"),
        ({"name": "lenet", "trainable_blocks": 2}, "network 'lenet' has no option 'trainable_blocks'"),
    ],
)
def test_what_cannot_be_built_says_why(arguments, message):
    with pytest.raises(InputError, match=message):
        build(**arguments)


def test_wrong_images_are_refused():
    network = build()
    with pytest.raises(InputError, match=r"expected \(N, 1, 28, 28\)"):
        network(torch.zeros(2, 3, 28, 28))
    with pytest.raises(InputError, match=r"shape \(2, 1, 30, 28\)"):
        network.embed(torch.zeros(2, 1, 30, 28))
    with pytest.raises(InputError, match="uint8 images; expected floats"):
        network.features(torch.zeros(2, 1, 28, 28, dtype=torch.uint8))
    with pytest.raises(InputError, match="no spatial map"):
        build("shufflenet_v2_x0_5", 3, (40, 40)).features(torch.zeros(1, 3, 40, 40))


def test_listing_names_imports_no_torch():
    code = (
        "import sys, counterpoise.networks as n; assert n.NETWORKS['lenet'].summary;"
        "n.default_network_name(1, (8, 8)); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_public_name_is_there():
    """No name is hidden by a module of the same name."""
    assert sorted(dir(networks)) == sorted(networks.__all__)
    for found in pkgutil.iter_modules(networks.__path__, "counterpoise.networks."):
        importlib.import_module(found.name)
    for name in networks.__all__:
        assert not inspect.ismodule(getattr(networks, name))


# SHA-256 over names, shapes, types and bytes of the state dict at seed 0.
STATES = {
    ("tinynet", 1, (8, 8)): "a2eff377cfceb9e392ab45d95b0c6c35d3fa950b3aa425485e64b3e4966fa4ae",
    ("lenet", 1, (28, 28)): "9af31f397134c9e2e05ebcb12a1700e6d85d9bdaa13b53c63f3b9845b5084d41",
    ("convnet", 3, (32, 32)): "132ea24fd7a6259298e5189507feec11ee66498c9a19d766e93fdf5353b50dd6",
    ("alexnet8", 3, (32, 32)): "6b46d745e808808ca693a4533fd3a7632577ff0531b91ba3c78aaa42b2f41c9a",
}


@pytest.mark.parametrize("case", STATES)
def test_initial_weights_never_change(case):
    """Finished runs are compared with new ones of the same seed, and files hold these names and shapes."""
    digest = hashlib.sha256()
    for key, tensor in build(*case, mean=0.3, std=0.2).state_dict().items():
        digest.update(f"{key} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.numpy().tobytes())
    assert digest.hexdigest() == STATES[case]


def test_the_configuration_never_changes():
    """Its JSON is written to run.json and read from finished runs."""
    network = build("lenet", 1, (28, 28), 3, head_layer="cosine", mean=0.25)
    network.set_prototypes(torch.rand(4, 120), torch.tensor([0, 1, 2, 2]))
    assert json.dumps(network.config) == (
        '{"name": "lenet", "num_classes": 3, "in_channels": 1, "image_size": [28, 28], "embedding_dim": 120,'
        ' "parameters": 50976, "mean": [0.25], "std": [1.0],'
        ' "head": {"layer": "prototype", "prototypes": 4}, "options": {}}'
    )
