"""Task of a peer: a training folder, test images, a budget; results go through two files.

Peers run as `python PEER.py TASK.json [OPTION ...]`, perhaps with an interpreter of their own: this module imports
PyTorch only where a function needs it, and never counterpoise.
"""

from __future__ import annotations

import copy
import csv
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

MOST_EPOCHS = 50


class Task:
    """Task that the file named on the command line describes.

    `budget` is in seconds; `started` is the reading of the system's monotonic clock when the process started.
    """

    def __init__(self) -> None:
        values = json.loads(Path(sys.argv[1]).read_text())
        self.train, self.test, self.out, self.weights = (
            Path(values[name]) for name in ("train", "test", "out", "weights")
        )
        self.size, self.tuned_size = int(values["size"]), int(values["tuned_size"])
        self.seed, self.threads = int(values["seed"]), int(values["threads"])
        self.budget, self.started = float(values["budget"]), float(values["started"])
        self.options = sys.argv[2:]
        self.classes = sorted(path.name for path in self.train.iterdir())
        self.images = sorted(self.test.iterdir())

    def seconds_left(self, reserve: float = 0.0) -> float:
        """Seconds of the budget that are left; `reserve` is a share of the whole budget."""
        return self.started + self.budget * (1 - reserve) - time.monotonic()

    def files(self) -> tuple[list[Path], list[int]]:
        """Return the training images and their class indices."""
        found = [
            (path, index)
            for index, name in enumerate(self.classes)
            for path in sorted((self.train / name).iterdir())
        ]
        return [path for path, _ in found], [index for _, index in found]

    def held_out(self, share: float = 0.1) -> Path:
        """Return a folder of links with `train/CLASS` and `val/CLASS`, for peers that want a validation folder."""
        root, rng = self.out / "folder", random.Random(self.seed)
        for name in self.classes:
            members = sorted((self.train / name).iterdir())
            rng.shuffle(members)
            count = max(1, round(share * len(members)))
            for part, paths in (("val", members[:count]), ("train", members[count:])):
                (root / part / name).mkdir(parents=True, exist_ok=True)
                for path in paths:
                    (root / part / name / path.name).hardlink_to(path)
        return root

    def fitted(self) -> None:
        """Record that the model is ready: what follows is prediction, which the budget does not cover."""
        (self.out / "fitted").write_text(str(time.monotonic() - self.started))

    def save(self, predicted: Sequence[int] | Sequence[str]) -> None:
        """Save the predicted classes, names or indices, of `images`; a later call replaces an earlier one."""
        names = [value if isinstance(value, str) else self.classes[int(value)] for value in predicted]
        part = self.out / "predictions.csv.part"
        with part.open("w", newline="") as file:
            rows = zip((path.name for path in self.images), names, strict=True)
            csv.writer(file).writerows([["path", "class"], *rows])
        part.replace(self.out / "predictions.csv")

    def lite0(self) -> dict[str, Any]:
        """Arguments with which timm creates the pretrained body that all peers share."""
        return {"pretrained": True, "pretrained_cfg_overlay": {"file": str(self.weights)}}


def class_weights(labels: Sequence[int]) -> list[float]:
    """Return N / (C n_c) of each class, as scikit-learn's "balanced"."""
    counts = Counter(labels)
    return [len(labels) / (len(counts) * counts[index]) for index in sorted(counts)]


def seconds_per_batch(model: Any, batches: Iterable[Any], most_seconds: float, count: int = 5) -> float:
    """Measure training steps of a copy of the model; the first batch, slower than the others, is not counted."""
    import torch

    trial = copy.deepcopy(model).train()
    times = []
    begun = time.monotonic()
    for _, (images, targets) in zip(range(count), batches, strict=False):
        # fastai's own tensor classes do not mix.
        logits, targets = (t.as_subclass(torch.Tensor) for t in (trial(images), targets))
        torch.nn.functional.cross_entropy(logits, targets).backward()
        times.append(time.monotonic() - begun)
        if len(times) > 2 and sum(times) > most_seconds:
            break
        begun = time.monotonic()
    rest = sorted(times[1:] or times)
    return rest[len(rest) // 2]


def plan_epochs(seconds: float, per_batch: float, batches: int, *, at_least: int = 1) -> tuple[int, int]:
    """Return epochs and batches per epoch that fit: epochs are shortened where `at_least` whole ones do not fit."""
    affordable = max(at_least, int(seconds / per_batch))
    if affordable >= at_least * batches:
        return min(MOST_EPOCHS, affordable // batches), batches
    return at_least, max(1, affordable // at_least)
