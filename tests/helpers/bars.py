"""A small dataset whose classes are bright bars, for studies that train networks."""

import numpy as np

from counterpoise.datasets import dataset_from_arrays


def patterns(counts, seed):
    """Noise with a bright bar for each class: its row, or its column."""
    generator = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(counts)), counts)
    images = generator.integers(0, 110, (len(labels), 1, 8, 8)).astype(np.uint8)
    for image, label in zip(images, labels, strict=True):
        place = (slice(None), label // 2 * 3) if label % 2 else (label // 2 * 3, slice(None))
        image[0][place] += 120
    return images, labels


def make_dataset():
    """Return six classes of 24 training and 10 test images."""
    images, labels = patterns([24] * 6, 0)
    test_images, test_labels = patterns([10] * 6, 1)
    return dataset_from_arrays(
        images, labels, classes=list("abcdef"), name="bars", test_images=test_images, test_labels=test_labels
    )
