"""Grad-CAM against its formula, captum and the package grad-cam; the layer it finds; an unchanged network."""

import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F
import torchvision
from torch import nn

from counterpoise.exceptions import InputError, UnknownNameError
from counterpoise.explain import GradCAM, feature_maps, find_convolutions, find_map_layer, map_layers
from counterpoise.networks import EnhancedNetwork, Enhancer, EnsembleNetwork, UNet, create_network


def randomized(network, seed=0):
    """Give every parameter and statistic a value of its own: several architectures start with zeros."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            scale = parameter[0].numel() ** -0.5 if parameter.ndim > 1 else 0.3
            center = 0.0 if parameter.ndim > 1 else 0.5
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * scale + center)
    return network.eval()


def ours(name, channels=3, size=(32, 32), seed=0, **options):
    network = create_network(name, num_classes=5, in_channels=channels, image_size=size, seed=seed, **options)
    return randomized(network), (channels, *size)


def swin():
    kind = timm.models.swin_transformer.SwinTransformer
    options = {"embed_dim": 12, "depths": (1, 1), "num_heads": (2, 2), "window_size": 4}
    return randomized(kind(img_size=32, patch_size=2, num_classes=5, **options)), (3, 32, 32)


def vit(**options):
    kind = timm.models.vision_transformer.VisionTransformer
    sizes = {"img_size": (32, 48), "patch_size": 8, "embed_dim": 24, "depth": 3, "num_heads": 2}
    return randomized(kind(num_classes=5, **sizes, **options)), (3, 32, 48)


def torchvision_swin():
    kind = torchvision.models.swin_transformer.SwinTransformer
    options = {"depths": [1, 1], "num_heads": [2, 2], "window_size": [4, 4], "num_classes": 5}
    return randomized(kind(patch_size=[2, 2], embed_dim=12, **options)), (3, 32, 32)


def torchvision_model(name, size=(64, 64), **options):
    model = torchvision.models.get_model(name, weights=None, num_classes=5, **options)
    return randomized(model), (3, *size)


def repeating():
    """A network like torchvision's AlexNet, whose pooling makes 6x6 of fewer positions."""
    layers = [nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(6), nn.Flatten(), nn.Linear(144, 5)]
    return randomized(nn.Sequential(*layers)), (3, 5, 5)


def images_for(shape, count=3, seed=1):
    return torch.rand(count, *shape, generator=torch.Generator().manual_seed(seed))


# --- the layer ----------------------------------------------------------------------------------------------


def enhanced(name="convnet", **options):
    network, shape = ours(name, **options)
    return EnhancedNetwork(Enhancer(UNet(shape[0], width=4)), network).eval(), shape


def plain(*layers):
    width = nn.Sequential(*layers)(torch.zeros(1, 3, 12, 12)).numel()
    return randomized(nn.Sequential(*layers, nn.Flatten(), nn.Linear(width, 5))), (3, 12, 12)


