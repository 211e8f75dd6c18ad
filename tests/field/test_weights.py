"""Weights from elsewhere are loaded whole and right, or refused in one sentence."""

import warnings

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

from counterpoise.exceptions import InputError, RunFolderError
from counterpoise.networks import create_network, load_network, load_weights, save_network


def build(name="test_resnet", *, channels=3, size=(32, 32), **options):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*start untrained")
        return create_network(
            name, num_classes=3, in_channels=channels, image_size=size, seed=0, **options
        ).eval()


@pytest.fixture(scope="module")
def state():
    torch.manual_seed(1)
    network = timm.create_model("test_resnet")
    return {
        name: t + 0.01 * torch.rand_like(t) if t.is_floating_point() else t
        for name, t in network.state_dict().items()
    }


def saved(path, content):
    torch.save(content, path)
    return path


def loaded_equal(network, state):
    own = network.backbone.state_dict()
    return all(torch.equal(tensor, state[name]) for name, tensor in own.items())


@pytest.mark.parametrize(
    ("deep", "shallow", "prefix"),
    [
        ("resnet34", "resnet18", ""),
        ("resnet34", "resnet18", "module._orig_mod.model."),
        ("convnext_small", "convnext_tiny", "net."),
    ],
)
def test_weights_of_a_deeper_sibling_are_refused_with_a_tensor_that_has_no_place(
    tmp_path, deep, shallow, prefix
):
    small, large = (timm.create_model(name).state_dict() for name in (shallow, deep))
    assert small.keys() < large.keys()
    file = saved(tmp_path / "deep.pth", {prefix + name: tensor for name, tensor in large.items()})
    with pytest.raises(InputError) as caught:
        build(shallow, weights=file)
    surplus = [name for name in large.keys() - small.keys() if not name.endswith("num_batches_tracked")]
    assert f"hold {len(surplus)} backbone tensors that {shallow} has no place for" in str(caught.value)
    assert any(name in str(caught.value) for name in surplus)


def test_heads_may_stay_unused(tmp_path, state):
    file = saved(
        tmp_path / "w.pth",
        {**state, "head_dist.weight": torch.zeros(3, 3), "neck.conv.weight": torch.zeros(3)},
    )
    assert loaded_equal(build(weights=file), state)


@pytest.mark.parametrize(
    "prefix",
    [
        "_orig_mod.",
        "module._orig_mod.",
        "_orig_mod.module.",
        "module.model.",
        "net.",
        "model.",
        "backbone.",
        "module.backbone.",
        "model.net._orig_mod.",
        "_orig_mod.model.backbone.",
        "encoder.",
        "module.module.network.net.",
    ],
)
def test_prefixes_of_other_programs_in_any_nesting(tmp_path, state, prefix):
    file = saved(tmp_path / "w.pth", {prefix + name: tensor for name, tensor in state.items()})
    assert loaded_equal(build(weights=file), state)


def test_compiled_parts_inside_of_a_name(tmp_path, state):
    renamed = {name.replace("layer1.", "layer1._orig_mod."): tensor for name, tensor in state.items()}
    assert renamed.keys() != state.keys()
    assert loaded_equal(build(weights=saved(tmp_path / "w.pth", renamed)), state)


@pytest.mark.parametrize(
    "key", ["state_dict", "model", "weights", "model_ema", "ema_state_dict", "state_dict_ema"]
)
@pytest.mark.parametrize("outer", [None, "model"])
def test_wrappers_of_other_programs(tmp_path, state, key, outer):
    content = {
        key: {f"module.{name}": tensor for name, tensor in state.items()},
        "step": torch.tensor(5),
        "epoch": 3,
    }
    file = saved(tmp_path / "w.pth", content if outer is None else {outer: content})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", ".*start untrained")
        assert loaded_equal(build(weights=file), state)


@pytest.mark.parametrize("average", ["model_ema", "ema_state_dict", "state_dict_ema"])
@pytest.mark.parametrize("plain", ["model", "state_dict"])
def test_the_moving_average_is_preferred_and_named(tmp_path, state, average, plain):
    averaged = {name: t + 1 if t.is_floating_point() else t for name, t in state.items()}
    file = saved(tmp_path / "w.pth", {plain: state, average: {f"module.{n}": t for n, t in averaged.items()}})
    with pytest.warns(UserWarning, match=rf"their moving average \({average}\) is loaded"):
        network = build(weights=file)
    assert loaded_equal(network, averaged)


