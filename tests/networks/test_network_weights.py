"""Weights in files: to the same bits and back, and pretrained ones from elsewhere."""

from __future__ import annotations

import json
import warnings

import pytest
import timm
import torch
from safetensors.torch import save_file

from counterpoise.exceptions import InputError, RunFolderError
from counterpoise.networks import create_network, load_network, save_network


def build(name="lenet", channels=1, size=(28, 28), classes=10, **options):
    options = {"seed": 0} | options
    return create_network(name, num_classes=classes, in_channels=channels, image_size=size, **options)


def trained(network):
    """The network after two batches, so that its batch norm has seen something."""
    for _ in range(2):
        network(torch.rand(4, network.in_channels, *network.image_size))
    return network.eval()


@pytest.mark.parametrize(
    ("name", "channels", "size", "options"),
    [
        ("tinynet", 1, (8, 8), {}),
        ("lenet", 1, (28, 28), {}),
        ("resnet32", 3, (16, 16), {}),
        ("vgg16", 3, (32, 32), {"trainable_blocks": 2}),
        ("resnet18", 3, (32, 32), {}),
        ("vit_tiny_patch16_224", 3, (32, 32), {}),
    ],
)
def test_round_trip_is_exact(tmp_path, name, channels, size, options):
    network = trained(build(name, channels, size, 4, mean=0.3, std=0.2, **options))
    save_network(network, tmp_path / "model.safetensors")
    again = load_network(json.loads(json.dumps(network.config)), tmp_path / "model.safetensors")
    x = torch.rand(3, channels, *size)
    assert torch.equal(network(x), again(x))
    assert again.config == network.config
    assert not again.training
    own, loaded = network.state_dict(), again.state_dict()
    assert own.keys() == loaded.keys()
    assert all(torch.equal(own[key], loaded[key]) for key in own)
    assert [p.requires_grad for p in network.parameters()] == [p.requires_grad for p in again.parameters()]


def test_batch_norms_count_survives(tmp_path):
    network = trained(build())
    save_network(network, tmp_path / "model.safetensors")
    again = load_network(network.config, tmp_path / "model.safetensors")
    assert again.state_dict()["backbone.0.1.num_batches_tracked"] == 2


def test_loading_what_is_not_there_or_another_network(tmp_path):
    path, config = tmp_path / "model.safetensors", build().config
    with pytest.raises(RunFolderError, match="is the run complete"):
        load_network(config, path)
    path.write_bytes(b"not a network")
    with pytest.raises(RunFolderError, match="cannot read the weights"):
        load_network(config, path)
    save_network(build(classes=3), path)
    with pytest.raises(RunFolderError, match="does not hold the lenet"):
        load_network(config, path)


