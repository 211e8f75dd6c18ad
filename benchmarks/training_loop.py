"""Compare the training loop with a handwritten PyTorch loop, and with torchvision's Dataset and a DataLoader.

    python benchmarks/training_loop.py --data-dir DIR [--images 36000] [--epochs 3] [--repeats 5] [--threads 2]

All three train the same lenet on the same Fashion-MNIST images with the same optimizer, alternately in one process;
the medians of the repeats are compared. Prints one ratio per line.
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from counterpoise.config import TrainConfig, make_config
from counterpoise.datasets import ImageSplit, load_dataset
from counterpoise.methods import get_method
from counterpoise.networks import Network, create_network
from counterpoise.training import fit_method, make_optimizer


def new_network() -> Network:
    return create_network(
        "lenet", num_classes=10, in_channels=1, image_size=(28, 28), mean=[0.29], std=[0.35], seed=0
    )


def plain_loop(split: ImageSplit, config: TrainConfig) -> None:
    """Handwritten loop: float tensors in memory, a permutation, an index."""
    network = new_network().train()
    images = torch.from_numpy(np.asarray(split.images)).float().div_(255)
    targets = torch.from_numpy(split.labels)
    optimizer = make_optimizer(network.parameters(), config)
    generator = torch.Generator().manual_seed(0)
    for _ in range(config.epochs):
        total = 0.0
        for indices in torch.randperm(len(targets), generator=generator).split(config.batch_size):
            loss = torch.nn.functional.cross_entropy(network(images[indices]), targets[indices])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()


class TorchvisionStyle(Dataset):
    """Dataset as in torchvision: one PIL image and one ToTensor per item."""

    def __init__(self, split: ImageSplit) -> None:
        from torchvision.transforms import ToTensor

        self.images = np.asarray(split.images)[:, 0]
        self.labels = split.labels
        self.transform = ToTensor()

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        from PIL import Image

        return self.transform(Image.fromarray(self.images[index])), int(self.labels[index])


def loader_loop(split: ImageSplit, config: TrainConfig) -> None:
    network = new_network().train()
    loader = DataLoader(TorchvisionStyle(split), batch_size=config.batch_size, shuffle=True)
    optimizer = make_optimizer(network.parameters(), config)
    for _ in range(config.epochs):
        for images, targets in loader:
            loss = torch.nn.functional.cross_entropy(network(images), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            loss.item()


def our_loop(split: ImageSplit, config: TrainConfig) -> None:
    fit_method(get_method("bl"), new_network(), split, config=config)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data-dir", required=True)
    parser.add_argument("--images", type=int, default=36000)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch-size", type=int, default=64)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    dataset = load_dataset("fashion-mnist", data_dir=arguments.data_dir)
    split = dataset.train.subset(np.arange(arguments.images))
    config = make_config(
        epochs=arguments.epochs, batch_size=arguments.batch_size, threads=arguments.threads, device="cpu"
    )
    loops = {"plain": plain_loop, "ours": our_loop, "dataset + loader": loader_loop}
    seconds: dict[str, list[float]] = {name: [] for name in loops}
    for repeat in range(arguments.repeats + 1):
        for name, loop in loops.items():
            start = time.perf_counter()
            loop(split, config)
            if repeat:  # the first round warms up
                seconds[name].append((time.perf_counter() - start) / arguments.epochs)
    for name, values in seconds.items():
        spread = f"{min(values):.2f}-{max(values):.2f}"
        print(f"{name}: {statistics.median(values):.2f} s per epoch of {len(split)} images ({spread})")
    for name in ("ours", "dataset + loader"):
        ratios = [a / b for a, b in zip(seconds[name], seconds["plain"], strict=True)]
        print(f"{name} / plain: {statistics.median(ratios):.3f} ({min(ratios):.3f}-{max(ratios):.3f})")


if __name__ == "__main__":
    main()