class PooledByAFunction(nn.Module):
    """Its pooling is no module, and neither is the ReLU after the last convolution."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 6, 3)
        self.shrunk, self.last = nn.Identity(), nn.Linear(24, 5)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.first(x)), 2)
        x = self.shrunk(F.max_pool2d(F.relu(self.second(x)), 2, padding=1))
        return self.last(x.flatten(1))


class OwnConvolution(nn.Module):
    """Convolution of no library, over the maps of one."""

    def __init__(self):
        super().__init__()
        self.kernel = nn.Parameter(torch.ones(4, 4, 3, 3))

    def forward(self, x):
        return F.conv2d(x, self.kernel)


def lite0(size=64, **options):
    return ours("tf_efficientnet_lite0", 3, (size, size), **options)


LAYERS = {
    # The last convolution after its normalization and ReLU, before the pooling: that is 2 x 2 in these.
    "lenet": (lambda: ours("lenet", 1, (28, 28)), "backbone.1.2", 10, 10),
    "convnet": (lambda: ours("convnet", 3, (32, 40)), "backbone.1.2", 10, 14),
    "tinynet": (lambda: ours("tinynet", 1, (8, 8)), "backbone.1.2", 4, 4),
    "alexnet8": (lambda: ours("alexnet8"), "backbone.4.2", 8, 8),
    "alexnet8 of large images": (lambda: ours("alexnet8", 3, (64, 96)), "backbone.4.2", 8, 12),
    "resnet32": (lambda: ours("resnet32", 1), "backbone", 8, 8),
    "vgg16": (lambda: ours("vgg16", 3, (64, 96)), "backbone.29", 4, 6),
    # The last pooling leaves one place, which is no map.
    "vgg16 of small images": (lambda: ours("vgg16"), "backbone.29", 2, 2),
    "the default for photographs": (lite0, "backbone.bn2", 2, 2),
    "features of several stages": (lambda: lite0(features="multi", standardize=True), "backbone.bn2", 2, 2),
    "behind a U-Net": (enhanced, "network.backbone.1.2", 10, 10),
    "lenet behind a U-Net": (
        lambda: enhanced("lenet", channels=1, size=(28, 28)),
        "network.backbone.1.2",
        10,
        10,
    ),
    "no pooling": (lambda: plain(nn.Conv2d(3, 4, 3, stride=2), nn.ReLU(), nn.Conv2d(4, 4, 3)), "2", 3, 3),
    "no pooling, with an activation": (lambda: plain(nn.Conv2d(3, 4, 3, stride=2), nn.Tanh()), "1", 5, 5),
    "two poolings": (
        lambda: plain(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.AvgPool2d(2)),
        "1",
        10,
        10,
    ),
    "pooling to the same size": (
        lambda: plain(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.MaxPool2d(3, stride=1, padding=1), nn.Dropout()),
        "1",
        10,
        10,
    ),
    "pooling by a function": (lambda: (randomized(PooledByAFunction()), (3, 12, 12)), "second", 3, 3),
    "own convolution": (
        lambda: plain(nn.Conv2d(3, 4, 3), nn.MaxPool2d(2), OwnConvolution(), nn.MaxPool2d(2, stride=1)),
        "2",
        3,
        3,
    ),
    "timm's resnet in our contract": (lambda: ours("test_resnet", 3, (64, 64)), "backbone.layer4", 2, 2),
    "timm's ViT in our contract": (lambda: ours("test_vit", 3, (64, 64)), "backbone.blocks.5.norm1", 4, 4),
    # The tokens after the last attention do not reach the class token.
    "ViT read from its class token": (vit, "blocks.2.norm1", 4, 6),
    "ViT read from the mean of its tokens": (lambda: vit(global_pool="avg"), "norm", 4, 6),
    "ViT with registers": (lambda: vit(reg_tokens=4), "blocks.2.norm1", 4, 6),
    "Swin": (swin, "norm", 8, 8),
    "torchvision's resnet": (lambda: torchvision_model("resnet18"), "layer4", 2, 2),
    "torchvision's VGG": (lambda: torchvision_model("vgg11_bn"), "features.27", 4, 4),
    "torchvision's AlexNet": (lambda: torchvision_model("alexnet"), "features.11", 3, 3),
    "torchvision's squeezenet": (lambda: torchvision_model("squeezenet1_1"), "classifier.2", 3, 3),
    # Its last ReLU is a function, so the map is that before it.
    "torchvision's densenet": (lambda: torchvision_model("densenet121"), "features", 2, 2),
    "torchvision's googlenet": (
        lambda: torchvision_model("googlenet", aux_logits=False, init_weights=False),
        "inception5b",
        2,
        2,
    ),
    "torchvision's convnext": (lambda: torchvision_model("convnext_tiny"), "features", 2, 2),
    "torchvision's mobilenet": (lambda: torchvision_model("mobilenet_v3_small"), "features", 2, 2),
    "torchvision's swin": (torchvision_swin, "permute", 8, 8),
    "adaptive pooling that repeats places": (repeating, "1", 3, 3),
}


@pytest.mark.parametrize("case", LAYERS)
def test_the_last_map_before_pooling_is_found(case):
    make, name, height, width = LAYERS[case]
    network, shape = make()
    layer = find_map_layer(network, shape)
    assert (layer.name, layer.height, layer.width) == (name, height, width)
    maps = feature_maps(network, images_for(shape, 2), layer.name)
    assert maps.shape[0] == 2
    assert maps.shape[2:] == (height, width)
    assert GradCAM(network).explain(images_for(shape)).shape == (3, *shape[1:])


@pytest.mark.parametrize("make", [swin, vit, torchvision_swin, lambda: ours("convnet")])
def test_a_place_of_the_map_is_a_place_of_the_image(make):
    """A bright patch changes the first maps most in its own quarter."""
    network, shape = make()
    plain = torch.full((1, *shape), 0.5)
    bright = plain.clone()
    bright[..., shape[1] // 2 :, :8] = 1.0  # lower left
    for layer in map_layers(network, shape)[:4]:
        before, after = (feature_maps(network, images, layer.name) for images in (plain, bright))
        change = F.adaptive_avg_pool2d((after - before).abs().sum(dim=1), 2)[0]
        assert change.flatten().argmax() == 2, layer


def test_the_layout_of_every_layer_of_a_swin():
    network, shape = torchvision_swin()
    layers = map_layers(network, shape)
    assert {(layer.height, layer.width) for layer in layers} == {(16, 16), (8, 8)}
    assert layers[0].name == "features.0.0"
    channels_first = [layer.name for layer in layers if layer.layout == "channels-first"]
    assert channels_first == ["features.0.0", "permute"]


def test_convolutions_in_order():
    network, shape = ours("convnet")
    assert find_convolutions(network, shape) == ["backbone.0.0", "backbone.1.0"]
    network, shape = torchvision_model("resnet18")
    assert find_convolutions(network, shape)[:2] == ["conv1", "layer1.0.conv1"]


def test_an_unknown_layer_and_a_network_without_a_map():
    network, shape = ours("convnet")
    with pytest.raises(
        UnknownNameError, match=r"layer with a spatial map 'backbone\.2'; did you mean 'backbone"
    ):
        GradCAM(network, layer="backbone.2").explain(images_for(shape))
    network, shape = vit()
    with pytest.raises(UnknownNameError, match=r"blocks\.2'.*known"):
        GradCAM(network, layer="blocks.2").explain(images_for(shape))
    dense = nn.Sequential(nn.Flatten(), nn.Linear(12, 2))
    with pytest.raises(InputError, match="no spatial map of 2x2 images reaches the logits of Sequential"):
        GradCAM(dense).explain(torch.rand(1, 3, 2, 2))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["vgg16", "torchvision:vgg16"])
def test_vgg16_has_14_x_14_places_at_224_pixels(name):
    """As in Selvaraju et al. 2017, whose maps of VGG-16 are those of relu5_3, before the last pooling."""
    network, shape = ours(name, 3, (224, 224))
    layer = find_map_layer(network, shape)
    assert (layer.name.rpartition(".")[2], layer.height, layer.width) == ("29", 14, 14)
    network, shape = lite0(224)
    assert find_map_layer(network, shape).height == 7  # no pooling but the mean over all places


def test_a_layer_after_the_pooling_is_used_where_it_is_named():
    network, shape = ours("convnet")
    images = images_for(shape)
    coarse = slow_grad_cam(
        network.features, lambda maps: network.head(network._pool(maps)), images, [0, 3, 1]
    )
    expected = F.interpolate(coarse[:, None], size=shape[1:], mode="bilinear")[:, 0]
    explainer = GradCAM(network, layer="backbone")
    assert explainer.layer_for(shape).height == 5
    torch.testing.assert_close(explainer.explain(images, [0, 3, 1]), expected, rtol=1e-5, atol=1e-7)
    assert not torch.allclose(GradCAM(network).explain(images, [0, 3, 1]), expected, rtol=0.1)


# --- the map ------------------------------------------------------------------------------------------------


def slow_grad_cam(network, head, images, targets):
    """Selvaraju et al. 2017, Eq. 1 and 2, image by image and map by map; `network` gives the maps."""
    found = []
    for image, target in zip(images, targets, strict=True):
        maps = network(image[None]).detach().requires_grad_()
        head(maps)[0, target].backward()
        _, channels, height, width = maps.shape
        total = torch.zeros(height, width)
        for k in range(channels):
            alpha = maps.grad[0, k].sum() / (height * width)
            total += alpha * maps[0, k].detach()
        found.append(total.clamp(min=0))
    return torch.stack(found)


def test_the_formula():
    """From the ReLU of the last convolution, and the rest of the network written out."""
    network, shape = ours("convnet")
    images, targets = images_for(shape, 4), [0, 3, 1, 4]
    first, second = network.backbone
    pool = second[3]

    def before_pooling(image):
        return second[2](second[1](second[0](first(network._normalize(image)))))

    coarse = slow_grad_cam(
        before_pooling, lambda maps: network.head(network.top(pool(maps))), images, targets
    )
    assert coarse.shape[1:] == (10, 10)
    expected = F.interpolate(coarse[:, None], size=shape[1:], mode="bilinear")[:, 0]
    found = GradCAM(network).explain(images, targets)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-7)
    assert found.max() > 0


class Differences(torch.nn.Module):
    """Network that adds `shift` to the output of one of its layers: gradients by finite differences, no autograd."""

    def __init__(self, network, layer):
        super().__init__()
        self.network, self.shift, self.maps = network, None, None
        network.get_submodule(layer).register_forward_hook(self._hook)

    def _hook(self, module, inputs, output):
        self.maps = output.detach().clone()
        return output if self.shift is None else output + self.shift

    def grad_cam(self, image, target, step=1e-5):
        """Eq. 1 by two-sided differences, and Eq. 2: shifting a map by a constant sums the gradients of its places."""
        with torch.no_grad():
            self.shift = None
            self.network(image[None])
            maps = self.maps[0]
            ones = torch.eye(len(maps), dtype=maps.dtype)[:, :, None, None].expand(-1, -1, *maps.shape[1:])
            logits = []
            for sign in (1, -1):
                self.shift = sign * step * ones  # the k-th image of the batch has its k-th map shifted
                logits.append(self.network(image.expand(len(maps), -1, -1, -1))[:, target])
            alpha = (logits[0] - logits[1]) / (2 * step) / maps[0].numel()
            return sum(a * m for a, m in zip(alpha, maps, strict=True)).clamp(min=0)


SLOW = {
    "lenet": lambda: ours("lenet", 1, (28, 28)),
    "tinynet": lambda: ours("tinynet", 3, (8, 12)),
    "alexnet8": lambda: ours("alexnet8"),
    "resnet32": lambda: ours("resnet32", 1, (16, 16)),
    "unit-length head": lambda: ours("convnet", head_layer="unit-length", standardize=True),
    "behind a U-Net": enhanced,
    "several stages": lambda: ours("test_resnet", 3, (64, 64), features="multi", standardize=True),
}


@pytest.mark.parametrize("case", SLOW)
def test_equals_differences_without_gradients(case):
    network, shape = SLOW[case]()
    network = network.double()
    images, targets = images_for(shape, 2).double(), [3, 1]
    layer = find_map_layer(network, shape)
    found = GradCAM(network).explain(images, targets)
    slow = Differences(network, layer.name)
    coarse = torch.stack([slow.grad_cam(*each) for each in zip(images, targets, strict=True)])
    assert coarse.shape[1:] == (layer.height, layer.width)
    expected = F.interpolate(coarse[:, None], size=shape[1:], mode="bilinear")[:, 0].float()
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3 * float(expected.max()))


@pytest.mark.parametrize("name", ["lenet", "convnet"])
def test_frozen_layers_and_a_nearest_center_head_have_the_same_maps(name):
    """What learned the weights does not matter, nor that nothing below the head takes gradients."""
    network, shape = ours(name, 1, (28, 28))
    images = images_for(shape)
    expected = GradCAM(network).explain(images, 1)
    network.backbone.requires_grad_(False)
    assert torch.equal(GradCAM(network).explain(images, 1), expected)
    network.set_prototypes(
        torch.randn(7, network.embedding_dim, generator=torch.Generator().manual_seed(0)),
        torch.tensor([0, 1, 2, 3, 4, 0, 1]),
        neighbors=3,
    )
    layer = find_map_layer(network, shape)
    assert layer.name == "backbone.1.2"
    found = GradCAM(network.double()).explain(images.double(), 1)
    slow = Differences(network, layer.name)
    coarse = torch.stack([slow.grad_cam(image, 1) for image in images.double()])
    expected = F.interpolate(coarse[:, None], size=shape[1:], mode="bilinear")[:, 0].float()
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3 * float(expected.max()))


BYPASSED = {
    "convnet": (lambda: ours("convnet"), False),
    "behind a U-Net": (enhanced, False),
    "last stage": (lambda: ours("test_resnet", 3, (64, 64)), False),
    "several stages": (lambda: ours("test_resnet", 3, (64, 64), features="multi"), True),
    "ensemble": (lambda: (EnsembleNetwork([ours("convnet", seed=s)[0] for s in (0, 1)]), (3, 32, 32)), True),
}


@pytest.mark.parametrize("case", BYPASSED)
def test_what_reaches_the_logits_beside_the_layer(case):
    make, bypassed = BYPASSED[case]
    network, shape = make()
    assert GradCAM(network).is_bypassed(images_for(shape, 1)) is bypassed


CAPTUM = {
    "convnet": lambda: ours("convnet"),
    "experts": lambda: ours("convnet", head_layer="experts"),
    "lenet": lambda: ours("lenet", 1, (28, 28)),
    "alexnet8": lambda: ours("alexnet8"),
    "resnet32": lambda: ours("resnet32"),
    "vgg16": lambda: ours("vgg16", 3, (64, 64)),
    "the default for photographs": lite0,
    "several stages": lambda: lite0(features="multi", standardize=True),
    "behind a U-Net": enhanced,
    "torchvision's densenet": lambda: torchvision_model("densenet121"),
    "timm": lambda: ours("test_resnet", 3, (64, 64)),
    "torchvision": lambda: torchvision_model("resnet18"),
    "torchvision's swin": torchvision_swin,
}


@pytest.mark.parametrize("case", CAPTUM)
def test_equals_captum(case):
    from captum.attr import LayerAttribution, LayerGradCam

    network, shape = CAPTUM[case]()
    images, targets = images_for(shape), torch.tensor([1, 0, 4])
    layer = find_map_layer(network, shape).name
    theirs = LayerGradCam(network, network.get_submodule(layer)).attribute(
        images, targets, relu_attributions=True
    )
    theirs = LayerAttribution.interpolate(theirs, shape[1:], "bilinear")[:, 0].detach()
    found = GradCAM(network).explain(images, targets)
    assert theirs.max() > 0
    torch.testing.assert_close(found / theirs.max(), theirs / theirs.max(), rtol=0, atol=1e-5)


@pytest.mark.parametrize("layer", ["backbone.0.0", "backbone.0.1", "backbone.0.2", "backbone.1"])
def test_equals_captum_on_a_named_layer(layer):
    from captum.attr import LayerAttribution, LayerGradCam

    network, shape = ours("convnet")
    images = images_for(shape)
    theirs = LayerGradCam(network, network.get_submodule(layer)).attribute(images, 2, relu_attributions=True)
    theirs = LayerAttribution.interpolate(theirs, shape[1:], "bilinear")[:, 0].detach()
    torch.testing.assert_close(GradCAM(network, layer=layer).explain(images, 2), theirs, rtol=1e-5, atol=1e-7)


def without_prefix(layer):
    """A reshaping written apart from ours: rows of tokens, then channels to the front."""

    def reshape(tokens):
        grid = tokens[:, layer.prefix :].reshape(len(tokens), layer.height, layer.width, -1)
        return grid.permute(0, 3, 1, 2)

    return reshape


PACKAGE = {
    "convnet": (lambda: ours("convnet"), lambda layer: None),
    "ViT": (vit, without_prefix),
    "ViT with registers": (lambda: vit(reg_tokens=2), without_prefix),
    "Swin": (swin, lambda layer: lambda output: output.transpose(2, 3).transpose(1, 2)),
}


@pytest.mark.parametrize("case", PACKAGE)
def test_equals_the_package_grad_cam(case):
    package = pytest.importorskip("pytorch_grad_cam", reason="needs grad-cam (the `test` extra)")
    targets_module = pytest.importorskip("pytorch_grad_cam.utils.model_targets")
    make, reshaping = PACKAGE[case]
    network, shape = make()
    images = images_for(shape)
    strongest = torch.stack([GradCAM(network).explain(images, each).amax(dim=(1, 2)) for each in range(5)])
    targets = strongest.argmax(dim=0).tolist()
    with torch.no_grad():  # large gradients, beside which the 1e-7 that it adds to each maximum is nothing
        [module for module in network.modules() if isinstance(module, nn.Linear)][-1].weight.mul_(1000)
    layer = find_map_layer(network, shape)
    found = GradCAM(network).explain(images, targets).numpy()
    with package.GradCAM(
        network, [network.get_submodule(layer.name)], reshape_transform=reshaping(layer)
    ) as theirs:
        chosen = [targets_module.ClassifierOutputTarget(target) for target in targets]
        expected = theirs(images, chosen)
    # It stretches each map from its least to its greatest value.
    risen = found - found.min(axis=(1, 2), keepdims=True)
    greatest = risen.max(axis=(1, 2), keepdims=True)
    assert greatest.min() > 0
    np.testing.assert_allclose(risen / greatest, expected, atol=1e-5)


def test_a_batch_equals_its_images_one_by_one():
    for make in (lambda: ours("resnet32"), vit, swin):
        network, shape = make()
        images = images_for(shape, 5)
        together = GradCAM(network).explain(images)
        apart = torch.cat([GradCAM(network).explain(image[None]) for image in images])
        torch.testing.assert_close(together, apart, rtol=1e-4, atol=1e-6)


def test_the_predicted_class_is_explained_by_default():
    network, shape = ours("convnet")
    images = images_for(shape, 6)
    predicted = network(images).argmax(dim=1)
    explainer = GradCAM(network)
    assert torch.equal(explainer.explain(images), explainer.explain(images, predicted))
    assert torch.equal(explainer.explain(images, 2), explainer.explain(images, [2] * 6))
    assert not torch.equal(explainer.explain(images, 2), explainer.explain(images, 3))


def test_no_position_raises_the_logit():
    network = nn.Sequential(nn.Conv2d(1, 1, 1, bias=False), nn.Flatten(), nn.Linear(4, 2, bias=False))
    nn.init.ones_(network[0].weight)
    nn.init.constant_(network[2].weight, -1.0)
    assert not GradCAM(network).explain(torch.rand(1, 1, 2, 2), 0).any()


def test_a_logit_that_no_image_changes():
    class Constant(nn.Module):
        def __init__(self):
            super().__init__()
            self.convolution = nn.Conv2d(1, 1, 1)

        def forward(self, x):
            seen = self.convolution(x).mean(dim=(1, 2, 3))
            return torch.stack([seen, torch.full_like(seen, -4.0)], dim=1)

    assert not GradCAM(Constant()).explain(torch.rand(2, 1, 3, 3), 1).any()


@pytest.mark.parametrize(
    ("images", "targets", "words"),
    [
        (torch.zeros(1, 3, 32, 32, dtype=torch.uint8), None, "uint8 images.*divide uint8 by 255"),
        (torch.zeros(3, 32, 32), None, r"expected floats \(N, C, H, W\)"),
        (torch.zeros(0, 3, 32, 32), None, "got no images"),
        (torch.zeros(2, 3, 32, 32), [0, 1, 2], "targets of shape \\(3,\\) for 2 images"),
        (torch.zeros(2, 3, 32, 32), 5, "targets hold 5; expected class indices 0 to 4"),
        (torch.zeros(2, 3, 32, 32), [-1, 0], "expected class indices 0 to 4"),
        (torch.zeros(2, 3, 32, 32), [0.5, 1.0], "one class index"),
    ],
)
def test_wrong_input(images, targets, words):
    network, _ = ours("convnet")
    with pytest.raises(InputError, match=words):
        GradCAM(network).explain(images, targets)


# --- the network is unchanged -------------------------------------------------------------------------------


def state_of(network):
    hooks = sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in network.modules())
    return (
        [module.training for module in network.modules()],
        [(p.requires_grad, p.grad is None) for p in network.parameters()],
        [tensor.clone() for tensor in network.state_dict().values()],
        hooks,
    )


def assert_same_state(before, after):
    assert before[:2] == after[:2]
    assert before[3] == after[3]
    assert all(torch.equal(a, b) for a, b in zip(before[2], after[2], strict=True))


@pytest.fixture
def training_network():
    """A network in training, one batch norm of which is in evaluation mode, and one layer frozen."""
    network, shape = ours("convnet")
    network.train()
    network.backbone[0][1].eval()
    network.backbone[0][0].weight.requires_grad_(False)
    return network, images_for(shape)


def test_the_network_is_unchanged(training_network):
    network, images = training_network
    before = state_of(network)
    maps = GradCAM(network).explain(images)
    assert_same_state(before, state_of(network))
    assert not maps.requires_grad
    assert torch.equal(maps, GradCAM(network.eval()).explain(images))


def test_also_after_an_error(training_network, monkeypatch):
    network, images = training_network
    before = state_of(network)
    explainer = GradCAM(network)
    explainer.explain(images)

    def fail(*args, **options):
        raise RuntimeError("out of luck")

    for module, name in ((network, "_pool"), (torch.autograd, "grad")):
        with monkeypatch.context() as patch:
            patch.setattr(module, name, fail)
            for attempt in (explainer, GradCAM(network)):
                with pytest.raises(RuntimeError, match="out of luck"):
                    attempt.explain(images)
        assert_same_state(before, state_of(network))


def test_feature_maps_leave_the_network_unchanged(training_network, monkeypatch):
    network, images = training_network
    before = state_of(network)
    expected = feature_maps(network, images, "backbone.1.0")
    assert_same_state(before, state_of(network))

    def fail(*args):
        raise RuntimeError("out of luck")

    with monkeypatch.context() as patch:
        patch.setattr(network.classifier, "forward", fail)
        with pytest.raises(RuntimeError, match="out of luck"):
            feature_maps(network, images, "backbone.1.0")
    assert_same_state(before, state_of(network))
    assert torch.equal(feature_maps(network, images, "backbone.1.0"), expected)


def test_without_gradients_around(training_network):
    network, images = training_network
    expected = GradCAM(network).explain(images)
    with torch.no_grad():
        assert torch.equal(GradCAM(network).explain(images), expected)
    with torch.inference_mode():
        assert torch.equal(GradCAM(network).explain(images + 0), expected)
    network.requires_grad_(False)
    assert torch.equal(GradCAM(network).explain(images), expected)


def test_the_global_generator_is_left_as_it_was(training_network):
    network, images = training_network
    before = torch.get_rng_state()
    GradCAM(network).explain(images)
    assert torch.equal(before, torch.get_rng_state())


def test_a_layer_that_is_changed_in_place_afterwards():
    network = randomized(
        nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(16, 3))
    )
    twin = nn.Sequential(network[0], nn.ReLU(), *network[2:])
    images = images_for((1, 4, 4))
    for layer in ("0", "1"):
        found = [GradCAM(each, layer=layer).explain(images, 1) for each in (network, twin)]
        assert torch.equal(*found)
