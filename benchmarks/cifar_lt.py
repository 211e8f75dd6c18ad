"""Compare methods on long-tailed CIFAR-10 (ratio 100, resnet32) with published accuracies.

    python benchmarks/cifar_lt.py --data ../shared/data/cifar10.zip [--epochs 200] [--repeats 1] [--share 1]
                                  [--threads 1] [--methods ..] [--out out/cifar-lt]

All methods get the same shifts by up to 4 pixels and flips, SGD with rate 0.1 and weight decay 5e-4 along a cosine,
and batches of 128. Published accuracies after 200 epochs: baseline 70-71 %, LDAM-DRW 77 %, balanced softmax 76-80 %,
the best of any kind 82-85 %. Without a GPU, `--epochs` defaults to 10: a smoke test, not comparable with these numbers.
`--share 0.02` takes the first fiftieth of each class's images, for training (before they are thinned) and for testing:
ten epochs of all four methods then take five to twelve minutes on two slow cores. The same command resumes an
interrupted run.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from counterpoise.config import CompareConfig, TrainConfig
from counterpoise.datasets import ImageDataset, load_dataset
from counterpoise.studies import ComparisonStudy, make_grid, run_study

METHODS = ("bl", "ldam-drw", "balanced-softmax", "counterpoise")
SHIFTS = (
    ":augment=random-affine:augment.degrees=0:augment.scale=0:augment.translate=0.125:augment.flip=horizontal"
)
PUBLISHED = {
    "bl": "70-71",
    "ldam-drw": "77",
    "balanced-softmax": "76-80",
    "counterpoise": "82-85 (best of any kind)",
}


def share_of(dataset: ImageDataset, share: float) -> ImageDataset:
    """Return the dataset with this share of the images of each class, at least one, the first ones of every split."""
    if share == 1:
        return dataset
    splits = {}
    for name, split in dataset.splits.items():
        counts = np.maximum(1, np.floor(share * split.class_counts(dataset.num_classes))).astype(int)
        chosen = [np.flatnonzero(split.labels == c)[:count] for c, count in enumerate(counts)]
        splits[name] = split.subset(np.sort(np.concatenate(chosen)))
    return replace(dataset, **splits)


def share(text: str) -> float:
    """Return a share in (0, 1]."""
    value = float(text)
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"the share is {text}; expected a number above 0, up to 1")
    return value


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default="../shared/data/cifar10.zip")
    parser.add_argument("--epochs", type=int, default=200 if torch.cuda.is_available() else 10)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--share", type=share, default=1.0)
    parser.add_argument("--threads", type=int, default=TrainConfig().threads)
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--out", type=Path, default=Path("out/cifar-lt"))
    options = parser.parse_args()
    dataset = share_of(load_dataset(options.data), options.share)
    names = options.methods.split(",")
    config = CompareConfig.of(
        source=options.data,
        methods=[name + SHIFTS for name in names],
        repeats=options.repeats,
        metric="accuracy",
        imbalance="long-tail",
        ratio=100,
        # The published numbers use all images of the long tail for training.
        validation_fraction=0.0,
        backbone="resnet32",
        epochs=options.epochs,
        batch_size=128,
        lr=0.1,
        optimizer="sgd",
        weight_decay=5e-4,
        schedule="cosine",
        threads=options.threads,
    )
    result = run_study(ComparisonStudy(make_grid(dataset, config), dataset), options.out)
    for outcome in result.outcomes:
        if outcome.failure is not None:
            print(f"{outcome.task.plan.method}: {outcome.failure.text}", file=sys.stderr)
    table = result.table
    wanted = table[(table.metric == "accuracy") & (table.classes == "all")]
    tested = 0 if dataset.test is None else len(dataset.test)
    print(
        f"{options.epochs} epochs, {options.repeats} repeat(s), {options.share:.0%} of the images: "
        f"accuracy on {tested} test images"
    )
    for name in names:
        values = wanted[wanted.method == name + SHIFTS].value
        print(
            f"{name:20} {100 * values.mean():5.1f} %   published after 200 epochs: {PUBLISHED.get(name, '-')}"
        )
    sys.exit(int(any(outcome.failure is not None for outcome in result.outcomes)))


if __name__ == "__main__":
    main()
