"""The U-Net against one written with plain functions, and a classifier behind it."""

import json

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from counterpoise.exceptions import InputError, RunFolderError
from counterpoise.networks import EnhancedNetwork, Enhancer, UNet, create_network, load_network, save_network

SIZES = [(1, 1), (2, 3), (5, 5), (8, 8), (7, 16), (17, 31)]


def new_unet(channels=3, width=4, depth=3, seed=0):
    torch.manual_seed(seed)
    unet = UNet(channels, width=width, depth=depth)
    for module in unet.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 2)
    return unet.eval()


def images(size, channels=3, count=2):
    return torch.rand(count, channels, *size, generator=torch.Generator().manual_seed(1))


def plain_unet(unet, x):
    """Three scales, with borders padded and enlarged pixels repeated by hand."""

    def layer(block, x):
        convolution, norm, _ = block
        x = F.conv2d(x, convolution.weight, padding=1)
        mean, deviation = (
            norm.running_mean[:, None, None],
            (norm.running_var + norm.eps).sqrt()[:, None, None],
        )
        return ((x - mean) / deviation * norm.weight[:, None, None] + norm.bias[:, None, None]).clamp(min=0)

    def halve(x):
        x = F.pad(x, (0, x.shape[3] % 2, 0, x.shape[2] % 2), value=float("-inf"))
        n, c, h, w = x.shape
        return x.reshape(n, c, h // 2, 2, w // 2, 2).amax(dim=(3, 5))

    def join(skip, x, narrow, up):
        x = F.conv2d(x, narrow.weight, narrow.bias).repeat_interleave(2, 2).repeat_interleave(2, 3)
        return layer(up, torch.cat([skip, x[:, :, : skip.shape[2], : skip.shape[3]]], dim=1))

    fine = layer(unet.down[0], x)
    middle = layer(unet.down[1], halve(fine))
    coarse = layer(unet.down[2], halve(middle))
    middle = join(middle, coarse, unet.narrow[1], unet.up[1])
    fine = join(fine, middle, unet.narrow[0], unet.up[0])
    return 1 / (1 + torch.exp(-F.conv2d(fine, unet.last.weight, unet.last.bias)))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("channels", [1, 3])
def test_images_of_any_size_come_out_as_the_plain_one_gives_them(size, channels):
    unet, x = new_unet(channels), images(size, channels)
    with torch.no_grad():
        found = unet(x)
        torch.testing.assert_close(found, plain_unet(unet, x))
        # Weights that blow everything up still give pixels.
        unet.last.weight.mul_(1e4)
        extreme = unet(x)
    assert found.shape == x.shape
    assert 0 < found.min() <= found.max() < 1
    assert 0 <= extreme.min() <= extreme.max() <= 1


def residual(channels=3, width=4):
    unet = UNet(channels, width=width, residual=True)
    unet.load_state_dict(new_unet(channels, width).state_dict())  # its last layer is no longer zero
    return unet.eval()


@pytest.mark.parametrize("size", SIZES)
def test_a_residual_unet_adds_to_the_image_and_clips(size):
    unet, x = residual(), images(size)
    with torch.no_grad():
        odds = plain_unet(unet, x)
        change = torch.log(odds / (1 - odds))  # what the other kind puts through the sigmoid
        torch.testing.assert_close(unet(x), (x + change).clamp(0, 1), atol=1e-5, rtol=1e-4)
        unet.last.weight.mul_(1e4)
        extreme = unet(x)
    assert {0.0, 1.0} >= {float(extreme.min()), float(extreme.max())}


def test_an_untrained_residual_unet_returns_its_images_to_the_bit_and_learns_from_the_first_step():
    unet, x = UNet(3, width=4, residual=True), images((9, 9))
    x[0, 0, 0, :2] = torch.tensor([0.0, 1.0])
    assert torch.equal(unet.eval()(x), x)
    optimizer = torch.optim.SGD(unet.parameters(), lr=0.1)
    for _ in range(2):  # the layers below the last one move from the second step on
        before = {name: value.clone() for name, value in unet.named_parameters()}
        optimizer.zero_grad()
        unet.train()(x).square().mean().backward()
        optimizer.step()
    assert all(not torch.equal(before[name], value) for name, value in unet.named_parameters())
    with torch.no_grad():
        assert not torch.equal(unet.eval()(x), x)


def test_every_parameter_is_trained_and_the_width_doubles_with_the_scale():
    unet = new_unet(width=6).train()
    unet(images((9, 9))).square().sum().backward()
    assert all(p.grad is not None and bool((p.grad != 0).any()) for p in unet.parameters())
    assert [block[0].out_channels for block in unet.down] == [6, 12, 24]
    assert len(UNet(1, width=2, depth=1).up) == 0


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.zeros(2, 1, 8, 8), r"shape \(2, 1, 8, 8\); expected \(N, 3, height, width\)"),
        (torch.zeros(3, 8, 8), r"shape \(3, 8, 8\)"),
        (torch.zeros(2, 3, 8, 8, dtype=torch.uint8), "uint8 images; expected floats"),
    ],
)
def test_other_images_are_refused(x, message):
    with pytest.raises(InputError, match=message):
        new_unet()(x)


