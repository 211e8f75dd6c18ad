"""Checks that every method passes, for authors of methods in this package and in others.

Each check trains on a few small images and raises AssertionError with the reason.
"""

from __future__ import annotations

import csv
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np

from counterpoise.config import make_config
from counterpoise.datasets import ImageDataset, StepImbalance, dataset_from_arrays
from counterpoise.files import read_json
from counterpoise.inference import TrainedModel
from counterpoise.methods import METHODS, get_method
from counterpoise.runs import RunFolder
from counterpoise.training import RunPlan, SplitPlan, execute_run

CLASSES = ("cat", "dog", "owl")
RARE = 2
FILES = {"run.json", "metrics.json", "predictions.csv", "history.json", "embedding.json", "mistakes.json"}
WEIGHTS = {"model.safetensors", "calibration.safetensors", "seen.safetensors", "manifest.json"}

METHOD_CHECKS = ("seeds", "test_labels", "inputs", "folder", "learning", "map")
"""Names of the checks of `MethodBattery`."""


def tiny_dataset() -> ImageDataset:
    """Return three classes of noisy 8x8 images, each with a bright square at a position of its own."""
    (images, labels), (test_images, test_labels) = _squares(60, seed=0), _squares(20, seed=1)
    return dataset_from_arrays(
        images, labels, classes=CLASSES, name="squares", test_images=test_images, test_labels=test_labels
    )


class MethodBattery:
    """Checks of methods on tiny images, with runs in `folder`; checks of one method share its training."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.dataset = tiny_dataset()
        self._test = self.dataset.splits["test"]
        self._runs: dict[str, RunFolder] = {}

    def run(self, method: str) -> RunFolder:
        """Return the finished run of a method; it is trained once."""
        if method not in self._runs:
            self._runs[method] = self._train(method, "run")
        return self._runs[method]

    def check(self, method: str, *names: str) -> None:
        """Run checks by name; all by default."""
        for name in names or METHOD_CHECKS:
            getattr(self, f"check_{name}")(method)

    def check_seeds(self, method: str) -> None:
        """The same seed gives the same weights, predictions and scores; another seed gives other weights."""
        first, second = self.run(method), self._train(method, "same")
        other = self._train(method, "other", seed=1)
        _require(same_weights(first, second), f"{method}: the same seed gives other weights")
        files = [(run.path / "predictions.csv").read_bytes() for run in (first, second)]
        _require(files[0] == files[1], f"{method}: the same seed gives other predictions")
        _require(first.metrics == second.metrics, f"{method}: the same seed gives other scores")
        _require(not same_weights(first, other), f"{method}: another seed gives the same weights")

    def check_test_labels(self, method: str) -> None:
        """Wrong test labels change the scores, and nothing else."""
        first, wrong = self.run(method), replace(self._test, labels=(self._test.labels + 1) % len(CLASSES))
        blind = self._train(method, "blind", replace(self.dataset, test=wrong))
        _require(same_weights(first, blind), f"{method}: the weights depend on the test labels")
        same = np.array_equal(stored_probabilities(first), stored_probabilities(blind))
        _require(same, f"{method}: the predictions depend on the test labels")
        _require(blind.metrics.test != first.metrics.test, f"{method}: wrong labels give the same scores")

    def check_inputs(self, method: str) -> None:
        """Training leaves images and labels unchanged."""
        self.run(method)
        for name, split in tiny_dataset().splits.items():
            own = self.dataset.splits[name]
            same = np.array_equal(np.asarray(split.images), np.asarray(own.images))
            _require(same, f"{method}: training changed its images")
            _require(np.array_equal(split.labels, own.labels), f"{method}: training changed its labels")

    def check_folder(self, method: str) -> None:
        """The run folder is complete, and the stored model gives the stored predictions."""
        run = self.run(method)
        found = {path.name for path in run.path.iterdir()} - {".lock"}
        _require(found == FILES | WEIGHTS, f"{method}: the run folder holds {sorted(found)}")
        _require(RunFolder.open(run.path).record.method == method, f"{method}: run.json names another method")
        again = TrainedModel.open(RunFolder.open(run.path), device="cpu").probabilities(self._test)
        np.testing.assert_allclose(stored_probabilities(run), again, rtol=1e-5, atol=1e-9)
        rows = _rows(run)
        predicted = [CLASSES[index] for index in again.argmax(axis=1)]
        _require([row["predicted"] for row in rows] == predicted, f"{method}: another class is stored")
        hits = float(np.mean([row["true"] == row["predicted"] for row in rows]))
        np.testing.assert_allclose(self._accuracy(method), hits, rtol=1e-6)

    def check_learning(self, method: str) -> None:
        """The accuracy on three classes is above one half."""
        accuracy = self._accuracy(method)
        _require(accuracy > 0.5, f"{method}: the accuracy is {accuracy:.2f}, expected above 0.5")

    def _accuracy(self, method: str) -> float:
        """Return the test accuracy as the run's folder has it."""
        scores = self.run(method).metrics.test
        found = None if scores is None else scores.score("accuracy")
        _require(found is not None, f"{method}: metrics.json has no accuracy")
        return cast(float, found)

    def check_map(self, method: str) -> None:
        """The embedding map of a method with synthetic features shows them, of the rare class only."""
        if get_method(method).features is None:
            return
        points = read_json(self.run(method).path / "embedding.json")
        kinds = set(zip(points["label"], points["kind"], strict=True))
        shown = (RARE, "synthetic") in kinds and (RARE, "original") in kinds
        _require(shown, f"{method}: the map lacks original or synthetic samples of the rare class")
        _require((0, "synthetic") not in kinds, f"{method}: the map has synthetic samples of a common class")

    def _train(self, method: str, name: str, data: ImageDataset | None = None, seed: int = 0) -> RunFolder:
        chosen = data or self.dataset
        plan = RunPlan(
            source="squares",
            fingerprint=chosen.fingerprint,
            image_size=chosen.image_size,
            split=SplitPlan(profile=StepImbalance(6, minority=[RARE]).to_dict(), validation_fraction=0.2),
            draw=0,
            method=method,
            network="tinynet",
            config=make_config(epochs=3, batch_size=8, lr=5e-3, seed=seed, device="cpu"),
        )
        return execute_run(plan, chosen, self.folder / f"{method}-{name}")


def check_method(method: str) -> None:
    """Run all checks of `MethodBattery` on a method, in a temporary folder."""
    METHODS.get(method)
    with tempfile.TemporaryDirectory() as folder:
        MethodBattery(folder).check(method)


def stored_probabilities(run: RunFolder) -> np.ndarray:
    """Return the class probabilities of a run's test images, float64 of shape (N, C)."""
    return np.array([[float(row[name]) for name in CLASSES] for row in _rows(run)])


def same_weights(a: RunFolder, b: RunFolder) -> bool:
    """Return whether two runs have the same model, to the bit."""
    from safetensors.numpy import load_file

    one, other = (load_file(run.path / "model.safetensors") for run in (a, b))
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


def _squares(per_class: int, *, seed: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(CLASSES)), per_class).astype(np.int64)
    images = generator.integers(0, 120, size=(len(labels), 1, 8, 8)).astype(np.uint8)
    for index, label in enumerate(labels):
        row, column = divmod(int(label), 2)
        images[index, 0, row * 3 : row * 3 + 3, column * 4 : column * 4 + 3] += 100
    order = generator.permutation(len(labels))
    return images[order], labels[order]


def _rows(run: RunFolder) -> list[dict[str, str]]:
    with (run.path / "predictions.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise AssertionError(message)
