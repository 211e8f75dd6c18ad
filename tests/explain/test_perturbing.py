"""LIME and occlusion against slow loops written from their definitions; superpixels."""

import importlib
import inspect
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import Ridge
from torch import nn

from counterpoise import explain
from counterpoise.exceptions import InputError, UnknownNameError
from counterpoise.explain import (
    EXPLAINERS,
    LIME,
    Explainer,
    GradCAM,
    Occlusion,
    create_explainer,
    superpixels,
)
from counterpoise.networks import create_network


@pytest.fixture(scope="module")
def network():
    network = create_network("tinynet", num_classes=3, in_channels=3, image_size=(8, 12), seed=0)
    with torch.no_grad():
        network.classifier.weight.mul_(5)
    return network.eval()


def images_for(count=2, seed=1):
    return torch.rand(count, 3, 8, 12, generator=torch.Generator().manual_seed(seed))


def probability(network, image, target):
    with torch.no_grad():
        return network(image[None]).softmax(dim=1)[0, target].item()


# --- occlusion ----------------------------------------------------------------------------------------------


def slow_occlusion(network, image, target, side):
    """Cover squares one after the other; a pixel's value is the mean loss over those that covered it."""
    _, height, width = image.shape
    step = max(1, side // 2)
    color = image.mean(dim=(1, 2), keepdim=True)
    before = probability(network, image, target)
    lost, covered = np.zeros((height, width)), np.zeros((height, width))
    for top in range(0, height - side + step, step):
        for left in range(0, width - side + step, step):
            version = image.clone()
            version[:, top : top + side, left : left + side] = color
            lost[top : top + side, left : left + side] += before - probability(network, version, target)
            covered[top : top + side, left : left + side] += 1
    return lost / covered


@pytest.mark.parametrize("window", [None, 1, 3, 8])
def test_occlusion(network, window):
    images, targets = images_for(), [2, 0]
    found = Occlusion(network, window=window).explain(images, targets).numpy()
    for image, target, map in zip(images, targets, found, strict=True):
        np.testing.assert_allclose(map, slow_occlusion(network, image, target, window or 2), atol=1e-6)
    assert np.abs(found).max() > 1e-3


def test_occlusion_with_small_batches_is_the_same(network):
    images = images_for(3)
    expected = Occlusion(network).explain(images)
    torch.testing.assert_close(Occlusion(network, batch_size=1).explain(images), expected)
    torch.testing.assert_close(Occlusion(network, batch_size=10_000).explain(images), expected)


# --- LIME ---------------------------------------------------------------------------------------------------


def slow_lime(network, image, target, samples, patches, seed):
    """Ribeiro et al. 2016, Algorithm 1, with a ridge regression as in their own package."""
    labels = superpixels(image.numpy(), patches)
    count = labels.max() + 1
    generator = torch.Generator().manual_seed(seed)
    color = image.mean(dim=(1, 2))
    seen, values, weights = [], [], []
    for _ in range(samples):
        z = (torch.rand(1, count, generator=generator)[0] < 0.5).numpy()
        version = image.clone()
        for row in range(image.shape[1]):
            for column in range(image.shape[2]):
                if not z[labels[row, column]]:
                    version[:, row, column] = color
        norm = np.sqrt(z.sum()) * np.sqrt(count)
        cosine = z.sum() / norm if norm else 0.0
        seen.append(z.astype(float))
        values.append(probability(network, version, target))
        weights.append(np.exp(-((1 - cosine) ** 2) / 0.25**2))
    fit = Ridge(alpha=1.0).fit(np.array(seen), values, sample_weight=weights)
    return fit.coef_[labels]


def test_lime(network):
    images, targets = images_for(), [2, 0]
    found = LIME(network, samples=60, patches=8, random_state=3).explain(images, targets).numpy()
    for image, target, map in zip(images, targets, found, strict=True):
        np.testing.assert_allclose(map, slow_lime(network, image, target, 60, 8, 3), atol=1e-5)
    assert np.abs(found).max() > 1e-3


def test_lime_does_not_depend_on_the_batch_nor_touch_the_global_generators(network):
    images = images_for(3)
    torch_before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    together = LIME(network, samples=40).explain(images, [0, 1, 2])
    assert torch.equal(torch_before, torch.get_rng_state())
    assert np.array_equal(numpy_before, np.random.get_state()[1])  # noqa: NPY002
    alone = LIME(network, samples=40, batch_size=7).explain(images[1:2], 1)
    torch.testing.assert_close(together[1:2], alone, rtol=1e-4, atol=1e-6)
    other = LIME(network, samples=40, random_state=1).explain(images[1:2], 1)
    assert not torch.equal(alone, other)


# --- both ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", EXPLAINERS.names)
def test_the_network_is_unchanged(name):
    network = create_network("tinynet", num_classes=3, in_channels=3, image_size=(8, 12), seed=0).train()
    network.backbone[0].eval()
    network.classifier.bias.requires_grad_(False)
    modes = [module.training for module in network.modules()]
    explainer = create_explainer(name, network)
    expected = explainer.explain(images_for())

    def check():
        assert [module.training for module in network.modules()] == modes
        assert [p.requires_grad for p in network.parameters()] == [True] * 13 + [False]
        assert all(p.grad is None for p in network.parameters())
        assert not any(module._forward_hooks for module in network.modules())

    check()
    network.classifier.register_forward_pre_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        explainer.explain(images_for())
    check()
    network.classifier._forward_pre_hooks.clear()
    assert torch.equal(explainer.explain(images_for()), expected)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda network: Occlusion(network, window=9), "window=9; expected 1 to 8 pixels"),
        (lambda network: Occlusion(network, window=0), "window=0"),
        (lambda network: LIME(network, samples=1), "samples=1, .* at least 2 samples"),
        (lambda network: LIME(network, patches=0), "patches=0; expected .* 1 patch"),
    ],
)
def test_options_that_make_no_sense(network, make, words):
    with pytest.raises(InputError, match=words):
        make(network).explain(images_for())


