"""What a finished run stores so that its predictions can be trusted: held-out logits and training distances."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypedDict

import numpy as np

from counterpoise.balance.adjust import Adjustment, LogitAdjustment
from counterpoise.config import TrainConfig
from counterpoise.datasets import ImageDataset, ImageSplit, decode_batch
from counterpoise.evaluation import ALPHA, ClassRule, conformal_rules, neighbor_distances, pixel_statistics
from counterpoise.runs import UNLIKE, Calibration
from counterpoise.training.fit import Fitted
from counterpoise.training.predict import EmbeddedSplit, embed_images, softmax
from counterpoise.training.randomness import generator_for

MOST_VALUES = 2_000_000  # of the stored embeddings, in half precision: 4 MB
MOST_EMBEDDED = 500  # training images that are embedded for this alone
MOST_COMPARED = 300  # held-out images


class TrustDict(TypedDict):
    """``trust`` in ``run.json``: thresholds of sets that lack the true class of a share `alpha` of the images.

    An image whose p-value is at most `unlike`, by `compared` held-out images, is unlike the training images.
    """

    alpha: float
    classes: list[ClassRule]
    unlike: float
    compared: int


def trust_record(
    calibration: Calibration, adjustment: Adjustment | None, classes: Sequence[str], *, alpha: float = ALPHA
) -> TrustDict:
    """Return thresholds for the probabilities that a model shows, after its adjustment; see `conformal_rules`.

    Where the adjustment was tuned on the same images, the promise holds approximately: it has few numbers to tune.
    """
    logits, rules = calibration.logits, []
    if len(logits):
        shown = softmax(logits if adjustment is None else adjustment.transform(logits))
        rules = conformal_rules(shown, calibration.labels, classes, alpha=alpha)
    return {"alpha": alpha, "classes": rules, "unlike": UNLIKE, "compared": len(calibration.distances)}


def calibrate(
    fitted: Fitted, splits: ImageDataset, logits: Mapping[str, np.ndarray], config: TrainConfig
) -> Calibration | None:
    """Return the calibration data of a trained network; None where no image was held out.

    Held-out images are those of `fitted.evidence`, or else the validation images, whose logits are among `logits`. A
    network frozen below its head learned its embedding from no image, so that half of its training images count as new.
    """
    train, validation, adjustment = splits.train, splits.validation, fitted.adjustment
    labels, held_out = np.empty(0, dtype=np.int64), np.empty((0, splits.num_classes))
    known = np.zeros(len(train), dtype=bool)
    if fitted.evidence is not None and (adjustment is None or isinstance(adjustment, LogitAdjustment)):
        known = ~np.isnan(fitted.evidence).any(axis=(0, 2))
        offset = 0.0 if adjustment is None else adjustment.offset_
        labels, held_out = train.labels[known], fitted.evidence[:, known].mean(axis=0) - offset
    elif validation is not None and "validation" in logits:
        labels, held_out = validation.labels, logits["validation"]
    generator, outside = generator_for(config.seed, "calibration"), validation or None
    if isinstance(train, EmbeddedSplit):
        part = _halves(train, generator) == 0
        train, outside = train.subset(np.flatnonzero(~part)), train.subset(np.flatnonzero(part))
    elif known.any():
        train, outside = train.subset(np.flatnonzero(~known)), train.subset(np.flatnonzero(known))
    if not len(labels) and not (outside and train):
        return None
    empty = np.empty(0, dtype=np.float32)
    found = Calibration(labels, held_out.astype(np.float32), empty, empty, empty, empty, empty)
    return _compare(found, fitted, train, outside, generator) if outside and train else found


def _halves(split: ImageSplit, generator: np.random.Generator) -> np.ndarray:
    """Return one of two random halves for each image (N,); groups stay together."""
    groups = (
        np.arange(len(split)) if split.groups is None else np.unique(split.groups, return_inverse=True)[1]
    )
    return (generator.permutation(int(groups.max()) + 1) % 2)[groups]


def _compare(
    found: Calibration, fitted: Fitted, train: ImageSplit, outside: ImageSplit, generator: np.random.Generator
) -> Calibration:
    """Return `found` with training images, and the distances of images `outside` to them."""
    width = fitted.network.embedding_dim
    most = MOST_VALUES // width if isinstance(train, EmbeddedSplit) else MOST_EMBEDDED
    rows = _points(fitted, train.subset(generator.permutation(len(train))[:most]))
    compared = _points(fitted, outside.subset(generator.permutation(len(outside))[:MOST_COMPARED]))
    # Embeddings and pixel statistics weigh the same, however many they are.
    weight = np.repeat([width, max(1, rows.shape[1] - width)], [width, rows.shape[1] - width]) ** -0.5
    scale = np.maximum(rows.std(axis=0), 1e-6)
    found = replace(found, center=rows.mean(axis=0), scale=scale, weight=weight.astype(np.float32))
    found = replace(found, rows=found.place(rows).astype(np.float16))
    return replace(found, distances=np.sort(neighbor_distances(found.rows, found.place(compared))))


def _points(fitted: Fitted, split: ImageSplit) -> np.ndarray:
    """Return embeddings, with pixel statistics where reading pixels costs little, float32."""
    embeddings = embed_images(fitted.network, split, device=next(fitted.network.parameters()).device)
    if isinstance(split, EmbeddedSplit) and not split.in_memory:
        return embeddings  # a pretrained network tells pictures of another kind apart by itself
    # The floats of all images may be gigabytes.
    parts = np.array_split(np.arange(len(split)), len(split) // 64 + 1)
    statistics = [pixel_statistics(decode_batch(split.images, part)) for part in parts]
    return np.hstack([embeddings, np.concatenate(statistics)])
