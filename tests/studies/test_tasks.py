"""Two tasks out of one data set, and what a user types for them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from counterpoise.datasets import dataset_from_arrays
from counterpoise.exceptions import DataError, InputError, UnknownNameError
from counterpoise.studies.transfer.tasks import read_layers, task_images
from counterpoise.training import MAN_MADE, NATURAL, Tasks, draw_tasks

CIFAR = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
ANIMALS = ["cat", "dog", "owl", "yak"]


@given(classes=st.integers(4, 30), seed=st.integers(0, 50))
def test_random_halves_part_the_classes(classes, seed):
    tasks = draw_tasks("random", list(map(str, range(classes))), seed=seed)
    assert sorted(tasks.a + tasks.b) == list(range(classes))
    assert len(tasks.a) - len(tasks.b) == classes % 2
    assert list(tasks.a) == sorted(tasks.a)
    assert tasks == draw_tasks("random", list(map(str, range(classes))), seed=seed)


def test_each_draw_has_halves_of_its_own():
    assert len({draw_tasks("random", CIFAR, seed=seed) for seed in range(8)}) > 4


def test_natural_is_the_lectures_split_of_cifar10():
    tasks = draw_tasks("natural", CIFAR, seed=3)
    assert [CIFAR[i] for i in tasks.a] == ["airplane", "automobile", "ship", "truck"] == list(MAN_MADE)
    assert [CIFAR[i] for i in tasks.b] == list(NATURAL)
    with pytest.raises(
        InputError, match=r"known for CIFAR-10 alone; name them as `task_split` \"A=cat,\.\.\.;B=yak"
    ):
        draw_tasks("natural", ANIMALS, seed=0)


def test_named_classes():
    assert draw_tasks("A=dog, cat ; B=yak,owl", ANIMALS, seed=9) == Tasks((0, 1), (2, 3))
    assert draw_tasks("A=dog,cat;B=yak,owl", ["x", *ANIMALS], seed=9) == Tasks((1, 2), (3, 4))


@pytest.mark.parametrize(
    ("split", "words"),
    [
        ("halves", r"`task_split` 'halves': expected random, natural, or classes"),
        ("A=cat,dog", "expected random, natural, or classes"),
        ("A=cat,dog;B=owl,yak;C=x", "expected random, natural, or classes"),
        ("A=cat,dog;B=owl", "task B has 1 classes; name at least two"),
        ("A=cat,cat;B=owl,yak", "task A has 1 classes; name at least two"),
        ("A=;B=owl,yak", "task A has 0 classes"),
        ("A=cat,dog;B=dog,yak", "class 'dog' is in both tasks"),
    ],
)
def test_a_split_that_is_none(split, words):
    with pytest.raises(InputError, match=words):
        draw_tasks(split, ANIMALS, seed=0)


def test_misspelt_and_too_few_classes():
    with pytest.raises(UnknownNameError, match="task A of `task_split` 'catt'; did you mean 'cat'"):
        draw_tasks("A=catt,dog;B=owl,yak", ANIMALS, seed=0)
    with pytest.raises(InputError, match="3 classes cannot be parted into two tasks; at least 4"):
        draw_tasks("random", ANIMALS[:3], seed=0)


def test_layers_as_typed():
    assert read_layers("1..7") == tuple(range(1, 8))
    assert read_layers(" 7, 1,3 .. 4,3") == (1, 3, 4, 7)
    for wrong in ("", "0", "0..3", "5..3", "1-7", "a", "1,,2", "-1", "99999"):
        with pytest.raises(InputError, match="`layers`"):
            read_layers(wrong)


@pytest.fixture(scope="module")
def dataset():
    generator = np.random.default_rng(0)
    labels, test_labels = np.repeat(np.arange(5), [30, 9, 20, 20, 20]), np.repeat(np.arange(5), 4)
    shape = (1, 4, 4)
    return dataset_from_arrays(
        generator.integers(0, 256, (len(labels), *shape), dtype=np.uint8),
        labels,
        classes=["a", "b", "c", "d", "e"],
        test_images=generator.integers(0, 256, (len(test_labels), *shape), dtype=np.uint8),
        test_labels=test_labels,
    )


def test_a_task_has_its_classes_alone_renumbered(dataset):
    found = task_images(dataset, (1, 4), per_class=None, test_fraction=0.2, seed=0)
    assert found.classes == ("b", "e")
    assert np.bincount(found.train.labels).tolist() == [9, 20]
    assert np.bincount(found.test.labels).tolist() == [4, 4]
    by_name = dict(zip(dataset.train.paths, dataset.train.labels, strict=True))
    assert [(1, 4)[label] for label in found.train.labels] == [by_name[path] for path in found.train.paths]
    where = [dataset.train.paths.index(path) for path in found.train.paths]
    assert np.array_equal(found.train.images, dataset.train.images[where])


def test_so_many_images_of_each_class_and_of_small_classes_all(dataset):
    first = task_images(dataset, (0, 1), per_class=12, test_fraction=0.2, seed=0)
    assert np.bincount(first.train.labels).tolist() == [12, 9]
    assert len(first.test) == 8
    assert (
        first.train.paths == task_images(dataset, (0, 1), per_class=12, test_fraction=0.2, seed=0).train.paths
    )
    other = task_images(dataset, (0, 1), per_class=12, test_fraction=0.2, seed=1)
    assert set(first.train.paths) != set(other.train.paths)
    # What is kept of a class does not depend on the task that it is in.
    alone = task_images(dataset, (0, 4), per_class=12, test_fraction=0.2, seed=0)
    kept = [
        {p for p, label in zip(t.train.paths, t.train.labels, strict=True) if label == 0}
        for t in (first, alone)
    ]
    assert kept[0] == kept[1]


def test_without_a_test_split_one_is_made_and_never_trained_on(dataset):
    whole = dataset_from_arrays(dataset.train.images, dataset.train.labels)
    found = task_images(whole, (0, 2, 3), per_class=None, test_fraction=0.25, seed=2)
    assert not set(found.train.paths) & set(found.test.paths)
    assert len(found.train) + len(found.test) == 70
    assert np.bincount(found.test.labels).tolist() == [8, 5, 5]


def test_classes_without_test_images(dataset):
    kept = dataset.test.labels < 3
    partial = dataset_from_arrays(
        dataset.train.images,
        dataset.train.labels,
        classes=dataset.classes,
        test_images=dataset.test.images[kept],
        test_labels=dataset.test.labels[kept],
    )
    with pytest.raises(DataError, match="no test images of d, e"):
        task_images(partial, (3, 4), per_class=None, test_fraction=0.2, seed=0)
