"""Components that work on pixels refuse images that are not in [0, 1], and are right on normalized ones."""

import numpy as np
import pytest
import torch
from torch import nn

from counterpoise.balance.perturb import (
    AOS,
    CMO,
    PERTURBATIONS,
    Mixup,
    RandAugment,
    RandomAffine,
    TrivialAugment,
)
from counterpoise.balance.samplers import PixelSMOTE
from counterpoise.exceptions import InputError, UnknownNameError
from counterpoise.explain import EXPLAINERS, LIME, pixel_difference
from counterpoise.methods import get_method

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CHANNELS = [torch.tensor(values).reshape(3, 1, 1) for values in (MEAN, STD)]
OF_PIXELS = {
    "aos": lambda **more: AOS(class_counts=[300, 10], p=1.0, eps=0.05, **more),
    "random-affine": RandomAffine,
    "rand-augment": RandAugment,
    "trivial-augment": TrivialAugment,
}


class Normalizing(nn.Module):
    """Normalizes pixels before a network of normalized images, as `Network` does."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x):
        return self.network((x - CHANNELS[0]) / CHANNELS[1])


@pytest.fixture
def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(4 * 14 * 14, 2))


def perturbed(component, images, network):
    targets = torch.tensor([0, 1] * (len(images) // 2))
    generator = torch.Generator().manual_seed(3)
    return component.perturb(
        images, targets, network=network, loss=nn.CrossEntropyLoss(), generator=generator
    ).images


@pytest.mark.parametrize("name", OF_PIXELS)
def test_normalized_images_are_treated_as_their_pixels(name, network):
    pixels = torch.rand(6, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    pixels = (pixels * 255).round() / 255
    normalized = (pixels - CHANNELS[0]) / CHANNELS[1]
    found = perturbed(OF_PIXELS[name](mean=MEAN, std=STD), normalized, network)
    expected = perturbed(OF_PIXELS[name](), pixels, Normalizing(network))
    torch.testing.assert_close(found, (expected - CHANNELS[0]) / CHANNELS[1], rtol=1e-4, atol=1e-5)
    assert not torch.equal(expected, pixels)
    assert not (found >= 0).all()


@pytest.mark.parametrize("name", OF_PIXELS)
@pytest.mark.parametrize("factor", [4.0, 255.0])
def test_other_ranges_are_refused_in_one_sentence(name, factor, network):
    images = (torch.rand(4, 3, 16, 16) - (0.5 if factor == 4 else 0)) * factor
    with pytest.raises(
        InputError, match=r"found images from .* to .*; expected \[0, 1\]: divide by 255, or give"
    ):
        perturbed(OF_PIXELS[name](), images, network)
    with pytest.raises(InputError, match=r"after `mean` and `std` are undone"):
        perturbed(OF_PIXELS[name](mean=0.5, std=0.5), images.abs() + 3, network)
    with pytest.raises(InputError, match=r"one of `mean` and `std`; give both"):
        perturbed(OF_PIXELS[name](mean=0.5), torch.rand(4, 3, 16, 16), network)


def test_every_perturbation_is_either_of_pixels_or_right_on_any_range():
    assert set(PERTURBATIONS.names) == {*OF_PIXELS, "mixup", "remix", "cmo"}


def test_mixtures_and_patches_are_right_on_any_range(network):
    pixels = torch.rand(6, 3, 16, 16)
    normalized = (pixels - CHANNELS[0]) / CHANNELS[1]
    for component in (Mixup(), CMO(p=1.0)):
        results = []
        for images in (pixels, normalized):
            component.bind(lambda rows, images=images: images[rows % 6], torch.tensor([0, 1] * 3))
            results.append(perturbed(component, images, network))
        torch.testing.assert_close(results[1], (results[0] - CHANNELS[0]) / CHANNELS[1], rtol=1e-4, atol=1e-5)


def test_pixel_smote_stays_in_the_range_of_the_class():
    images = np.random.default_rng(0).normal(size=(26, 3, 4, 4)).astype(np.float32)
    labels = np.repeat([0, 1], [20, 6])
    grown, _ = PixelSMOTE(random_state=0).fit_resample(images, labels)
    new, own = grown[26:], images[20:]
    assert own.min() <= new.min() < 0
    assert 1 < new.max() <= own.max()


def test_runs_of_before_keep_their_identity():
    for method in (
        "aos",
        "bl:augment=random-affine",
        "bl:augment=rand-augment",
        "bl:augment=trivial-augment",
    ):
        assert "mean" not in repr(get_method(method).identity())
    # The images of a run are always in [0, 1], so its methods cannot be told otherwise.
    with pytest.raises(UnknownNameError, match="mean"):
        get_method("bl:augment=random-affine:mean=0.5")


def test_superpixels_are_those_of_the_pixels(network):
    pixels = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    normalized = (pixels - CHANNELS[0]) / CHANNELS[1]
    with pytest.raises(InputError, match=r"LIME got images from .*expected \[0, 1\]"):
        LIME(network, samples=16).explain(normalized, 0)
    found = LIME(network, samples=16, mean=MEAN, std=STD).explain(normalized, 0)
    expected = LIME(Normalizing(network), samples=16).explain(pixels, 0)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", ["occlusion"])
def test_other_explainers_are_right_on_any_range(name, network):
    pixels = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    normalized = (pixels - CHANNELS[0]) / CHANNELS[1]
    explainer = EXPLAINERS[name].load()
    found, expected = (
        explainer(network).explain(normalized, 0),
        explainer(Normalizing(network)).explain(pixels, 0),
    )
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-5)


def test_differences_of_normalized_images_are_refused():
    with pytest.raises(InputError, match=r"expected \[0, 1\]"):
        pixel_difference(np.zeros((1, 1, 2, 2)), np.full((1, 1, 2, 2), -2.0))