def test_the_catalog():
    assert EXPLAINERS.names == ("grad-cam", "lime", "occlusion")
    for entry in EXPLAINERS:
        kind = entry.load()
        assert issubclass(kind, Explainer)
        assert (entry.name, entry.title, entry.summary) == (kind.name, kind.title, kind.meaning)
        assert entry.title
        assert entry.source
    assert [entry.load().signed for entry in EXPLAINERS] == [False, True, True]
    assert isinstance(create_explainer("grad-cam", nn.Identity()), GradCAM)
    with pytest.raises(UnknownNameError, match="did you mean 'lime'"):
        create_explainer("lme", nn.Identity())


def test_a_new_explainer_needs_one_file(tmp_path):
    """A module in the package is found without being named anywhere."""
    (tmp_path / "blank.py").write_text(
        "from counterpoise.explain.base import Explainer\n"
        "class Blank(Explainer):\n"
        "    name, title, meaning, source = 'blank', 'Blank', 'nothing', 'none'\n"
        "    def _explain(self, images, targets):\n"
        "        return images[:, 0] * 0\n"
    )
    code = (
        f"import counterpoise.explain as e; e.__path__.append({str(tmp_path)!r});"
        "assert e.EXPLAINERS.names[-1] == 'blank', e.EXPLAINERS.names;"
        "import torch; image = torch.rand(1, 3, 2, 2); network = torch.nn.Flatten();"
        "assert not e.create_explainer('blank', network).explain(image).any()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_importing_the_package_imports_no_torch():
    code = (
        "import sys, counterpoise.explain as e; e.SAME_FROM, e.pixel_difference, e.map_similarity;"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_public_name_is_there():
    """No name is hidden by a module of the same name."""
    importlib.import_module("counterpoise.explain.catalog")  # imports every module of the package
    assert sorted(dir(explain)) == sorted(explain.__all__)
    for name in explain.__all__:
        assert not inspect.ismodule(getattr(explain, name))


# --- superpixels --------------------------------------------------------------------------------------------


@given(st.integers(1, 20), st.integers(1, 20), st.integers(1, 60), st.sampled_from([1, 3]))
def test_every_pixel_has_a_patch(height, width, count, channels):
    image = np.random.default_rng(0).random((channels, height, width))
    labels = superpixels(image, count)
    assert labels.shape == (height, width)
    assert set(np.unique(labels)) == set(range(labels.max() + 1))
    assert labels.max() + 1 <= height * width


def test_patches_keep_to_edges_of_color():
    image = np.zeros((3, 20, 20))
    image[:, :, 13:] = 1  # no border of a 4x4 grid
    labels = superpixels(image, 16)
    assert 10 <= labels.max() + 1 <= 20
    for patch in range(labels.max() + 1):
        assert len(np.unique(image[:, labels == patch])) == 1
