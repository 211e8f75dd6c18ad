"""Small photographs: crops of the two that come with scikit-learn, with two rare classes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from counterpoise.datasets.builtin import DatasetRecord
from counterpoise.datasets.images import ImageDataset, dataset_from_arrays

#: Sides of the crops before they are enlarged, in pixels.
SIDES = (20, 44)
TEST_IMAGES = 12
#: By class: photograph, training images, and the regions (top, left, bottom, right) of training and test images, which
#: do not overlap. Neighboring classes look alike at the small scales.
REGIONS = {
    "tree": (0, 60, (140, 570, 290, 640), (290, 570, 427, 640)),
    "shrub": (0, 10, (310, 330, 427, 460), (300, 465, 427, 565)),
    "tiles": (0, 60, (75, 110, 135, 310), (245, 75, 290, 345)),
    "gallery": (0, 10, (190, 90, 236, 320), (288, 85, 340, 340)),
    "petals": (1, 40, (100, 190, 350, 305), (100, 305, 350, 430)),
}


def build(record: DatasetRecord, data_dir: Path) -> ImageDataset:
    """Build the dataset; it is the same everywhere."""
    from PIL import Image
    from sklearn.datasets import load_sample_images

    photographs = [Image.fromarray(pixels) for pixels in load_sample_images().images]
    generator = np.random.default_rng(0)
    images: dict[str, list[np.ndarray]] = {"train": [], "test": []}
    labels: dict[str, list[int]] = {"train": [], "test": []}
    for label, (number, count, *regions) in enumerate(REGIONS.values()):
        for split, region, wanted in zip(images, regions, (count, TEST_IMAGES), strict=True):
            top, left, bottom, right = region
            for _ in range(wanted):
                side = int(generator.integers(*SIDES))
                y = int(generator.integers(top, bottom - side + 1))
                x = int(generator.integers(left, right - side + 1))
                crop = photographs[number].resize(
                    record.image_size, Image.Resampling.BILINEAR, box=(x, y, x + side, y + side)
                )
                images[split].append(np.asarray(crop).transpose(2, 0, 1))
                labels[split].append(label)
    return dataset_from_arrays(
        np.stack(images["train"]),
        np.array(labels["train"]),
        classes=record.classes,
        name=record.name,
        test_images=np.stack(images["test"]),
        test_labels=np.array(labels["test"]),
    )
