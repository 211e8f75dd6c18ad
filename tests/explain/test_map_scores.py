"""Deletion and insertion, and the similarity of two maps, against slow loops."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.stats import spearmanr
from torch import nn
from torchvision.transforms.v2.functional import gaussian_blur

from counterpoise.exceptions import InputError
from counterpoise.explain import area_under_curve, map_similarity, score_maps
from counterpoise.networks import create_network


def slow_area(values):
    """Sum the trapezoids one after the other."""
    step = 1 / (len(values) - 1)
    area = 0.0
    for left, right in itertools.pairwise(values):
        area += step * (left + right) / 2
    return area


@given(st.lists(st.floats(0, 1), min_size=2, max_size=60))
def test_area_under_curve(values):
    assert float(area_under_curve(values)) == pytest.approx(slow_area(values), abs=1e-12)


def test_area_over_the_last_axis():
    values = np.random.default_rng(0).random((2, 3, 7))
    found = area_under_curve(values)
    assert found.shape == (2, 3)
    for i in range(2):
        for j in range(3):
            assert found[i, j] == pytest.approx(slow_area(values[i, j]))
    for wrong in (0.5, [0.5]):
        with pytest.raises(InputError, match="at least two"):
            area_under_curve(wrong)


@pytest.fixture(scope="module")
def network():
    network = create_network("tinynet", num_classes=3, in_channels=3, image_size=(8, 12), seed=0)
    with torch.no_grad():
        network.classifier.weight.mul_(5)
    return network.eval()


def given_maps(count=2, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, 3, 8, 12, generator=generator), torch.rand(count, 8, 12, generator=generator)


def slow_curve(network, start, end, map, target, steps):
    """Exchange the pixels of one image one by one, the most important first, and predict after each step."""
    height, width = map.shape
    places = sorted(np.ndindex(height, width), key=lambda place: (-map[place].item(), place))
    current, done, found = start.clone(), 0, []
    for step in range(steps + 1):
        while done < round(step * height * width / steps):
            row, column = places[done]
            current[:, row, column] = end[:, row, column]
            done += 1
        with torch.no_grad():
            found.append(network(current[None]).softmax(dim=1)[0, target].item())
    return found


@pytest.mark.parametrize("steps", [1, 5, 12, 96])
def test_deletion_and_insertion(network, steps):
    images, maps = given_maps()
    targets = torch.tensor([2, 0])
    found = score_maps(network, images, maps, targets, steps=steps, batch_size=7)
    for i in range(2):
        gray = images[i].mean(dim=(1, 2), keepdim=True).expand(3, 8, 12)
        deleted = slow_curve(network, images[i], gray, maps[i], targets[i], steps)
        blurred = gaussian_blur(images[i], [11, 11], [5.0, 5.0])
        inserted = slow_curve(network, blurred, images[i], maps[i], targets[i], steps)
        np.testing.assert_allclose(found.deletion_curve[i], deleted, atol=1e-6)
        np.testing.assert_allclose(found.insertion_curve[i], inserted, atol=1e-6)
        assert found.deletion[i] == pytest.approx(slow_area(deleted), abs=1e-6)
        assert found.insertion[i] == pytest.approx(slow_area(inserted), abs=1e-6)


def test_ties_are_in_reading_order(network):
    images, maps = given_maps()
    targets = torch.tensor([1, 1])
    flat = torch.zeros_like(maps)
    falling = -torch.arange(96.0).reshape(1, 8, 12).expand(2, 8, 12)
    a, b = (score_maps(network, images, each, targets) for each in (flat, falling))
    assert np.array_equal(a.deletion_curve, b.deletion_curve)


def test_the_true_map_beats_random_maps():
    """The class rests on one quarter of the image alone."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 2, bias=False))
    weight = torch.zeros(8, 8)
    weight[:4, 4:] = 1.0
    with torch.no_grad():
        network[1].weight.copy_(torch.stack([torch.zeros(64), weight.flatten()]))
    generator = torch.Generator().manual_seed(0)
    image = 0.2 * torch.rand(1, 1, 8, 8, generator=generator) + 0.8 * weight
    targets = torch.tensor([1])
    true = score_maps(network, image, weight[None], targets)
    for _ in range(20):
        guess = torch.rand(1, 8, 8, generator=generator)
        random = score_maps(network, image, guess, targets)
        assert true.deletion < random.deletion
        assert true.insertion > random.insertion


def test_images_smaller_than_the_blur_and_the_network_as_it_was():
    network = nn.Sequential(nn.Flatten(), nn.Dropout(0.9), nn.Linear(6, 2)).train()
    images, maps = torch.rand(1, 1, 2, 3), torch.rand(1, 2, 3)
    found = [score_maps(network, images, maps, torch.tensor([0])).insertion for _ in range(2)]
    assert np.array_equal(*found)
    assert network[1].training


@pytest.mark.parametrize(
    ("maps", "targets", "options", "words"),
    [
        (torch.zeros(2, 8, 8), [0, 0], {}, r"maps \(2, 8, 8\).*expected \(2, 8, 12\)"),
        (torch.zeros(2, 8, 12), [0], {}, r"targets \(1,\)"),
        (torch.zeros(2, 8, 12), [0, 0], {"steps": 0}, "steps is 0"),
    ],
)
def test_what_does_not_fit(network, maps, targets, options, words):
    with pytest.raises(InputError, match=words):
        score_maps(network, given_maps()[0], maps, torch.tensor(targets), **options)


# --- the similarity of two maps -----------------------------------------------------------------------------

VALUES = st.integers(0, 5).map(float)  # few values, so that there are ties


@given(arrays.arrays(float, (3, 2, 4), elements=VALUES), arrays.arrays(float, (3, 2, 4), elements=VALUES))
def test_similarity_is_spearmans(first, second):
    found = map_similarity(first, second)
    for a, b, similarity in zip(first, second, found, strict=True):
        flat = (np.ptp(a) == 0, np.ptp(b) == 0)
        if any(flat):
            assert similarity == float(all(flat))
        else:
            assert similarity == pytest.approx(spearmanr(a.ravel(), b.ravel()).statistic, abs=1e-9)
    assert np.array_equal(found, map_similarity(second, first))


@given(st.permutations(range(18)))
def test_strength_does_not_matter(values):
    map = np.reshape(values, (2, 3, 3)).astype(float)
    np.testing.assert_allclose(map_similarity(map, 7 * map**3 + 1), 1)


def test_maps_of_different_shapes():
    with pytest.raises(InputError, match=r"\(1, 2, 3\) and \(1, 3, 2\)"):
        map_similarity(np.zeros((1, 2, 3)), np.zeros((1, 3, 2)))