def test_own_file_with_another_head(tmp_path):
    source = trained(build(classes=10, mean=0.3, std=0.5, seed=1))
    save_network(source, tmp_path / "model.safetensors")
    with pytest.warns(UserWarning, match=r"classifier\.weight, classifier\.bias; they start untrained"):
        network = build(classes=4, weights=tmp_path / "model.safetensors").eval()
    x = torch.rand(2, 1, 28, 28)
    assert torch.equal(network.embed(x), source.embed(x))
    assert network(x).shape == (2, 4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        same = build(classes=10, weights=tmp_path / "model.safetensors").eval()
    assert torch.equal(same(x), source(x))


def test_normalization_comes_from_the_file_unless_given(tmp_path):
    save_network(build(mean=0.3, std=0.5), tmp_path / "model.safetensors")
    assert build(weights=tmp_path / "model.safetensors").config["mean"] == pytest.approx([0.3])
    given = build(weights=tmp_path / "model.safetensors", mean=0.1)
    assert given.config["mean"] == pytest.approx([0.1])
    assert given.config["std"] == [1.0]


@pytest.mark.parametrize(("suffix", "wrapped"), [(".safetensors", False), (".pth", False), (".pth", True)])
def test_timm_file(tmp_path, suffix, wrapped):
    source = timm.create_model("test_resnet", pretrained=False, num_classes=7)
    path = tmp_path / f"resnet{suffix}"
    if suffix == ".pth":
        state = source.state_dict()
        torch.save({"state_dict": {f"module.{k}": v for k, v in state.items()}} if wrapped else state, path)
    else:
        save_file(source.state_dict(), path)
    with pytest.warns(UserWarning, match=r"classifier\.bias; they start untrained"):
        network = build("test_resnet", 3, (32, 32), weights=path).eval()
    x = torch.rand(2, 3, 32, 32)
    normalized = (x - network.mean) / network.std
    expected = source.eval().forward_head(source.forward_features(normalized), pre_logits=True)
    torch.testing.assert_close(network.embed(x), expected)
    assert network.config["mean"] == pytest.approx(list(source.pretrained_cfg["mean"]))


def test_a_transformers_positions_are_brought_to_the_image_size_as_timm_does(tmp_path):
    """A file made at 160 pixels, under the names that CLIP's image towers have elsewhere, for images of 64."""
    state = timm.create_model("test_vit", pretrained=False, num_classes=7).state_dict()
    torch.save({f"visual.trunk.{name}": tensor for name, tensor in state.items()}, tmp_path / "vit.pth")
    with pytest.warns(UserWarning, match=r"classifier\.bias; they start untrained"):
        network = build("test_vit", 3, (64, 64), weights=tmp_path / "vit.pth").eval()
    expected = timm.create_model(
        "test_vit", pretrained=True, pretrained_cfg_overlay={"state_dict": state}, num_classes=0, img_size=64
    ).eval()
    x = torch.rand(2, 3, 64, 64)
    torch.testing.assert_close(network.embed(x), expected((x - network.mean) / network.std))
    assert network.state_dict()["backbone.pos_embed"].shape != state["pos_embed"].shape


def test_color_weights_for_gray_images(tmp_path):
    """A gray image gives the features that the same image gives as color."""
    source = build("resnet32", 3, (16, 16), seed=1, mean=0.2, std=0.5).eval()
    save_network(source, tmp_path / "model.safetensors")
    gray = build("resnet32", 1, (16, 16), weights=tmp_path / "model.safetensors", mean=0.2, std=0.5).eval()
    x = torch.rand(2, 1, 16, 16)
    torch.testing.assert_close(gray.embed(x), source.embed(x.expand(-1, 3, -1, -1)))


def test_torchvision_file_for_vgg16_leaves_the_new_top_untrained(tmp_path):
    """The thesis's case: pretrained convolutions, a new top."""
    source = build("vgg16", 3, (32, 32), seed=1)
    names = {f"features.{k}": v for k, v in source.backbone.state_dict().items()}
    torch.save({**names, "classifier.0.weight": torch.zeros(3, 3)}, tmp_path / "vgg16.pth")
    with pytest.warns(UserWarning, match=r"top\.2\.0\.weight.*start untrained"):
        network = build("vgg16", 3, (32, 32), weights=tmp_path / "vgg16.pth", mean=0.0)
    x = torch.rand(1, 3, 32, 32)
    assert torch.equal(network.features(x), source.features(x))
    with pytest.warns(UserWarning, match="start untrained"):
        network = build("vgg16", 3, (32, 32), weights=tmp_path / "vgg16.pth")
    assert network.config["mean"] == pytest.approx([0.485, 0.456, 0.406])


class Harmful:
    def __reduce__(self):
        return print, ("this must not run",)


def test_pickles_with_more_than_tensors_are_refused_and_not_run(tmp_path, capsys):
    torch.save({"weight": torch.zeros(1), "payload": Harmful()}, tmp_path / "model.pth")
    with pytest.raises(InputError, match="more than tensors"):
        build(weights=tmp_path / "model.pth")
    assert "must not run" not in capsys.readouterr().out


def test_files_that_do_not_fit(tmp_path):
    with pytest.raises(InputError, match=r"cannot read weights .*missing\.pth"):
        build(weights=tmp_path / "missing.pth")
    with pytest.raises(InputError, match="cannot read weights"):
        build(weights=tmp_path)
    (tmp_path / "text.safetensors").write_text("hello")
    with pytest.raises(InputError, match="cannot read weights"):
        build(weights=tmp_path / "text.safetensors")
    (tmp_path / "text.pth").write_text("hello")
    with pytest.raises(InputError):
        build(weights=tmp_path / "text.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(InputError, match="no tensors by name"):
        build(weights=tmp_path / "list.pth")
    save_network(build("resnet32", 3, (16, 16)), tmp_path / "resnet.safetensors")
    with pytest.raises(InputError, match=r"fit 0 of the .* backbone tensors of lenet"):
        build(weights=tmp_path / "resnet.safetensors")
    state = build("tinynet", 1, (8, 8)).state_dict()
    del state["backbone.0.1.running_mean"]
    save_file(state, tmp_path / "partial.safetensors")
    with pytest.raises(
        InputError, match=r"fit 11 of the 12 .* \(not backbone\.0\.1\.running_mean, for example\)"
    ):
        build("tinynet", 1, (8, 8), weights=tmp_path / "partial.safetensors")
