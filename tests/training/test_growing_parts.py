"""Heads on growing parts of the images: nested, stratified, grouped, and judged out of fold."""

from dataclasses import replace

import numpy as np
from feature_rows import embedded, rows_network

from counterpoise.config import make_config
from counterpoise.methods import get_method
from counterpoise.training import hits_of_growing_parts
from counterpoise.training import learning_curve as module

COUNTS = (60, 30, 12)
CONFIG = make_config(threads=1, penalty=0.03)
METHOD = get_method("logit-adjusted")


def noisy(seed=0):
    generator = np.random.default_rng(seed)
    labels = np.repeat(np.arange(3), COUNTS)
    return generator.normal(size=(len(labels), 30)) + 2.5 * np.eye(3, 30)[labels], labels


def test_parts_double_and_recall_grows():
    hits, sizes = hits_of_growing_parts(METHOD, rows_network(30, 3), embedded(*noisy()), config=CONFIG)
    assert hits.shape == (4, 3, 102)
    np.testing.assert_allclose(sizes[-1], 0.8 * np.array(COUNTS))
    assert (np.abs(sizes[:-1] / sizes[1:] - 0.5) < 0.17).all()
    assert hits[0].mean() < hits[-1].mean() - 0.05


def test_labels_of_judged_images_do_not_matter():
    """With random labels nothing can be recognized out of fold, however many images there are."""
    rows, labels = np.random.default_rng(1).normal(size=(300, 40)), np.arange(300) % 3
    hits, _ = hits_of_growing_parts(METHOD, rows_network(40, 3), embedded(rows, labels), config=CONFIG)
    assert abs(hits.mean() - 1 / 3) < 0.06


def test_groups_stay_whole_and_on_one_side(monkeypatch):
    """Copies of an image in one group: a head never learned from a copy of what it is judged on."""
    rows, labels = np.random.default_rng(2).normal(size=(40, 60)), np.arange(40) % 2
    rows, labels, groups = (np.repeat(values, 4, axis=0) for values in (rows, labels, np.arange(40)))
    chosen = []
    fit_method = module.fit_method
    monkeypatch.setattr(module, "fit_method", lambda *a, **k: (chosen.append(a[2]), fit_method(*a, **k))[1])
    hits, _ = hits_of_growing_parts(
        METHOD, rows_network(60, 2), embedded(rows, labels, groups), config=CONFIG
    )
    assert hits.mean() < 0.65
    for split in chosen:
        assert set(np.bincount(split.groups)) <= {0, 4}
    alone, _ = hits_of_growing_parts(
        METHOD, rows_network(60, 2), replace(embedded(rows, labels), groups=None), config=CONFIG
    )
    assert alone[-1].mean() > 0.95


def test_the_hits_are_the_same_on_any_number_of_cores_and_all_trainings_are_told():
    found, told = [], []
    for threads in (1, 3):
        config = make_config(threads=threads, seed=0)
        where = rows_network(30, 3), embedded(*noisy())
        found.append(
            hits_of_growing_parts(METHOD, *where, config=config, on_trained=lambda *n: told.append(n))
        )
    for alone, together in zip(*found, strict=True):
        np.testing.assert_array_equal(alone, together)
    assert told == [(done, 60) for done in range(5, 61)] * 2
