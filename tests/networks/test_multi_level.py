"""Features of several stages, and standardized embeddings."""

from __future__ import annotations

import pytest
import torch

from counterpoise.exceptions import InputError, UnknownNameError
from counterpoise.explain import GradCAM
from counterpoise.networks import (
    EnhancedNetwork,
    Enhancer,
    UNet,
    create_network,
    has_stages,
    load_network,
    packaged_weights,
    save_network,
)

GENERATOR = torch.Generator().manual_seed(0)


def photographs(size, count=3):
    return torch.rand(count, 3, size, size, generator=GENERATOR)


def build(name, size=64, **options):
    network = create_network(name, num_classes=3, in_channels=3, image_size=(size, size), seed=0, **options)
    return network.eval()


def watched(network, layers, x):
    """Return the outputs of layers of the backbone, seen from outside."""
    seen = {}
    hooks = [
        network.backbone.get_submodule(name).register_forward_hook(
            lambda module, inputs, output, name=name: seen.__setitem__(name, output.detach())
        )
        for name in layers
    ]
    with torch.no_grad():
        network.embed(x)
    for hook in hooks:
        hook.remove()
    return [seen[name] for name in layers]


@pytest.mark.parametrize(
    ("name", "layers", "width"),
    [
        ("tf_efficientnet_lite0", ("blocks.2", "blocks.4", "blocks.6"), 1280 + 2 * (40 + 112 + 320)),
        ("resnet18", ("layer2", "layer3", "layer4"), 512 + 2 * (128 + 256 + 512)),
    ],
)
@pytest.mark.filterwarnings("ignore:.*start untrained")
def test_features_of_a_convolutional_network_are_pooled_from_its_stages(name, layers, width):
    weights = packaged_weights() if "lite0" in name else None
    last = build(name, weights=weights)
    network = build(name, features="multi", weights=weights)
    network.backbone.load_state_dict(last.backbone.state_dict())
    x = photographs(64)
    maps = watched(last, layers, x)
    assert network.embedding_dim == width
    pooled = [part for m in maps for part in (m.flatten(2).mean(dim=2), m.flatten(2).max(dim=2).values)]
    with torch.no_grad():
        expected = torch.cat([last.embed(x), *pooled], dim=1)
        torch.testing.assert_close(network.embed(x), expected)
        torch.testing.assert_close(network.features(x), last.features(x))
    assert network.config["options"] == {"features": "multi"}


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "deit3_small_patch16_224"])
def test_features_of_a_transformer_are_pooled_from_its_patches(name):
    last, network = build(name), build(name, features="multi")
    network.backbone.load_state_dict(last.backbone.state_dict())
    depth, x = len(last.backbone.blocks), photographs(64, 2)
    tokens = watched(last, [f"blocks.{i}" for i in range(depth - 3, depth)], x)
    # The class token is no patch; 64 pixels are 4 x 4 patches of 16.
    patches = [t[:, 1:] for t in tokens]
    assert patches[0].shape[1] == 16
    pooled = [part for t in patches for part in (t.mean(dim=1), t.amax(dim=1))]
    with torch.no_grad():
        torch.testing.assert_close(network.embed(x), torch.cat([last.embed(x), *pooled], dim=1))


def test_other_features_are_refused():
    with pytest.raises(UnknownNameError, match="features"):
        build("resnet18", features="middle")
    with pytest.raises((InputError, TypeError)):
        create_network("lenet", num_classes=2, in_channels=1, image_size=(28, 28), seed=0, features="multi")
    assert has_stages("tf_efficientnet_lite0")
    assert not has_stages("lenet")
    assert not has_stages("torchvision:resnet18")


@pytest.fixture
def standardized():
    network = build("resnet18", features="multi", standardize=True, head_layer="linear")
    width = network.embedding_dim
    network.set_standardization(
        torch.randn(width, generator=GENERATOR), torch.rand(width, generator=GENERATOR) + 0.5
    )
    return network


def test_embeddings_are_standardized_by_what_is_saved_with_the_weights(standardized, tmp_path):
    network, x = standardized, photographs(64)
    with torch.no_grad():
        raw = network.raw_embed(x)
        assert torch.equal(network.embed(x), (raw - network.features_mean) / network.features_scale)
        assert torch.equal(network(x), network.head(network.embed(x)))
        save_network(network, tmp_path / "model.safetensors")
        loaded = load_network(network.config, tmp_path / "model.safetensors")
        assert loaded.config == network.config
        assert loaded.config["options"] == {"features": "multi", "standardize": True}
        assert torch.equal(loaded(x), network(x))


def test_before_it_is_set_standardization_changes_nothing():
    network, x = build("resnet18", standardize=True), photographs(64)
    with torch.no_grad():
        assert torch.equal(network.embed(x), network.raw_embed(x))


def test_standardization_that_cannot_be_is_refused(standardized):
    width = standardized.embedding_dim
    with pytest.raises(InputError, match="not positive; use 1 for constant features"):
        standardized.set_standardization(torch.zeros(width), torch.zeros(width))
    with pytest.raises(InputError, match="built without standardize=True"):
        build("resnet18").set_standardization(torch.zeros(512), torch.ones(512))


def test_grad_cam_sees_the_last_stage_of_multi_level_features(standardized):
    x = photographs(64, 2)
    maps = GradCAM(standardized).explain(x, targets=torch.tensor([0, 2]))
    assert maps.shape == (2, 64, 64)
    assert maps.max() > 0


def test_enhanced_networks_standardize_in_the_classifier(standardized):
    network = EnhancedNetwork(Enhancer(UNet(3, width=4)), standardized).eval()
    x = photographs(64, 2)
    with torch.no_grad():
        assert torch.equal(network.embed(x), standardized.embed(network.enhancer(x)))
    assert not network.standardize


def test_the_scale_of_a_cosine_head_is_saved(tmp_path):
    network = build("resnet18", head_layer="cosine")
    assert network.config["head"] == {"layer": "cosine"}
    network.classifier.scale = 25.0
    assert network.config["head"] == {"layer": "cosine", "scale": 25.0}
    save_network(network, tmp_path / "model.safetensors")
    loaded, x = load_network(network.config, tmp_path / "model.safetensors"), photographs(64)
    with torch.no_grad():
        assert torch.equal(loaded(x), network(x))
