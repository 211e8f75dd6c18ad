"""Using a finished run: scores on labelled images, predictions for new ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from counterpoise.datasets import (
    ImageDataset,
    ImageSplit,
    SplitManifest,
)
from counterpoise.evaluation import ScoresDict, evaluate
from counterpoise.exceptions import DataError
from counterpoise.inference.model import predict_probabilities
from counterpoise.runs.folder import RunFolder


@dataclass(frozen=True)
class Evaluation:
    """A finished run's scores on a data set.

    Attributes
    ----------
    scores : dict
        As `counterpoise.evaluation.evaluate` gives them.
    images : str
        Which images they are of, in words.
    """

    scores: ScoresDict
    images: str


def evaluate_run(folder: RunFolder, dataset: ImageDataset, *, device: str = "auto") -> Evaluation:
    """Return a run's scores on the images of `dataset` that it was not trained on.

    Where `dataset` is the one of the run, these are the run's own test images; else its test split,
    or all its images where it has none.
    """
    split, images = _unseen(folder, dataset)
    classes = tuple(folder.record["dataset"]["classes"])
    index = np.array([classes.index(name) for name in dataset.classes])
    probabilities = predict_probabilities(folder, split, device=device)
    minority = tuple(folder.record["dataset"]["minority"])
    return Evaluation(
        evaluate(index[split.labels], probabilities, classes=classes, minority=minority), images
    )


def _unseen(folder: RunFolder, dataset: ImageDataset) -> tuple[ImageSplit, str]:
    if dataset.fingerprint == folder.record["dataset"]["fingerprint"]:
        split = SplitManifest.load(folder.path / "manifest.json").apply(dataset).test
        if split is None or not len(split):
            raise DataError(
                f"{folder.path} kept no image of {dataset.name} for testing; give other labelled images"
            )
        return split, f"the run's own {len(split):,} test images"
    if dataset.test is not None:
        return dataset.test, f"the {len(dataset.test):,} images of the test split"
    return dataset.train, f"all {len(dataset.train):,} images"
