"""Fingerprints, splits and saved manifests of fixed datasets, as recorded once: runs are found again by them."""

from __future__ import annotations

import hashlib
import zipfile
from dataclasses import replace

import numpy as np
import pytest

from counterpoise.datasets import (
    LinearImbalance,
    LongTailImbalance,
    NaturalImbalance,
    StepImbalance,
    dataset_from_arrays,
    load_dataset,
    make_splits,
)


def grouped_arrays():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (120, 3, 5, 4), dtype=np.uint8)
    labels = np.repeat([0, 1, 2], [60, 40, 20])
    data = dataset_from_arrays(
        images,
        labels,
        classes=["kot", "pies", "łoś"],
        name="pets",
        test_images=images[:9],
        test_labels=labels[::14],
    )
    return replace(data, train=replace(data.train, groups=np.arange(120) // 2))


def pgm_files():
    """Names of class2 and class10, in three splits, each with a content of its own."""
    names = [
        f"{split}/{label}/{index}.pgm"
        for split, count in (("train", 11), ("Valid", 2), ("test", 3))
        for label in ("class10", "class2")
        for index in range(count)
    ]
    return {name: b"P5 2 2 255\n" + hashlib.sha256(name.encode()).digest()[:4] for name in names}


def folder(root):
    for name, content in pgm_files().items():
        (root / "signs" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "signs" / name).write_bytes(content)
    return load_dataset(root / "signs")


def archive(root):
    with zipfile.ZipFile(root / "signs.zip", "w") as file:
        for name, content in pgm_files().items():
            file.writestr(zipfile.ZipInfo(f"top/{name}"), content)
    return load_dataset(root / "signs.zip", in_memory=False)


CASES = {
    "digits": (lambda _: load_dataset("digits"), StepImbalance(20, minority=3)),
    "arrays": (lambda _: grouped_arrays(), LinearImbalance(4)),
    "folder": (folder, LongTailImbalance(3)),
    "zip": (archive, NaturalImbalance()),
}
# fingerprint, hash of the manifest, SHA-256 of the saved file
RECORDED = {
    "digits": (
        "8b3fb0944834cfbcbf89657b4184ed07b3cdcb8acfbe9174e06f5e689013ddac",
        "9f29bf982776505296323240451e9ad4421c699e8fd6102a3c835d4d49d77d1f",
        "f21ce12a512e76e90e0327576a284bf7245c8cc14540e0dbc06a28c68df356d6",
    ),
    "arrays": (
        "73bfcbf565eb920b0fe7e1d878f400752083249735dfc1320ad8a3bf1af61263",
        "daf77bf4cce2d04813177038602ad535956641bfefb4e28c24bfb18e538ff99d",
        "8eb53cf895304c39c664cffde88d04b74cedc7da645f2c36e64c7d2e2749a726",
    ),
    "folder": (
        "3264a272249b11eb9a8570f8b13c75cb735ef1019e0044425d33bd2cf6a595b7",
        "494dd599142eb38cc224566d865168a3071ede9153d5fe327416a4bede07a707",
        "0280f14b3585fdfc2953d780d93abe2e85bd774af3cde80ace57a7c1fe9a9861",
    ),
    "zip": (
        "84f40f1684222c0a34fae72413ad0110f8bb252c91d08f686247e18ea1364c66",
        "47bcf4f256f7fd824c699b7d3449286cdbf9c5004a36772f63767ccf150453b5",
        "afcce715289f86a24ca70874f3275a5af8a4d9eb27f41e9398aabfae3f30ba87",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_identity_is_the_recorded_one(tmp_path, name):
    load, profile = CASES[name]
    data = load(tmp_path)
    manifest = make_splits(data, profile=profile, random_state=7)
    manifest.save(tmp_path / "manifest.json")
    saved = hashlib.sha256((tmp_path / "manifest.json").read_bytes()).hexdigest()
    assert (data.fingerprint, manifest.hash, saved) == RECORDED[name]
