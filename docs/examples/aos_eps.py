"""AOS: adversarial images at several intensities.

Adversarial oversampling replaces images of rare classes by x + ε sign(∇J): every pixel moves by ε in the
direction that raises the loss of the network in training (poster, Algorithm 1). Here three of scikit-learn's
ten digits are 10 times rarer than the others. On the left are three of their training images and a network
that was trained on copies of the rare images (ROS): at ε = 0.15 a person still reads all of them, and the
network gives most of the probability to other classes. On the right, rare test images are changed against
each network. The one that was trained on adversarial images (AOS, ε = 0.1) recognizes at least as many unchanged
images, at ε = 0, and three times as many at ε = 0.1. This is one training of each; [the poster's
tables](../results/README.md) compare the methods over repeats.
"""

import matplotlib.pyplot as plt
import numpy as np
import torch

from counterpoise import ImageClassifier, load_dataset, make_imbalance
from counterpoise.balance.losses import CrossEntropy
from counterpoise.balance.perturb import AOS, input_gradient
from counterpoise.datasets import StepImbalance

RARE = [2, 5, 8]

digits = load_dataset("digits").train
images, labels = torch.from_numpy(digits.images).float() / 255, torch.from_numpy(digits.labels)
held_out = np.arange(len(labels)) >= 1200
kept = make_imbalance(digits.labels[:1200], StepImbalance(10, minority=RARE), random_state=0)
counts = np.bincount(digits.labels[kept])

networks = {
    method: ImageClassifier(method=method, epochs=6, lr=5e-3, random_state=0)
    .fit(images[kept], labels[kept])
    .network_.eval()
    for method in ("ros", "aos")
}


def adversarial(chosen: torch.Tensor, network: torch.nn.Module, eps: float) -> torch.Tensor:
    """Return the chosen images under AOS with p = 1."""
    aos = AOS(class_counts=counts, p=1.0, eps=eps)
    return aos(images[chosen], labels[chosen], network, CrossEntropy())


def probability(pixels: torch.Tensor, chosen: torch.Tensor, network: torch.nn.Module) -> torch.Tensor:
    """Return the probability of each image's true class."""
    with torch.no_grad():
        return network(pixels).softmax(dim=1).gather(1, labels[chosen, None])[:, 0]


def recall(network: torch.nn.Module, eps: float) -> float:
    """Return the share of the rare test images that a network recognizes when they are adversarial for it."""
    with torch.no_grad():
        predicted = network(adversarial(tested, network, eps)).argmax(dim=1)
    return float((predicted == labels[tested]).float().mean())


shown = torch.tensor([kept[digits.labels[kept] == digit][0] for digit in RARE])
signs = input_gradient(networks["ros"], CrossEntropy(), images[shown], labels[shown]).sign()
intensities = (0.0, 0.05, 0.1, 0.15)
rows = {eps: adversarial(shown, networks["ros"], eps) for eps in intensities}

tested = torch.from_numpy(np.flatnonzero(held_out & np.isin(digits.labels, RARE)))
grid = np.linspace(0, 0.2, 11)
recognized = {method: [recall(network, eps) for eps in grid] for method, network in networks.items()}

figure = plt.figure(figsize=(10.5, 4.6))
pictures, curves = figure.subfigures(1, 2, width_ratios=(5, 3.6))
axes = pictures.subplots(len(shown), len(rows) + 1)
for column, (eps, pixels) in enumerate(rows.items()):
    axes[0, column].set_title(f"ε = {eps:g}", loc="center")
    for axis, image, share in zip(
        axes[:, column], pixels, probability(pixels, shown, networks["ros"]), strict=True
    ):
        axis.imshow(image[0].numpy(), cmap="gray", vmin=0, vmax=1)
        axis.set_xlabel(f"{share:.0%}")
for axis, sign in zip(axes[:, -1], signs, strict=True):
    axis.imshow(sign[0].numpy(), cmap="PuOr", vmin=-1.4, vmax=1.4)
axes[0, -1].set_title("sign(∇J)", loc="center")
for axis in axes.flat:
    axis.set(xticks=[], yticks=[])
    axis.spines[:].set_visible(False)
pictures.suptitle("Rare training images; below: the probability of the true class", fontsize=11)

axis = curves.subplots()
for shares, style, name in zip(
    recognized.values(), ("o--", "s-"), ("trained on copies (ROS)", "trained on AOS, ε = 0.1"), strict=True
):
    axis.plot(grid, np.multiply(shares, 100), style, markersize=5, label=name)
axis.set(xlabel="ε (share of the range of a pixel)", ylabel="rare test images recognized (%)")
axis.set(xlim=(-0.005, 0.205), ylim=(0, 103), xticks=[0, 0.05, 0.1, 0.15, 0.2])
axis.legend(loc="upper right")
axis.set_title("Each network under its own adversarial images")

plt.show()
