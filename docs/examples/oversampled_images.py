"""Images made by SMOTE, AOS and random affine maps.

Three ways to more images of a rare class, from the same images: three digits of 9 images each and two
photographs of 10. SMOTE on pixels mixes an image with one of its nearest neighbors in the class: where these
differ, both can be seen through each other. AOS moves every pixel a little (by 0.1 in digits, 0.007 in
photographs). A random affine map turns, zooms and shifts the image, which stays a picture of the same thing.
The numbers are distances from the image (root mean square over the pixels, in percent of their range). They
show why SMOTE can do harm on images (poster, "Related methods"): Euclidean distance does not tell what is
alike. Each of scikit-learn's digits is farther from its own copy, moved by one pixel, than from some digit of
another class.
"""

import matplotlib.pyplot as plt
import numpy as np
import torch

from counterpoise import ImageClassifier, load_dataset, make_imbalance
from counterpoise.balance.losses import CrossEntropy
from counterpoise.balance.perturb import AOS, RandomAffine
from counterpoise.balance.samplers import PixelSMOTE
from counterpoise.datasets import StepImbalance, resize_dataset


def distances(image: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the root mean square differences of the pixels, in percent of their range."""
    return 100 * np.sqrt(np.square((others - image.astype(float)) / 255).mean(axis=(1, 2, 3)))


def one_pixel_right(image: np.ndarray) -> np.ndarray:
    """Return an image moved by one pixel; its left column repeats."""
    return image[..., np.maximum(np.arange(image.shape[-1]) - 1, 0)]


def smote_between(image: np.ndarray, neighbor: np.ndarray) -> np.ndarray:
    """Return the image nearest the middle that SMOTE makes of a class of these two."""
    pair, larger_class = np.stack([image, neighbor]), np.zeros((22, *image.shape), dtype=np.uint8)
    sampler = PixelSMOTE(k_neighbors=1, random_state=0)
    grown, _ = sampler.fit_resample(np.concatenate([pair, larger_class]), np.repeat([1, 0], [2, 22]))
    made = grown[24:]
    return made[np.abs(distances(image, made) - distances(neighbor, made)).argmin()]


def row(images: np.ndarray, labels: np.ndarray, chosen: int, network: torch.nn.Module, seed: int) -> dict:
    """Return an image, its neighbors, and what the three methods make of it, uint8 of shape (C, H, W)."""
    image, same = images[chosen], labels == labels[chosen]
    apart = distances(image, images)
    neighbor = images[np.where(same & (apart > 0), apart, np.inf).argmin()]
    pixels, target = torch.from_numpy(image[None]).float() / 255, torch.tensor([labels[chosen]])
    counts = np.where(np.arange(labels.max() + 1) == labels[chosen], 1, 2)  # its class is a minority class
    adversarial = AOS(class_counts=counts, p=1.0)(pixels, target, network, CrossEntropy())
    moved = RandomAffine(flip="none")(pixels, generator=torch.Generator().manual_seed(seed))
    return {
        "image": image,
        "nearest\nin its class": neighbor,
        "SMOTE\nof the two": smote_between(image, neighbor),
        "AOS": (adversarial[0] * 255).round().byte().numpy(),
        "random\naffine map": (moved[0] * 255).round().byte().numpy(),
        "one pixel\nto the right": one_pixel_right(image),
        "nearest of\nanother class": images[np.where(same, np.inf, apart).argmin()],
    }


digits = load_dataset("digits").train
thinned = digits.subset(make_imbalance(digits.labels, StepImbalance(20, minority=[3, 5, 8]), random_state=0))
photographs = resize_dataset(load_dataset("photographs"), (48, 48)).train
rows = []
for data, rare in ((thinned, (3, 5, 8)), (photographs, (1, 3))):
    model = ImageClassifier(method="ros", network="tinynet", pretrained="none", epochs=3, random_state=0)
    network = model.fit(data.images, data.labels).network_
    rows += [
        row(data.images, data.labels, np.flatnonzero(data.labels == label)[0], network, label)
        for label in rare
    ]

farther = [
    distances(image, one_pixel_right(image)[None])
    > distances(image, digits.images[digits.labels != label]).min()
    for image, label in zip(digits.images, digits.labels, strict=True)
]
assert np.all(farther)

figure, axes = plt.subplots(len(rows), len(rows[0]), figsize=(9.6, 7.8))
for line, pictures in zip(axes, rows, strict=True):
    for axis, (name, pixels) in zip(line, pictures.items(), strict=True):
        axis.imshow(pixels.transpose(1, 2, 0).squeeze(), cmap="gray", vmin=0, vmax=255)
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
        if name != "image":
            axis.set_xlabel(f"{distances(pictures['image'], pixels[None])[0]:.1f} %")
for axis, name in zip(axes[0], rows[0], strict=True):
    axis.set_title(name, loc="center")

plt.show()
