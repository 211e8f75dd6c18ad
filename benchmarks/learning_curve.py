"""Check forecasts of recall: does the recall that is measured after doubling the images lie in the interval?

    python benchmarks/learning_curve.py --data-dir DIR [--trials 20]

Fashion-MNIST, 50 principal components of the pixels, the method `logit-adjusted`. A trial takes a long tail of 10 to
200 training images a class, in a random order of the classes, forecasts the recall of each class for twice as many
images, and measures it on the 10,000 test images with a head trained on these and as many more. Bars: the interval, of
90 %, holds the recall of at least 18 of 20 classes, and its forecast errs less than the recall out of fold does.
"""

from __future__ import annotations

import argparse
from typing import NamedTuple

import numpy as np

from counterpoise.config import make_config
from counterpoise.datasets import load_dataset
from counterpoise.evaluation import forecast_recalls
from counterpoise.methods import get_method
from counterpoise.networks import Network
from counterpoise.training import EmbeddedSplit, fit_method, hits_of_growing_parts

CLASSES, WIDTH = 10, 50
LARGEST, IMBALANCE = 200, 20


class Features(NamedTuple):
    """Principal components (N, 50) and labels of training and test images."""

    train: np.ndarray
    labels: np.ndarray
    test: np.ndarray
    test_labels: np.ndarray


class Rows(Network):
    """A network whose features are given; only its head is trained."""

    def _build(self, width: int) -> int:
        return width


def load_features(data_dir: str) -> Features:
    from sklearn.decomposition import PCA

    dataset = load_dataset("fashion-mnist", data_dir=data_dir)
    assert dataset.test is not None
    train, test = (
        np.asarray(split.images).reshape(len(split), -1)[:limit].astype(np.float32) / 255
        for split, limit in ((dataset.train, 20_000), (dataset.test, None))
    )
    project = PCA(WIDTH, random_state=0).fit(train[:5000]).transform
    return Features(project(train), dataset.train.labels[: len(train)], project(test), dataset.test.labels)


def embedded(rows: np.ndarray, labels: np.ndarray) -> EmbeddedSplit:
    names = tuple(map(str, range(len(labels))))
    pixels = np.zeros((len(labels), 1, 1, 1), dtype=np.uint8)
    return EmbeddedSplit(pixels, labels, names, rows=rows.astype(np.float32))


def trial(features: Features, seed: int) -> np.ndarray:
    """Return forecast, low, high, the recall out of fold, and the recall measured at twice the images: (C, 5)."""
    generator, method = np.random.default_rng(seed), get_method("logit-adjusted")
    config = make_config(seed=seed, threads=1)
    tail = LARGEST * IMBALANCE ** (-np.arange(CLASSES) / (CLASSES - 1))
    counts = generator.permutation(np.round(tail).astype(int))
    drawn = [
        generator.permutation(np.flatnonzero(features.labels == c))[: 2 * count]
        for c, count in enumerate(counts)
    ]
    now = np.concatenate([rows[: len(rows) // 2] for rows in drawn])

    def network() -> Network:
        shape = {"in_channels": 1, "image_size": (1, 1)}
        return Rows(name="rows", num_classes=CLASSES, **shape, standardize=True, width=WIDTH)

    def standardized(rows: np.ndarray, images: np.ndarray) -> np.ndarray:
        return (images - features.train[rows].mean(axis=0)) / features.train[rows].std(axis=0)

    train = embedded(standardized(now, features.train[now]), features.labels[now])
    hits, sizes = hits_of_growing_parts(method, network(), train, config=config)
    found = forecast_recalls(hits, train.labels, sizes)
    twice = np.concatenate(drawn)
    more = embedded(standardized(twice, features.train[twice]), features.labels[twice])
    fitted = fit_method(method, network(), more, config=config)
    predicted = fitted.logits(embedded(standardized(twice, features.test), features.test_labels)).argmax(
        axis=1
    )
    rows = []
    for label, forecast in enumerate(found):
        assert forecast["more"] is not None
        measured = float((predicted == label)[features.test_labels == label].mean())
        rows.append([*forecast["more"][1:], forecast["measured"][-1][1], measured])
    return np.array(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description="Check forecasts of recall on Fashion-MNIST.")
    parser.add_argument("--data-dir", required=True)
    parser.add_argument("--trials", type=int, default=20)
    arguments = parser.parse_args()
    features, found = load_features(arguments.data_dir), []
    for seed in range(arguments.trials):
        found.append(trial(features, seed))
        recall, low, high, now, measured = np.moveaxis(np.stack(found), -1, 0)
        inside = (low <= measured) & (measured <= high)
        errors = [np.sqrt(np.mean((values - measured) ** 2)) for values in (recall, now)]
        outside = f"below {np.mean(measured < low):.1%}, above {np.mean(measured > high):.1%}"
        print(
            f"{len(found)} trials: {inside.mean():.1%} of {inside.size} classes in their interval (bar: 90 %), "
            f"{outside}, mean width {np.mean(high - low):.3f}; "
            f"error {errors[0]:.3f}, that of the recall out of fold {errors[1]:.3f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
