"""Adapters in vision transformers: what they compute, what is trained, and files."""

from __future__ import annotations

import json
import warnings

import pytest
import timm
import torch
from safetensors.torch import save_file

from counterpoise.exceptions import InputError, UnknownNameError
from counterpoise.networks import ADAPTERS, create_network, load_network, save_network

SIZE = (64, 64)
KINDS = tuple(ADAPTERS)


def build(adapter=None, name="test_vit", **options):
    given = {} if adapter is None else {"adapter": adapter}
    return create_network(name, num_classes=3, in_channels=3, image_size=SIZE, seed=0, **given, **options)


def randomized(network):
    """The network with adapters that change something."""
    generator = torch.Generator().manual_seed(1)
    for name, parameter in network.named_parameters():
        if ".adapter." in name:
            parameter.data = torch.randn(parameter.shape, generator=generator) * 0.1
    return network


@pytest.fixture
def published(tmp_path):
    path = tmp_path / "vit.safetensors"
    save_file(timm.create_model("test_vit", pretrained=False).state_dict(), path)
    return path


def images(count=2):
    return torch.rand(count, 3, *SIZE, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("kind", KINDS)
def test_weights_load_under_their_names_and_the_output_is_unchanged_at_first(kind, published):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        plain, adapted = build(weights=published).eval(), build(kind, weights=published).eval()
    assert {str(w.message).partition("for ")[2] for w in caught} == {
        "classifier.weight, classifier.bias; they start untrained"
    }
    torch.testing.assert_close(adapted.embed(images()), plain.embed(images()), rtol=0, atol=0)
    assert not torch.equal(randomized(adapted).embed(images()), plain.embed(images()))


def test_lora_is_a_change_of_the_projections_of_queries_and_values():
    """Merged into the weights, W + up down for queries and values and W for keys, it gives the same network."""
    adapted, merged = randomized(build("lora", adapter_dim=3).eval()), build().eval()
    state = adapted.backbone.state_dict()
    merged.backbone.load_state_dict({k: v for k, v in state.items() if ".adapter." not in k})
    width = merged.embedding_dim
    for number, block in enumerate(merged.backbone.blocks):
        down, up = (state[f"blocks.{number}.attn.qkv.adapter.{part}"] for part in ("down", "up"))
        assert down.shape == (2, 3, width)
        block.attn.qkv.weight.data[:width] += up[0] @ down[0]
        block.attn.qkv.weight.data[2 * width :] += up[1] @ down[1]
    torch.testing.assert_close(adapted.embed(images()), merged.embed(images()))


def test_adaptformer_is_a_branch_beside_the_mlp():
    """The equations of the paper, block by block, with the plain modules."""
    adapted, plain = randomized(build("adaptformer", adapter_dim=5).eval()), build().eval()
    state = adapted.backbone.state_dict()
    plain.backbone.load_state_dict({k: v for k, v in state.items() if ".adapter." not in k})
    taken = []
    plain.backbone.blocks[0].register_forward_pre_hook(lambda module, inputs: taken.append(inputs[0]))
    plain.embed(images())
    x = taken[0]
    for number, block in enumerate(plain.backbone.blocks):
        x = x + block.ls1(block.attn(block.norm1(x)))
        z = block.norm2(x)
        down, up = (
            [state[f"blocks.{number}.mlp.adapter.{layer}.{part}"] for part in ("weight", "bias")]
            for layer in ("down", "up")
        )
        branch = torch.clamp(z @ down[0].T + down[1], min=0) @ up[0].T + up[1]
        x = x + block.ls2(block.mlp(z) + 0.1 * branch)
    expected = plain.backbone.forward_head(plain.backbone.norm(x), pre_logits=True)
    torch.testing.assert_close(adapted.embed(images()), expected)


@pytest.mark.parametrize(
    ("kind", "dim", "per_block"),
    [
        ("lora", None, lambda d: 4 * 8 * d),
        ("lora", 2, lambda d: 4 * 2 * d),
        ("adaptformer", None, lambda d: 2 * 64 * d + 64 + d),
        ("adaptformer", 4, lambda d: 2 * 4 * d + 4 + d),
    ],
)
def test_only_adapters_and_head_are_trained(kind, dim, per_block):
    network = randomized(build(kind, **({} if dim is None else {"adapter_dim": dim})))
    width, blocks = network.embedding_dim, len(network.backbone.blocks)
    assert network.config["parameters"] == blocks * per_block(width) + 3 * width + 3
    network(images()).sum().backward()
    with_gradient = {name for name, p in network.named_parameters() if p.grad is not None}
    assert with_gradient == {
        n for n, _ in network.named_parameters() if ".adapter." in n or "classifier" in n
    }
    assert all(network.get_parameter(name).grad.abs().sum() > 0 for name in with_gradient)


@pytest.mark.parametrize("kind", KINDS)
def test_round_trip(kind, tmp_path):
    network = randomized(build(kind, adapter_dim=2)).eval()
    save_network(network, tmp_path / "model.safetensors")
    again = load_network(json.loads(json.dumps(network.config)), tmp_path / "model.safetensors")
    assert torch.equal(again(images()), network(images()))
    assert again.config == network.config
    assert [p.requires_grad for p in again.parameters()] == [p.requires_grad for p in network.parameters()]
    with pytest.raises(InputError, match="backbone tensors that test_vit has no place for"):
        build(weights=tmp_path / "model.safetensors")


def test_what_has_no_blocks_is_refused():
    with pytest.raises(InputError, match="`adapter` lora needs a vision transformer of timm"):
        build("lora", name="test_resnet")
    with pytest.raises(UnknownNameError, match="did you mean 'lora'"):
        build("lorra")
    with pytest.raises(InputError, match="network 'lenet' has no option 'adapter'"):
        build("lora", name="lenet")
