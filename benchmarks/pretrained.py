"""Measure how methods for imbalanced classes do on frozen, pretrained features, by the number of rare images.

    pip download --no-deps -d WHEELS elpv-dataset
    python benchmarks/pretrained.py --data-dir ../shared/data --wheels WHEELS --out out/pretrained

Half of the classes, drawn for each repeat, are rare: they keep 2, 5, 10, 20, 50 or 100 training images, the others 150
(or all, where a set has fewer). The fewer images are among the more. Images are embedded once by the installed
EfficientNet-Lite0 (`features` multi); every method then trains its head as `fit_method` does on frozen features.

Results are stored in `--out`/results.csv, one row per set, count, repeat and method; finished ones are not run again.
`--tables` writes the tables and the figure of docs/studies/pretrained.md from that file, and runs nothing.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from practice_sets import SETS as FILES
from practice_sets import Example, Sources
from pretrained_page import read_results, write_page

from counterpoise.config import make_config
from counterpoise.datasets import ImageSplit, dataset_from_arrays, decode_image
from counterpoise.evaluation import evaluate_predictions
from counterpoise.methods import get_method
from counterpoise.networks import Network, create_network, packaged_weights
from counterpoise.training import EmbeddedSplit, embedded_splits, fit_method, seed_for
from counterpoise.training.convergence import choose_penalty
from counterpoise.training.predict import feature_statistics

LITE0 = "tf_efficientnet_lite0"
COUNTS = (2, 5, 10, 20, 50, 100)
COMMON = 150
METHODS = (
    *("bl", "bl-cw", "crt", "vs", "logit-adjusted", "balanced-softmax", "cosine"),
    *("lda", "ncm", "fs-smote", "ados", "counterpoise-pretrained"),
)
COLUMNS = ("set", "count", "repeat", "method", "gmean", "f1", "rare", "common", "penalty", "seconds")


@dataclass(frozen=True)
class Recipe:
    """Images of a set: source in `practice_sets.py`, side in pixels, and most training and test images of a class.

    Without `test`, each repeat holds out a quarter of each class.
    """

    title: str
    source: str
    size: int
    train: int
    test: int | None


SETS = {
    "cifar10": Recipe("CIFAR-10, 10 classes, enlarged to 96 pixels", "cifar10-lt", 96, 600, 200),
    "elpv": Recipe("ELPV, photographs of solar cells in 4 grades, 160 pixels", "elpv", 160, 10_000, None),
    "intel": Recipe("Intel, photographs of 6 kinds of scenes, 160 pixels", "intel-step20", 160, 300, 200),
}


@dataclass(frozen=True)
class Features:
    """Raw embeddings (N, d) and classes (N,) of all images of a set, and the rows of its own test images, if any."""

    rows: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]
    test: np.ndarray


@dataclass(frozen=True)
class Cell:
    """Training and test rows of one count and repeat, and its rare classes."""

    train: np.ndarray
    test: np.ndarray
    rare: tuple[int, ...]


def load_features(name: str, sources: Sources, cache: Path) -> Features:
    """Return the embeddings of a set, from `cache` where they are there."""
    path = cache / f"{name}.npz"
    if not path.exists():
        recipe = SETS[name]
        train, test = FILES[recipe.source].read(sources)
        chosen = [*_some(train, recipe.train), *_some(test, recipe.test or 0)]
        classes = tuple(sorted({example.label for example in chosen}))
        labels = np.array([classes.index(example.label) for example in chosen])
        images = np.stack([decode_image(e.read(), 3, (recipe.size, recipe.size)) for e in chosen])
        network = create_network(
            LITE0,
            num_classes=len(classes),
            in_channels=3,
            image_size=(recipe.size, recipe.size),
            weights=packaged_weights(),
            features="multi",
        )
        dataset = dataset_from_arrays(images, labels, classes=classes, name=name)
        rows = embedded_splits(network, dataset, dataset, cache, device=torch.device("cpu")).train.rows
        tested = np.arange(len(chosen)) >= len(_some(train, recipe.train))
        np.savez(path, rows=rows, labels=labels, classes=classes, test=np.flatnonzero(tested))
    found = np.load(path)
    return Features(found["rows"], found["labels"], tuple(found["classes"]), found["test"])


def _some(examples: Sequence[Example], most: int) -> list[Example]:
    """Return at most `most` examples of each class, the same ones every time."""
    order = np.random.default_rng(0).permutation(len(examples))
    found: dict[str, list[Example]] = {}
    for index in order:
        found.setdefault(examples[index].label, []).append(examples[index])
    return [example for label in sorted(found) for example in found[label][:most]]


def cell(features: Features, count: int, repeat: int) -> Cell:
    """Return the images of a count and repeat."""
    rng = np.random.default_rng([repeat, 15])
    classes = len(features.classes)
    rare = sorted(rng.permutation(classes)[: classes // 2].tolist())
    train, test = [], [features.test]
    for label in range(classes):
        own = np.setdiff1d(np.flatnonzero(features.labels == label), features.test)
        order = rng.permutation(own)
        if not len(features.test):
            held = round(0.25 * len(own))
            test, order = [*test, order[:held]], order[held:]
        train.append(order[: count if label in rare else COMMON])
    return Cell(np.concatenate(train), np.concatenate(test), tuple(rare))


class HeadOnly(Network):
    """Network of which only the head is used."""

    def _build(self, width: int) -> int:
        return width


class Heads:
    """Trains heads on the standardized features of a cell.

    The N training images span at most N of the directions of the feature space. Heads under an L2 penalty and samples
    between images stay within that span, so features are rotated into it, exactly and to save time. The shrunk
    covariance of `lda` alone depends on all directions. Embeddings of one length get it before.
    """

    def __init__(self, features: Features, images: Cell) -> None:
        self.classes, self.labels, self.rare = features.classes, features.labels[images.test], images.rare
        mean, scale = feature_statistics(features.rows[images.train])
        whole = [(features.rows[rows] - mean.numpy()) / scale.numpy() for rows in (images.train, images.test)]
        basis = np.linalg.qr(whole[0].T)[0]
        lengths = [np.linalg.norm(rows, axis=1, keepdims=True) / np.sqrt(rows.shape[1]) for rows in whole]
        labels = [features.labels[rows] for rows in (images.train, images.test)]
        self.whole = [_split(rows, own) for rows, own in zip(whole, labels, strict=True)]
        self.rotated = [_split(rows @ basis, own) for rows, own in zip(whole, labels, strict=True)]
        self.unit = [
            _split(rows / own @ basis, classes)
            for rows, own, classes in zip(whole, lengths, labels, strict=True)
        ]
        self.trained: dict[str, tuple[np.ndarray, float | None]] = {}
        self.penalty: float | None = None

    def logits(self, method: str, seed: int) -> tuple[np.ndarray, float | None]:
        """Return the logits of the test images, and the penalty if there is one.

        Methods that differ in their adjustment alone share a head.
        """
        record = get_method(method)
        plain = replace(record, adjust=None)
        key = json.dumps(plain.identity(), sort_keys=True)
        unit = record.head_layer == "unit-length"
        train, test = self.whole if method.startswith("lda") else self.unit if unit else self.rotated
        if key not in self.trained:
            torch.manual_seed(seed)
            network = HeadOnly(
                name="head",
                num_classes=len(self.classes),
                in_channels=3,
                image_size=(1, 1),
                head_layer="linear" if unit else record.head_layer,
                standardize=True,
                width=train.rows.shape[1],
            )
            if self.penalty is None:
                # As a run would choose it, for all methods alike: that of the plain head on the whole embeddings.
                start = self.rotated[0]
                self.penalty = choose_penalty(start.rows, start.labels, seed=seed_for(seed, "penalty"))
            config = make_config(seed=seed, threads=1, device="cpu", penalty=self.penalty)
            fitted = fit_method(plain, network, train, config=config, classes=self.classes)
            self.trained[key] = fitted.logits(test), next(reversed(fitted.penalties.values()), None)
        logits, penalty = self.trained[key]
        if record.adjust is not None:
            adjustment = record.adjust.build()
            adjustment.fit(None, None, train.class_counts(len(self.classes)))
            logits = adjustment.transform(logits)
        return logits, penalty

    def scores(self, method: str, seed: int) -> dict[str, float | None]:
        """Return the scores of a method on the test images."""
        started = time.process_time()
        logits, penalty = self.logits(method, seed)
        found = evaluate_predictions(
            self.labels, logits.argmax(axis=1), classes=self.classes, minority=self.rare
        )
        return {
            "gmean": found["all"]["gmean"],
            "f1": found["all"]["f1"],
            "rare": found["minority"]["recall"],
            "common": found["majority"]["recall"],
            "penalty": penalty,
            "seconds": time.process_time() - started,
        }


def _split(rows: np.ndarray, labels: np.ndarray) -> EmbeddedSplit:
    """Return embedded images without their pixels, which a frozen network does not need."""
    blank = np.zeros((len(rows), 3, 1, 1), dtype=np.uint8)
    images = ImageSplit(blank, labels.astype(np.int64), tuple(map(str, range(len(rows)))))
    return EmbeddedSplit.of(images, np.ascontiguousarray(rows, dtype=np.float32))


def measure(sets: dict[str, Features], options: argparse.Namespace) -> None:
    """Append the missing rows to results.csv."""
    path = options.out / "results.csv"
    done = {tuple(row[column] for column in COLUMNS[:4]) for row in read_results(path)}
    for repeat, name, count in itertools.product(range(options.repeats), sets, options.counts):
        missing = [m for m in options.methods if (name, str(count), str(repeat), m) not in done]
        heads = Heads(sets[name], cell(sets[name], count, repeat)) if missing else None
        for method in missing:
            row = {"set": name, "count": count, "repeat": repeat, "method": method}
            row |= heads.scores(method, repeat)
            new = not path.exists()
            with path.open("a", newline="") as file:
                writer = csv.DictWriter(file, COLUMNS)
                if new:
                    writer.writeheader()
                writer.writerow(row)
            print(", ".join(f"{v:.3f}" if isinstance(v, float) else str(v) for v in row.values()))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--counts", default=",".join(map(str, COUNTS)))
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--data-dir", type=Path, default=Path("../shared/data"))
    parser.add_argument("--wheels", type=Path, default=Path("wheels"))
    parser.add_argument("--out", type=Path, default=Path("out/pretrained"))
    parser.add_argument("--tables", action="store_true", help="only write the page's tables and figure")
    options = parser.parse_args()
    options.counts = [int(count) for count in options.counts.split(",")]
    options.methods = options.methods.split(",")
    options.out.mkdir(parents=True, exist_ok=True)
    if not options.tables:
        sources = Sources(options.data_dir, options.wheels)
        measure(
            {name: load_features(name, sources, options.out) for name in options.sets.split(",")}, options
        )
    titles = {name: recipe.title for name, recipe in SETS.items()}
    write_page(read_results(options.out / "results.csv"), titles, METHODS)


if __name__ == "__main__":
    main()