@pytest.mark.parametrize("options", [{"width": 0}, {"depth": 0}])
def test_a_unet_of_nothing_is_refused(options):
    with pytest.raises(InputError, match="at least 1"):
        UNet(3, **options)


# --- before a classifier ------------------------------------------------------------------------------------


def new_classifier(name="tinynet"):
    return create_network(
        name, num_classes=3, in_channels=1, image_size=(8, 8), mean=[0.3], std=[0.2], seed=0
    )


def trained(network, steps=3):
    """Some steps on noise; returns the states before and after."""
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    optimizer = torch.optim.Adam([p for p in network.parameters() if p.requires_grad], lr=0.01)
    network.train()
    for _ in range(steps):
        F.cross_entropy(network(images((8, 8), 1, 6)), torch.arange(6) % 3).backward()
        optimizer.step()
        optimizer.zero_grad()
    return before, network.state_dict()


def changed(before, after, prefix):
    return {name for name in before if name.startswith(prefix) and not torch.equal(before[name], after[name])}


def test_a_frozen_classifier_stays_the_same_bits_with_its_batch_norm_statistics():
    network = EnhancedNetwork(Enhancer(new_unet(1)), new_classifier())
    before, after = trained(network)
    assert changed(before, after, "network.") == set()
    assert changed(before, after, "enhancer.") == {name for name in before if name.startswith("enhancer.")}
    assert all(parameter.grad is None for parameter in network.network.parameters())


def test_a_classifier_that_is_not_frozen_is_trained_on():
    network = EnhancedNetwork(Enhancer(new_unet(1)), new_classifier(), frozen=False)
    before, after = trained(network)
    buffers = {"network.mean", "network.std"}
    assert changed(before, after, "network.") == {n for n in before if n.startswith("network.")} - buffers


def test_it_is_the_classifier_of_the_changed_images():
    enhancer, classifier = Enhancer(new_unet(1)), new_classifier().eval()
    network, x = EnhancedNetwork(enhancer, classifier).eval(), images((8, 8), 1)
    with torch.no_grad():
        assert torch.equal(network(x), classifier(enhancer(x)))
        assert torch.equal(network.head(network.embed(x)), network(x))
        assert torch.equal(network.features(x), classifier.features(enhancer(x)))


@pytest.mark.parametrize("frozen", [True, False])
@pytest.mark.parametrize("prototypes", [True, False])
def test_it_is_saved_and_loaded_like_any_network(tmp_path, frozen, prototypes):
    network = EnhancedNetwork(Enhancer(new_unet(1, width=5)), new_classifier(), frozen=frozen)
    trained(network)
    if prototypes:
        network.set_prototypes(torch.rand(4, network.embedding_dim), torch.arange(4) % 3)
    save_network(network.eval(), tmp_path / "model.safetensors")
    config = json.loads(json.dumps(network.config))
    state = torch.random.get_rng_state()
    loaded = load_network(config, tmp_path / "model.safetensors")
    assert torch.equal(torch.random.get_rng_state(), state)
    assert isinstance(loaded, EnhancedNetwork)
    assert loaded.config == network.config
    assert torch.equal(loaded(images((8, 8), 1)), network(images((8, 8), 1)))


def test_an_enhancer_is_saved_alone_and_works_before_any_classifier(tmp_path):
    enhancer = Enhancer(new_unet(3, width=5, depth=2))
    enhancer.save(tmp_path / "enhancer.safetensors")
    loaded = Enhancer.load(tmp_path / "enhancer.safetensors")
    x = images((9, 11))
    with torch.no_grad():
        assert torch.equal(loaded(x), enhancer(x))
    other = nn.Sequential(loaded, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 4))
    assert other(x).shape == (2, 4)


def test_the_kind_of_a_unet_is_saved_and_one_that_copies_is_written_as_before(tmp_path):
    x = images((9, 11))
    for unet in (new_unet(), residual()):
        enhancer = Enhancer(unet)
        enhancer.save(tmp_path / "enhancer.safetensors")
        with torch.no_grad():
            assert torch.equal(Enhancer.load(tmp_path / "enhancer.safetensors")(x), enhancer(x))
    assert Enhancer(new_unet()).config == {"in_channels": 3, "width": 4, "depth": 3}
    assert Enhancer(residual()).config == {"in_channels": 3, "width": 4, "depth": 3, "residual": True}


def test_another_file_is_no_enhancer(tmp_path):
    save_network(new_classifier(), tmp_path / "model.safetensors")
    (tmp_path / "broken").write_bytes(b"x" * 30)
    for name in ("model.safetensors", "broken", "nothing"):
        with pytest.raises(
            RunFolderError, match=r"holds no enhancer .*; give the enhancer\.safetensors of a run"
        ):
            Enhancer.load(tmp_path / name)
