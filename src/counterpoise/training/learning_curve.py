"""Heads trained on growing parts of the training images, each judged on images that it did not learn from."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from counterpoise.config import TrainConfig
from counterpoise.datasets import make_folds, map_indices
from counterpoise.methods import Method
from counterpoise.networks import Network
from counterpoise.training.cross_validation import log_probabilities, with_own_head
from counterpoise.training.fit import fit_method
from counterpoise.training.machine import cpu_threads
from counterpoise.training.method_stages import heads_at_once
from counterpoise.training.predict import EmbeddedSplit
from counterpoise.training.randomness import generator_for, seed_for

#: Shares of the images outside of a fold.
SHARES = (0.125, 0.25, 0.5, 1.0)
FOLDS, REPEATS = 5, 3


def hits_of_growing_parts(
    method: Method,
    network: Network,
    train: EmbeddedSplit,
    *,
    config: TrainConfig,
    on_trained: Callable[[int, int], None] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Train heads on stratified, nested parts of the images and return their hits out of fold, and the parts' sizes.

    Groups stay whole. The penalty is chosen once for each size. `network` is frozen whole, with the features that
    `train` holds, and is not changed. `on_trained` is called with the number of trainings that are done, and of all.

    Returns
    -------
    hits : ndarray of float, shape (4, repeats, N)
        1 where the decision was the label, else 0; NaN for images that are always trained on.
    sizes : ndarray of float, shape (4, C)
        Mean number of training images of each class.
    """
    seed, each = seed_for(config.seed, "curve"), REPEATS * FOLDS
    folds = make_folds(train.labels, train.groups, folds=FOLDS, repeats=REPEATS, random_state=seed)
    hits = np.full((len(SHARES), *folds.shape), np.nan)
    sizes = np.zeros((len(SHARES), each, network.num_classes))

    def learn(part: int, index: int, settings: TrainConfig) -> TrainConfig:
        repeat, fold = divmod(index, FOLDS)
        outside = np.flatnonzero(folds[repeat] == fold)
        rest = train.subset(np.flatnonzero(folds[repeat] != fold))
        chosen = rest.subset(np.flatnonzero(_places(rest, generator_for(seed, repeat, fold)) < SHARES[part]))
        sizes[part, index] = chosen.class_counts(network.num_classes)
        fitted = fit_method(method, with_own_head(network, config.seed), chosen, config=settings)
        guesses = log_probabilities(fitted, train.subset(outside)).argmax(axis=1)
        hits[part, repeat, outside] = guesses == train.labels[outside]
        return settings.model_copy(update={"penalty": next(reversed(fitted.penalties.values()), 0.0) or None})

    of_size = [learn(part, 0, config) for part in range(len(SHARES))]
    cores = heads_at_once(network, train, config)
    threads = config.threads if cores == 1 else 1

    def learn_more(task: int) -> None:
        part, index = divmod(task, each - 1)
        learn(part, index + 1, of_size[part].model_copy(update={"threads": threads}))

    def report(done: int, total: int) -> None:
        if on_trained is not None:
            on_trained(len(SHARES) + done, len(SHARES) + total)

    with cpu_threads(threads):
        map_indices(learn_more, len(SHARES) * (each - 1), threads=cores, chunk=1, progress=report)
    return hits, sizes.mean(axis=1)


def _places(split: EmbeddedSplit, generator: np.random.Generator) -> np.ndarray:
    """Return places in [0, 1), spread evenly over each class from 0 on; a group shares the earliest of its places."""
    groups = np.arange(len(split)) if split.groups is None else split.groups
    member = np.unique(groups, return_inverse=True)[1]
    places = np.ones(member.max() + 1)
    for label in np.unique(split.labels):
        own = generator.permutation(np.unique(member[split.labels == label]))
        places[own] = np.minimum(places[own], np.arange(len(own)) / len(own))
    return np.asarray(places[member])
