"""Artifacts of a run besides its scores: a map of the embedding, and the worst mistakes."""

from __future__ import annotations

import base64
import io

import numpy as np

from counterpoise.config.train import TrainConfig
from counterpoise.datasets import ImageSplit
from counterpoise.networks import Network
from counterpoise.runs import EmbeddingMap, Mistake
from counterpoise.training.method_stages import ResampledSet
from counterpoise.training.predict import embed_images
from counterpoise.training.randomness import generator_for

MAP_POINTS = 2000
MAP_SAMPLE = 400  # images of each class
MISTAKES = 24
THUMBNAIL = 112  # pixels


def embedded_sample(network: Network, train: ImageSplit, config: TrainConfig) -> ResampledSet:
    """Return the embeddings of at most 400 training images of each class, drawn by the seed of `config`."""
    generator = generator_for(config.seed, "map sample")
    per_class = [np.flatnonzero(train.labels == c) for c in np.unique(train.labels)]
    kept = np.concatenate([np.sort(generator.permutation(members)[:MAP_SAMPLE]) for members in per_class])
    sample = train.subset(kept)
    device = next(network.parameters()).device
    embeddings = embed_images(network, sample, device=device, workers=config.workers)
    return ResampledSet(embeddings, sample.labels, np.ones(len(kept), dtype=np.float32), originals=len(kept))


def embedding_map(resampled: ResampledSet, generator: np.random.Generator) -> EmbeddingMap:
    """Return the first two principal components of a sample of the training set, originals and synthetic samples.

    The sample holds at most 2000 points, as many of each class and kind, so that rare classes are visible. The
    axes are those of the originals.
    """
    from sklearn.decomposition import PCA

    synthetic = np.arange(len(resampled.labels)) >= resampled.originals
    groups = [
        np.flatnonzero((resampled.labels == c) & (synthetic == s))
        for c in np.unique(resampled.labels)
        for s in (0, 1)
    ]
    groups = [group for group in groups if len(group)]
    share = max(1, MAP_POINTS // len(groups))
    kept = np.concatenate([np.sort(generator.permutation(group)[:share]) for group in groups])
    originals = kept[~synthetic[kept]]
    projection = PCA(n_components=2, svd_solver="full").fit(resampled.embeddings[originals])
    points = projection.transform(resampled.embeddings[kept])
    return EmbeddingMap(
        projection="PCA",
        x=tuple(round(float(v), 4) for v in points[:, 0]),
        y=tuple(round(float(v), 4) for v in points[:, 1]),
        label=resampled.labels[kept].tolist(),
        kind=tuple("synthetic" if s else "original" for s in synthetic[kept]),
    )


def worst_mistakes(split: ImageSplit, probabilities: np.ndarray) -> list[Mistake]:
    """Return the 24 most confident wrong predictions, the most confident first, each with a small PNG."""
    predicted = probabilities.argmax(axis=1)
    confidence = probabilities.max(axis=1)
    wrong = np.flatnonzero(predicted != split.labels)
    worst = wrong[np.argsort(-confidence[wrong], kind="stable")][:MISTAKES]
    return [
        Mistake(
            path=split.paths[i],
            true=int(split.labels[i]),
            predicted=int(predicted[i]),
            probability=round(float(confidence[i]), 6),
            image=_png_data_uri(np.asarray(split.images[int(i)])),
        )
        for i in worst
    ]


def _png_data_uri(image: np.ndarray) -> str:
    """Return an image (C, H, W), uint8, as a PNG data URI, at most 112 pixels wide or high."""
    from PIL import Image

    picture = Image.fromarray(image[0] if len(image) == 1 else np.ascontiguousarray(image.transpose(1, 2, 0)))
    picture.thumbnail((THUMBNAIL, THUMBNAIL))
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
