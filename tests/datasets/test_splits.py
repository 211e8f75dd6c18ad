"""Split manifests: stratified, disjoint, thinned last, and safe to reuse."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from datasets_helpers import toy_dataset
from hypothesis import given, settings
from hypothesis import strategies as st

from counterpoise.datasets import (
    ImageDataset,
    ImageSplit,
    LongTailImbalance,
    NaturalImbalance,
    SplitManifest,
    StepImbalance,
    dataset_from_arrays,
    find_minority,
    load_dataset,
    make_splits,
)
from counterpoise.exceptions import DataError, InputError, RunFolderError


@given(
    counts=st.lists(st.integers(2, 40), min_size=2, max_size=6),
    test_fraction=st.floats(0.01, 0.99),
    validation_fraction=st.sampled_from([0.0, 0.1, 0.5, 0.98]),
    own_test=st.booleans(),
    seed=st.integers(0, 2**31),
)
@settings(max_examples=100, deadline=None)
def test_splits_are_stratified(counts, test_fraction, validation_fraction, own_test, seed):
    data = toy_dataset(counts, test=[1] * len(counts) if own_test else None)
    manifest = make_splits(
        data, test_fraction=test_fraction, validation_fraction=validation_fraction, random_state=seed
    )
    train, validation, test = (np.array(manifest.counts[name]) for name in ("train", "validation", "test"))
    taken = train + validation + (0 if own_test else test)
    assert np.array_equal(taken, counts)  # all images are used, none twice
    parts = [manifest.train, manifest.validation] + ([] if own_test else [manifest.test])
    assert len(np.unique(np.concatenate(parts))) == sum(counts)
    for index, count in enumerate(counts):
        assert train[index] >= 1
        if count >= 3:
            assert test[index] >= 1
            assert validation[index] >= (1 if validation_fraction else 0)
        left = count
        if not own_test:
            keep = 2 if validation_fraction else 1
            wanted = max(math.floor(count * test_fraction + 0.5), count >= 3)
            assert test[index] == max(0, min(wanted, count - keep))
            left -= test[index]
        if validation_fraction:
            wanted = max(math.floor(left * validation_fraction + 0.5), count >= 3)
            assert validation[index] == max(0, min(wanted, left - 1))
        else:
            assert validation[index] == 0


def test_thinned_images_come_back_nowhere():
    data = toy_dataset([100, 100, 100])
    whole = make_splits(data, random_state=3)
    thinned = make_splits(data, profile=StepImbalance(12, minority=[1]), random_state=3)
    assert np.array_equal(whole.test, thinned.test)
    assert np.array_equal(whole.validation, thinned.validation)
    assert set(thinned.train) < set(whole.train)
    assert thinned.counts == {"train": [72, 6, 72], "validation": [8, 8, 8], "test": [20, 20, 20]}


def test_test_labels_never_move_the_training_images():
    data = toy_dataset([50, 50], test=[10, 10])
    assert data.test is not None
    flipped = ImageDataset(
        "toy",
        data.classes,
        1,
        (2, 2),
        data.train,
        test=ImageSplit(data.test.images, 1 - data.test.labels, data.test.paths),
    )
    first, second = (make_splits(d, profile=LongTailImbalance(10)) for d in (data, flipped))
    assert np.array_equal(first.train, second.train)
    assert np.array_equal(first.validation, second.validation)


def test_own_splits_are_used_as_they_are():
    data = toy_dataset([20, 20], validation=[3, 4], test=[5, 6])
    manifest = make_splits(data, profile=StepImbalance(4, minority=1))
    assert manifest.sources == {"train": "train", "validation": "validation", "test": "test"}
    assert (manifest.counts["validation"], manifest.counts["test"]) == ([3, 4], [5, 6])
    applied = manifest.apply(data)
    assert applied.validation is not None
    assert np.array_equal(applied.validation.images, data.validation.images)  # type: ignore[union-attr]


def test_seed_option_and_fractions_change_the_split():
    data = toy_dataset([40, 40])
    base = make_splits(data)
    assert make_splits(data).hash == base.hash
    others = [
        make_splits(data, random_state=1),
        make_splits(data, validation_fraction=0.3),
        make_splits(data, test_fraction=0.4),
        make_splits(data, profile=StepImbalance(5, minority=1)),
    ]
    assert len({base.hash, *(other.hash for other in others)}) == 5
    assert len(make_splits(data, validation_fraction=0).validation) == 0


def test_minority_is_the_profile_s_own_or_definition_1_3():
    data = toy_dataset([100, 40, 90], test=[1, 1, 1])
    assert make_splits(data).minority == (1,)
    assert make_splits(data, minority_ratio=3).minority == ()
    assert make_splits(data, minority_ratio=1).minority == (1, 2)
    assert make_splits(data, profile=StepImbalance(1.1, minority=[2])).minority == (2,)


@pytest.mark.parametrize(
    ("counts", "ratio", "minority"),
    [
        ([100, 50, 51, 10], 2, (1, 3)),  # n_c <= n_max / 2
        ([100, 50, 51, 10], 10, (3,)),
        ([7, 7], 1, ()),
    ],
)
def test_find_minority(counts, ratio, minority):
    assert find_minority(np.array(counts), ratio) == minority


def test_groups_stay_together():
    groups = np.repeat(np.arange(30), 10)
    data = toy_dataset([300], groups=groups)
    labels = groups % 2
    train = ImageSplit(data.train.images, labels, data.train.paths, groups=groups)
    data = ImageDataset("toy", ("a", "b"), 1, (2, 2), train)
    manifest = make_splits(data, test_fraction=0.2, validation_fraction=0.25)
    assert manifest.counts == {"train": [90, 90], "validation": [30, 30], "test": [30, 30]}
    parts = [set(groups[part]) for part in (manifest.train, manifest.validation, manifest.test)]
    assert not parts[0] & parts[1] | parts[0] & parts[2] | parts[1] & parts[2]


def test_apply_gives_the_named_images():
    data = toy_dataset([30, 30])
    before = data.train.images.copy()
    manifest = make_splits(data, profile=StepImbalance(4, minority=1), validation_fraction=0)
    applied = manifest.apply(data)
    assert applied.validation is not None
    assert applied.test is not None
    assert len(applied.validation) == 0
    assert applied.validation.images.shape == (0, 1, 2, 2)
    assert np.array_equal(applied.train.images, data.train.images[manifest.train])
    assert applied.test.paths == tuple(data.train.paths[index] for index in manifest.test)
    assert applied.train.class_counts(2).tolist() == manifest.counts["train"]
    assert np.array_equal(data.train.images, before)


def test_save_and_load(tmp_path):
    data = toy_dataset([30, 30])
    manifest = make_splits(data, profile=StepImbalance(4, minority=0.5), random_state=9)
    manifest.save(tmp_path / "manifest.json")
    again = SplitManifest.load(tmp_path / "manifest.json")
    assert again.hash == manifest.hash
    assert again.train.dtype == np.int64
    for name in ("dataset", "fingerprint", "classes", "sources", "minority", "profile", "counts"):
        assert getattr(again, name) == getattr(manifest, name)
    assert again.apply(data).train.paths == manifest.apply(data).train.paths


@pytest.mark.parametrize("change", ["train", "profile", "minority", "counts", "fingerprint", "classes"])
def test_tampered_manifest_is_refused(tmp_path, change):
    path = tmp_path / "manifest.json"
    make_splits(toy_dataset([30, 30]), profile=StepImbalance(4, minority=1)).save(path)
    value = json.loads(path.read_text())
    value[change] = {
        "train": value["train"][1:],
        "profile": {"profile": "natural"},
        "minority": [],
        "counts": {**value["counts"], "train": [1, 1]},
        "fingerprint": "0" * 64,
        "classes": ["c1", "c0"],
    }[change]
    path.write_text(json.dumps(value))
    with pytest.raises(DataError, match="was changed after it was saved"):
        SplitManifest.load(path)


@pytest.mark.parametrize("text", ["{}", "[]", '{"format": 1}', '{"format": 2}', "3"])
def test_file_that_is_no_manifest(tmp_path, text):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(DataError, match="manifest"):
        SplitManifest.load(tmp_path / "x.json")


def test_manifest_that_is_no_json(tmp_path):
    with pytest.raises(RunFolderError, match="cannot read"):
        SplitManifest.load(tmp_path / "x.json")
    (tmp_path / "x.json").write_text("{")
    with pytest.raises(RunFolderError, match="not valid JSON"):
        SplitManifest.load(tmp_path / "x.json")


def test_manifest_of_other_images_is_refused():
    manifest = make_splits(toy_dataset([30, 30]))
    with pytest.raises(DataError, match="this split was made for dataset 'toy'"):
        manifest.apply(toy_dataset([30, 30], seed=7))
    with pytest.raises(DataError, match="this split was made for"):
        manifest.apply(load_dataset("digits"))


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ([5, 1], "class 'c1' of toy has one training image; at least 2 are needed"),
        ([5], "one class only"),
        ([5, 0], "class 'c1' of toy has no training images"),
    ],
)
def test_classes_that_cannot_be_split(counts, message):
    with pytest.raises(DataError, match=message):
        make_splits(toy_dataset(counts))


@pytest.mark.parametrize(
    "options",
    [
        {"validation_fraction": 1},
        {"validation_fraction": -0.1},
        {"test_fraction": -0.1},
        {"test_fraction": 1.5},
        {"test_fraction": float("nan")},
        {"minority_ratio": 0.5},
        {"minority_ratio": float("nan")},
        {"profile": StepImbalance(1e9, minority=1)},
        {"profile": StepImbalance(0, minority=1)},
        {"profile": StepImbalance(2, minority=2)},
    ],
)
def test_options_out_of_range(options):
    with pytest.raises(InputError):
        make_splits(toy_dataset([20, 20]), **options)


def test_default_profile_is_natural():
    manifest = make_splits(toy_dataset([20, 20]))
    assert manifest.profile == NaturalImbalance().to_dict()


@pytest.mark.parametrize(
    ("images", "labels", "options", "message"),
    [
        (np.zeros((4, 2, 2)), [0, 0, 1, 1], {}, "expected uint8"),
        (np.zeros((4, 2, 2), np.uint8), [0, 0, 1], {}, "expected integers"),
        (np.zeros((4, 2, 2), np.uint8), [0, 0, 1, 2], {"classes": ["a", "b"]}, "labels run from 0 to 2"),
        (np.zeros((4, 2, 2), np.uint8), [0, 0, 0, 0], {}, "one class only"),
        (np.zeros((4, 2, 2), np.uint8), [0, 0, 2, 2], {}, "class '1' of arrays has no training images"),
        (np.zeros((0, 2, 2), np.uint8), np.zeros(0, int), {}, "no classes"),
        (np.zeros((2, 2, 2), np.uint8), [0, 1], {"test_labels": np.array([0])}, "give both or neither"),
    ],
)
def test_arrays_that_are_no_dataset(images, labels, options, message):
    with pytest.raises(DataError, match=message):
        dataset_from_arrays(images, np.asarray(labels), **options)


def test_dataset_from_arrays_with_test():
    images = np.arange(4 * 12, dtype=np.uint8).reshape(4, 3, 2, 2)
    labels = np.array([0, 1, 1, 0])
    data = dataset_from_arrays(images, labels, test_images=images[:2], test_labels=labels[:2], classes="ab")
    assert (data.channels, data.classes) == (3, ("a", "b"))
    assert data.test is not None
    assert np.array_equal(data.test.images, images[:2])
    with pytest.raises(DataError, match="test images have shape"):
        dataset_from_arrays(images, labels, test_images=images[:2, :1], test_labels=labels[:2])
