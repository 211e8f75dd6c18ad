"""Out-of-fold predictions of a method on frozen features."""

from __future__ import annotations

import copy

import numpy as np
from torch import nn

from counterpoise.config import TrainConfig
from counterpoise.datasets import ImageSplit, map_indices
from counterpoise.methods import Method
from counterpoise.networks import Network
from counterpoise.seeding import torch_seed
from counterpoise.training.fit import Fitted, fit_method
from counterpoise.training.machine import cpu_threads
from counterpoise.training.method_stages import heads_at_once
from counterpoise.training.predict import EmbeddedSplit
from counterpoise.training.randomness import seed_for


def out_of_fold(
    method: Method, network: Network, train: EmbeddedSplit, folds: np.ndarray, *, config: TrainConfig
) -> np.ndarray:
    """Return log-probabilities of training images under heads that were not trained on them.

    Parameters
    ----------
    network : Network
        Network frozen whole, whose features `train` holds; it is not changed.
    folds : ndarray of int64, shape (repeats, N)
        Fold of each image, or -1 for images that are always trained on, see `make_folds`.

    Returns
    -------
    ndarray of float32, shape (repeats, N, C)
        NaN for images that are always trained on.
    """
    result = np.full((*folds.shape, network.num_classes), np.nan, dtype=np.float32)
    cores = heads_at_once(network, train, config)
    alone = config if cores == 1 else config.model_copy(update={"threads": 1})
    count = int(folds.max()) + 1

    def predict(index: int) -> None:
        repeat, fold = divmod(index, count)
        outside = np.flatnonzero(folds[repeat] == fold)
        if len(outside):
            part = train.subset(np.flatnonzero(folds[repeat] != fold))
            fitted = fit_method(method, with_own_head(network, config.seed), part, config=alone)
            result[repeat, outside] = log_probabilities(fitted, train.subset(outside))

    with cpu_threads(alone.threads):
        map_indices(predict, len(folds) * count, threads=cores, chunk=1)
    return result


def log_probabilities(fitted: Fitted, split: ImageSplit) -> np.ndarray:
    """Return the logarithms of the class probabilities of a split, float32 (N, C)."""
    from scipy.special import log_softmax

    return np.asarray(log_softmax(fitted.logits(split).astype(np.float64), axis=1), dtype=np.float32)


def with_own_head(network: Network, seed: int) -> Network:
    """Return a network that shares all layers but the head, which forgets what it has learned."""
    shallow = copy.copy(network)
    shallow._modules = dict(network._modules)
    shallow.classifier = copy.deepcopy(network.classifier)
    with torch_seed(seed_for(seed, "fold head")):
        for layer in shallow.classifier.modules():
            if isinstance(layer, nn.Linear):
                layer.reset_parameters()
    return shallow