@pytest.mark.parametrize(
    ("name", "value", "fault"),
    [
        ("layer1.0.conv1.weight", float("nan"), "holds NaN or infinity"),
        ("bn1.bias", float("inf"), "holds NaN or infinity"),
        ("bn1.running_mean", float("nan"), "holds NaN or infinity"),
        ("bn1.running_var", -1.0, "holds 0 or less"),
    ],
)
def test_numbers_of_no_trained_network_are_refused(tmp_path, state, name, value, fault):
    broken = state[name].clone()
    broken.view(-1)[0] = value
    with pytest.raises(InputError, match=rf"backbone\.{name} {fault}.*diverged"):
        build(weights=saved(tmp_path / "w.pth", {**state, name: broken}))


@pytest.mark.parametrize(
    ("mean", "std"), [(0.5, 0.0), (0.5, -1.0), (0.5, float("nan")), (0.5, float("inf")), (float("nan"), 1.0)]
)
def test_a_normalization_that_is_none_is_refused(tmp_path, mean, std):
    with pytest.raises(InputError, match=r"(std|mean) is "):
        build(mean=mean, std=std)
    network = build()
    save_network(network, tmp_path / "model.safetensors")
    tensors = load_file(tmp_path / "model.safetensors")
    tensors |= {"mean": torch.full((1, 3, 1, 1), mean), "std": torch.full((1, 3, 1, 1), std)}
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(InputError, match=r"(std|mean) holds"):
        build(weights=tmp_path / "model.safetensors")
    with pytest.raises(RunFolderError, match=r"(std|mean) holds"):
        load_network(network.config, tmp_path / "model.safetensors")


def test_quantized_weights_are_not_taken_for_floats(tmp_path, state):
    quantized = {n: (100 * t).to(torch.int8) if t.ndim == 4 else t for n, t in state.items()}
    with pytest.raises(InputError, match=r"fit \d+ of the \d+ backbone tensors"):
        build(weights=saved(tmp_path / "w.pth", quantized))


@pytest.mark.parametrize(
    "name", ["resnet18", "test_vit", "test_convnext", "torchvision:resnet18", "tf_efficientnet_lite0"]
)
def test_a_gray_image_gives_the_features_of_its_three_channels(tmp_path, name):
    """Also at the border, where zeros are padded after the normalization."""
    torch.manual_seed(0)
    source = build(name, size=(64, 64))
    file = saved(
        tmp_path / "w.pth",
        {
            n: t + 0.01 * torch.rand_like(t) if t.is_floating_point() else t
            for n, t in source.backbone.state_dict().items()
        },
    )
    color, gray = (build(name, size=(64, 64), channels=channels, weights=file) for channels in (3, 1))
    x = torch.rand(2, 1, 64, 64)
    with torch.no_grad():
        expected = color.embed(x.expand(-1, 3, -1, -1))
        torch.testing.assert_close(
            gray.embed(x), expected, rtol=1e-5, atol=1e-5 * float(expected.abs().max())
        )
    # A rebuilt network, and one that starts from the file of this one.
    save_network(gray, tmp_path / "gray.safetensors")
    again = load_network(gray.config, tmp_path / "gray.safetensors")
    started = build(name, size=(64, 64), channels=1, weights=tmp_path / "gray.safetensors")
    with torch.no_grad():
        assert torch.equal(again(x), gray(x))
        assert torch.equal(started.embed(x), gray.embed(x))


def test_the_normalization_of_a_color_run_comes_with_its_weights(tmp_path):
    color = build("resnet32", size=(16, 16), mean=[0.2, 0.4, 0.6], std=[0.1, 0.2, 0.3])
    save_network(color, tmp_path / "color.safetensors")
    gray = build("resnet32", size=(16, 16), channels=1)
    load_weights(gray, tmp_path / "color.safetensors")
    x = torch.rand(2, 1, 16, 16)
    with torch.no_grad():
        torch.testing.assert_close(gray(x), color(x.expand(-1, 3, -1, -1)), rtol=1e-5, atol=1e-5)
    assert gray.config["mean"] == pytest.approx([0.2, 0.4, 0.6])
    assert gray.in_channels == 1


def test_channels_that_are_normalized_alike_stay_one(tmp_path):
    """The installed weights: networks of earlier runs are rebuilt as they were."""
    color = build("resnet32", size=(16, 16), mean=0.5, std=0.25)
    save_network(color, tmp_path / "color.safetensors")
    gray = build("resnet32", size=(16, 16), channels=1, weights=tmp_path / "color.safetensors")
    assert (gray.config["mean"], gray.config["std"]) == ([0.5], [0.25])
    x = torch.rand(2, 1, 16, 16)
    with torch.no_grad():
        torch.testing.assert_close(gray(x), color(x.expand(-1, 3, -1, -1)), rtol=1e-5, atol=1e-5)
