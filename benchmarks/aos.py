"""Time of adversarial oversampling: relative to random oversampling, and to the poster's loop over images.

    python benchmarks/aos.py --data-dir DIR [--images 6400] [--repeats 5] [--threads 2] [--device cpu]

1. One epoch of a hand-written loop with AOS (p = .5, half of each batch minority) over one without, alternating batch
   by batch: lenet on Fashion-MNIST, convnet on generated images of CIFAR's size. Bar: at most 1.35.
2. The poster's Algorithm 1 to the letter, which computes the gradient of one image after the other, over AOS, for the
   perturbation of a batch. Bar: at least 50.

Prints one ratio per line, the median of the repeats and their range.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from counterpoise.balance.losses import CrossEntropy
from counterpoise.balance.perturb import AOS
from counterpoise.datasets import load_dataset
from counterpoise.networks import Network, create_network

CLASSES = 10
# Half of the classes are minority classes; random oversampling has balanced them.
COUNTS = [5000] * 5 + [50] * 5
LOSS = CrossEntropy()
COST_BAR, LOOP_BAR = 1.35, 50.0


def fashion_mnist(data_dir: str, n: int) -> tuple[Tensor, Tensor]:
    train = load_dataset("fashion-mnist", data_dir=data_dir).train
    chosen = np.concatenate([np.flatnonzero(train.labels == c)[: n // CLASSES] for c in range(CLASSES)])
    split = train.subset(chosen)
    return torch.from_numpy(np.asarray(split.images)), torch.from_numpy(split.labels)


def cifar_size(n: int) -> tuple[Tensor, Tensor]:
    """Return noise: the time of a step does not depend on the content of the images."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (n, 3, 32, 32), generator=generator, dtype=torch.uint8)
    return images, torch.arange(n) % CLASSES


def half_minority_batches(images: Tensor, targets: Tensor, size: int) -> list[tuple[Tensor, Tensor]]:
    """Return float batches, half of each of minority classes, in a random order."""
    layout = torch.channels_last if images.shape[1] > 1 else torch.contiguous_format
    generator = torch.Generator(images.device).manual_seed(0)
    halves = []
    for members in (targets < CLASSES // 2, targets >= CLASSES // 2):
        places = members.nonzero().squeeze(1)
        order = torch.randperm(len(places), generator=generator, device=images.device)
        halves.append(places[order].split(size // 2))
    batches = [torch.cat(pair) for pair in zip(*halves, strict=True)]
    return [
        (images[i].to(torch.float32, memory_format=layout) / 255, targets[i])
        for i in batches
        if len(i) == size
    ]


def new_network(name: str, images: Tensor) -> Network:
    channels, height, width = images.shape[1:]
    network = create_network(
        name,
        num_classes=CLASSES,
        in_channels=channels,
        image_size=(height, width),
        mean=[0.3] * channels,
        std=[0.3] * channels,
        seed=0,
    )
    layout = torch.channels_last if channels > 1 else torch.contiguous_format
    return network.to(images.device, memory_format=layout).train()


class PlainLoop:
    """Hand-written loop: a network, Adam, and optionally the two lines of AOS."""

    def __init__(self, name: str, images: Tensor, aos: AOS | None) -> None:
        self.network = new_network(name, images)
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=1e-3)
        self.aos = aos

    def step(self, images: Tensor, targets: Tensor) -> None:
        """Train on one batch."""
        if self.aos is not None:
            images = self.aos(images, targets, self.network, LOSS)
        loss = LOSS(self.network(images), targets)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()


def algorithm_1(images: Tensor, targets: Tensor, network: nn.Module, aos: AOS, eps: float) -> Tensor:
    """Return the batch after the inner loop of the poster's Algorithm 1: one gradient per chosen image."""
    network.eval()
    perturbed = images.clone()
    for i in range(len(images)):
        if aos.minority[targets[i]] and torch.rand(()) < aos.p:
            x = images[i : i + 1].clone().requires_grad_()
            mask = torch.autograd.grad(LOSS(network(x), targets[i : i + 1]), x)[0].sign()
            perturbed[i] = (images[i] + eps * mask[0]).clamp(0, 1)
    network.train()
    return perturbed


def seconds(work: Callable[[], object], device: torch.device) -> float:
    def settle() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize()

    settle()
    start = time.perf_counter()
    work()
    settle()
    return time.perf_counter() - start


def report(what: str, ratios: list[float], verdict: str) -> None:
    print(
        f"{what}: {statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f}), {verdict}",
        flush=True,
    )


def cost_over_ros(name: str, batches: list[tuple[Tensor, Tensor]], repeats: int) -> None:
    """Print seconds per epoch with AOS over seconds without."""
    images = batches[0][0]
    with_aos = PlainLoop(name, images, AOS(class_counts=COUNTS, p=0.5))
    without = PlainLoop(name, images, None)
    ratios, turns = [], itertools.cycle([(with_aos, without), (without, with_aos)])
    for repeat in range(repeats + 1):
        spent = {with_aos: 0.0, without: 0.0}
        for (inputs, targets), turn in zip(batches, turns, strict=False):
            for loop in turn:
                spent[loop] += seconds(lambda loop=loop: loop.step(inputs, targets), images.device)  # noqa: B023
        if repeat:  # the first round warms up
            ratios.append(spent[with_aos] / spent[without])
    report(
        f"{name}, batches of {len(images)}: aos / ros per epoch of {sum(len(t) for _, t in batches)} images",
        ratios,
        verdict(statistics.median(ratios) <= COST_BAR, f"at most {COST_BAR}"),
    )


def loop_over_aos(name: str, batches: list[tuple[Tensor, Tensor]], repeats: int) -> None:
    """Print seconds of the loop over images over seconds of AOS."""
    network, aos, ratios = new_network(name, batches[0][0]), AOS(class_counts=COUNTS, p=0.5), []
    eps = 0.1 if name == "lenet" else 0.007
    device = batches[0][0].device
    for repeat, (images, targets) in enumerate(itertools.islice(itertools.cycle(batches), 3 * (repeats + 1))):
        one = seconds(lambda: algorithm_1(images, targets, network, aos, eps), device)  # noqa: B023
        all_at_once = seconds(lambda: aos(images, targets, network, LOSS), device)  # noqa: B023
        if repeat >= 3:
            ratios.append(one / all_at_once)
    report(
        f"{name}, batches of {len(batches[0][1])}: loop over images / aos",
        ratios,
        verdict(statistics.median(ratios) >= LOOP_BAR, f"at least {LOOP_BAR:g}"),
    )


def verdict(holds: bool, bar: str) -> str:
    return f"{'holds' if holds else 'MISSES'} the bar of {bar}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data-dir", required=True)
    parser.add_argument("--images", type=int, default=6400)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    data = {
        "lenet": fashion_mnist(arguments.data_dir, arguments.images),
        "convnet": cifar_size(arguments.images),
    }
    for name, (images, targets) in data.items():
        images, targets = images.to(arguments.device), targets.to(arguments.device)
        cost_over_ros(name, half_minority_batches(images, targets, 64), arguments.repeats)
        for size in (64, 512):
            loop_over_aos(name, half_minority_batches(images, targets, size), arguments.repeats)


if __name__ == "__main__":
    main()
