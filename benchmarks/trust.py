"""Measure the coverage of each class's prediction sets on CIFAR-10 made rare (step, four rare classes, ratio 20).

Run with ``python benchmarks/trust.py --data DIR/cifar10.zip``; ``--quick`` takes fewer epochs and splits. A small
network is trained from scratch on 500 images of a common class and 25 of a rare one. Held-out images are repeatedly
divided into calibration images, as many of each class as a user would have, and new ones. The promise is at least 90 %
for each class; with n calibration images the exact rate is ``1 - floor(0.1 (n + 1)) / (n + 1)``. Sizes are those of
sets on equally many new images of each class, beside those of one threshold for all classes (marginal).
"""

from __future__ import annotations

import argparse
import io
import math
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

from counterpoise.config import make_config
from counterpoise.datasets import ImageSplit, StepImbalance, dataset_from_arrays
from counterpoise.evaluation import conformal_rules, prediction_sets
from counterpoise.inference import TrainedModel
from counterpoise.training import RunPlan, SplitPlan, execute_run

ALPHA, RARE, COMMON = 0.1, (1, 3, 6, 8), 500
CASES = {"own images (rare 30)": (100, 30), "own images (rare 19)": (100, 19), "clusters (rare 6)": (100, 6)}


def read(archive: Path, split: str, per_class: int) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Return the first images of each class, uint8 (N, 3, 32, 32), their labels and the class names."""
    with zipfile.ZipFile(archive) as file:
        members = sorted(name for name in file.namelist() if f"{split}/" in name and not name.endswith("/"))
        classes = sorted({name.split("/")[-2] for name in members})
        images, labels = [], []
        for label, name in enumerate(classes):
            for member in [m for m in members if m.split("/")[-2] == name][:per_class]:
                pixels = np.asarray(Image.open(io.BytesIO(file.read(member))).convert("RGB"))
                images.append(pixels.transpose(2, 0, 1))
                labels.append(label)
    return np.array(images), np.array(labels), classes


def held_out_probabilities(
    archive: Path, epochs: int, per_class: int
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Train the network and return the probabilities of images that it has not seen, with their labels."""
    images, labels, classes = read(archive, "train", COMMON)
    data = dataset_from_arrays(images, labels, classes=classes, name="cifar10")
    fractions = {"validation_fraction": 0.0, "test_fraction": 0.0}
    plan = RunPlan(
        source="cifar10",
        fingerprint=data.fingerprint,
        image_size=data.image_size,
        split=SplitPlan(profile=StepImbalance(20, minority=list(RARE)).to_dict(), **fractions),
        draw=0,
        method="balanced-softmax",
        network="convnet",
        config=make_config(epochs=epochs, batch_size=32, lr=1e-3, seed=0, device="cpu", threads=1),
    )
    with tempfile.TemporaryDirectory() as folder:
        run = execute_run(plan, data, Path(folder) / "run")
        images, labels, _ = read(archive, "test", per_class)
        split = ImageSplit(images, labels, tuple(map(str, range(len(labels)))))
        return TrainedModel.open(run, device="cpu").probabilities(split), labels, classes


def measure(
    p: np.ndarray, y: np.ndarray, counts: np.ndarray, splits: int
) -> tuple[np.ndarray, float, float, str]:
    """Return coverage of each class, the sizes of its sets and of marginal ones, and the rules of the rare classes."""
    generator, size = np.random.default_rng(0), len(counts)
    covered, own_size, marginal_size, kinds = np.zeros(size), 0.0, 0.0, set()
    for _ in range(splits):
        order = generator.permutation(len(y))
        rank = np.empty(len(y), dtype=int)
        for c in range(size):
            rank[order[y[order] == c]] = np.arange((y == c).sum())
        inside = rank < counts[y]
        new, truth = p[~inside & (rank >= counts.max())], y[~inside & (rank >= counts.max())]
        rules = conformal_rules(p[inside], y[inside], list(map(str, range(size))), alpha=ALPHA)
        sets = prediction_sets(new, rules)
        hits = sets[np.arange(len(truth)), truth]
        covered += np.bincount(truth, hits) / np.bincount(truth) / splits
        own = np.sort(p[inside, y[inside]])
        marginal = new >= own[math.floor(ALPHA * (len(own) + 1)) - 1]
        own_size += sets.sum(axis=1).mean() / splits
        marginal_size += marginal.sum(axis=1).mean() / splits
        kinds |= {rules[c]["rule"] for c in RARE}
    return covered, own_size, marginal_size, "/".join(sorted(kinds))


def main() -> int:
    """Print the table; exit code 1 if a promise is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="cifar10.zip")
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    epochs, splits = (3, 50) if arguments.quick else (10, 300)
    p, y, classes = held_out_probabilities(arguments.data, epochs, 300 if arguments.quick else 600)
    print(f"accuracy on equally many images of each class: {(p.argmax(axis=1) == y).mean():.3f}")
    missed = False
    for title, (common, rare) in CASES.items():
        counts = np.array([rare if c in RARE else common for c in range(len(classes))])
        covered, own, marginal, kinds = measure(p, y, counts, splits)
        exact = 1 - np.floor(ALPHA * (counts + 1)) / (counts + 1)
        applies = counts >= 1 / ALPHA - 1
        print(
            f"\n{title}: rule of the rare classes {kinds}; sets of {own:.2f} classes, marginal {marginal:.2f}"
        )
        for c, name in enumerate(classes):
            promise = f"exact {exact[c]:.3f}" if applies[c] else "promised for the pool"
            print(f"  {name:11s} {counts[c]:4d} calibration images  covered {covered[c]:.3f}  {promise}")
        missed |= bool((np.abs(covered - exact)[applies] > 0.02).any() or own > 1.5 * marginal)
    print("\n" + ("a promise is missed" if missed else "all promises hold"))
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
