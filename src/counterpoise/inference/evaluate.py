"""Scores of a finished run on labeled images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from counterpoise.datasets import ImageDataset, ImageSplit, SplitManifest
from counterpoise.evaluation import ScoresDict, evaluate
from counterpoise.exceptions import DataError
from counterpoise.inference.model import TrainedModel
from counterpoise.runs import RunFolder


@dataclass(frozen=True)
class Evaluation:
    """Scores of a finished run, and a description of the images they are of."""

    scores: ScoresDict
    images: str


def evaluate_run(folder: RunFolder, dataset: ImageDataset, *, device: str = "auto") -> Evaluation:
    """Return the scores of a run on images of `dataset` that it was not trained on.

    If `dataset` is that of the run, these are the run's own test images (`DataError` if it has none); else its test
    split, or all its images if it has none.
    """
    split, images = _unseen(folder, dataset)
    model = TrainedModel.open(folder, device=device)
    index = np.array([model.classes.index(name) for name in dataset.classes])
    minority = folder.record.dataset.minority
    probabilities = model.probabilities(split)
    scores = evaluate(index[split.labels], probabilities, classes=model.classes, minority=minority)
    return Evaluation(scores, images)


def _unseen(folder: RunFolder, dataset: ImageDataset) -> tuple[ImageSplit, str]:
    if dataset.fingerprint == folder.record.dataset.fingerprint:
        split = SplitManifest.load(folder.path / "manifest.json").apply(dataset).test
        if split is None or not len(split):
            raise DataError(f"{folder.path} has no test images of {dataset.name}; give other labeled images")
        return split, f"the run's own {len(split):,} test images"
    if dataset.test is not None:
        return dataset.test, f"the {len(dataset.test):,} images of the test split"
    return dataset.train, f"all {len(dataset.train):,} images"
