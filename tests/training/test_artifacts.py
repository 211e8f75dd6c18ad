"""The map of the embedding that a run keeps, against a singular value decomposition by hand."""

import numpy as np
import torch

from counterpoise.config import make_config
from counterpoise.datasets import dataset_from_arrays
from counterpoise.networks import create_network
from counterpoise.training import ResampledSet
from counterpoise.training.run import MAP_POINTS, embedded_sample, embedding_map


def first_two_components(rows, axes_of):
    """Project rows on the two directions in which `axes_of` varies most."""
    mean = axes_of.mean(axis=0)
    _, _, directions = np.linalg.svd(axes_of - mean, full_matrices=False)
    return (rows - mean) @ directions[:2].T


def points_of(found):
    return np.column_stack([found.x, found.y])


def assert_same_map(found, expected):
    """A component may point either way."""
    for axis in range(2):
        sign = np.sign(found[:, axis] @ expected[:, axis])
        np.testing.assert_allclose(sign * found[:, axis], expected[:, axis], atol=1e-3)


def resampled_set(counts, synthetic, dimensions=5, seed=0):
    generator = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(counts)), counts)
    labels = np.concatenate([labels, np.repeat(np.arange(len(synthetic)), synthetic)])
    spread = np.arange(dimensions, 0, -1)
    rows = generator.normal(size=(len(labels), dimensions)) * spread + labels[:, None]
    weights = np.ones(len(labels), dtype=np.float32)
    return ResampledSet(rows.astype(np.float32), labels, weights, originals=sum(counts))


def test_the_axes_are_the_principal_components_of_the_originals():
    resampled = resampled_set([30, 12], [0, 18])
    found = embedding_map(resampled, np.random.default_rng(1))
    order = np.argsort(resampled.labels, kind="stable")  # class by class, originals first
    expected = first_two_components(resampled.embeddings, resampled.embeddings[:42])[order]
    assert list(found.label) == resampled.labels[order].tolist()
    assert list(found.kind) == ["synthetic" if i >= 42 else "original" for i in order]
    assert_same_map(points_of(found), expected)


def test_a_rare_class_is_on_the_map_of_many():
    found = embedding_map(resampled_set([5000, 7], [0, 3]), np.random.default_rng(0))
    assert len(found.label) <= MAP_POINTS
    assert found.label.count(1) == 10
    assert found.kind.count("synthetic") == 3


def test_a_network_is_mapped_by_its_own_embedding_of_the_training_images(make_images):
    images, labels = make_images([20, 8, 5])
    train = dataset_from_arrays(images, labels, name="blobs").train
    network = create_network("tinynet", num_classes=3, in_channels=1, image_size=(8, 8), seed=0)
    sample = embedded_sample(network, train, make_config(device="cpu"))
    found = embedding_map(sample, np.random.default_rng(0))
    order = np.argsort(train.labels, kind="stable")
    with torch.no_grad():
        rows = network.eval().embed(torch.from_numpy(images[order]).float() / 255).numpy()
    assert list(found.label) == train.labels[order].tolist()
    assert_same_map(points_of(found), first_two_components(rows, rows))
