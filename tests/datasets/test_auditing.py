"""The audit finds what was planted."""

from __future__ import annotations

import json
import shutil
from dataclasses import fields

import numpy as np
import pytest
from datasets_helpers import encoded, make_folder, picture, toy_dataset
from PIL import Image

from counterpoise.datasets import Audit, Proposal, audit, load_dataset


@pytest.fixture
def planted(tmp_path):
    """A folder with one fault of each kind."""
    cats = [f"train/cat/{index}.png" for index in range(30)]
    dogs = [f"train/dog/{index}.png" for index in range(6)]
    root = tmp_path / "my pets"
    make_folder(root, *cats, *dogs, "test/cat/0.png", "test/dog/0.png", size=(16, 16))
    shutil.copy(root / "train/cat/0.png", root / "test/cat/leak.png")
    shutil.copy(root / "train/cat/1.png", root / "train/dog/conflict.png")
    shutil.copy(root / "train/cat/2.png", root / "train/cat/copy.png")
    (root / "train/dog/blue.png").write_bytes(encoded(Image.new("RGB", (16, 16), (0, 0, 255))))
    (root / "train/cat/dot.png").write_bytes(encoded(Image.new("RGB", (1, 1))))
    (root / "train/cat/strip.png").write_bytes(encoded(picture(90, (10, 60))))
    (root / "train/cat/poster.png").write_bytes(encoded(picture(91, (90, 90))))
    (root / "train/cat/broken.png").write_bytes(b"")
    return root


@pytest.mark.parametrize(
    ("in_memory", "fit", "fitted"),
    [
        (True, "crop", "most of it is cut off"),
        (False, "crop", "most of it is cut off"),
        (True, "stretch", "stretching distorts it"),
        (True, "pad", "borders fill most of it up"),
    ],
)
def test_planted_faults_are_found(planted, in_memory, fit, fitted):
    found = audit(load_dataset(planted, in_memory=in_memory, fit=fit), source=str(planted))
    assert found.counts == {"train": (34, 8), "test": (2, 1)}
    assert found.imbalance_ratio == 34 / 8
    assert found.minority == (1,)
    assert [item.path for item in found.unreadable] == ["train/cat/broken.png"]
    assert [group.paths for group in found.conflicts] == [("train/cat/1.png", "train/dog/conflict.png")]
    assert found.conflicts[0].classes == ("cat", "dog")
    assert [group.paths for group in found.leaks] == [("train/cat/0.png", "test/cat/leak.png")]
    assert found.leaks[0].splits == ("train", "test")
    assert {group.paths for group in found.duplicates} == {
        ("train/cat/0.png", "test/cat/leak.png"),
        ("train/cat/1.png", "train/dog/conflict.png"),
        ("train/cat/2.png", "train/cat/copy.png"),
    }
    odd = dict(found.odd[::-1])
    assert set(odd) == {f"train/{name}.png" for name in ("dog/blue", "cat/dot", "cat/strip", "cat/poster")}
    assert odd["train/dog/blue.png"] == "is of a single color"
    assert ("train/cat/dot.png", "is tiny: 1x1 pixels") in found.odd
    assert odd["train/cat/strip.png"] == f"is very long: 60x10 pixels; {fitted}"
    assert odd["train/cat/poster.png"] == "is larger than most: 90x90 pixels"


def test_recommendations_and_proposal(planted):
    found = audit(load_dataset(planted), source=str(planted), data_dir="my sets")
    words = "\n".join(found.recommendations)
    for expected in (
        "1 picture has more than one label, such as train/cat/1.png (cat), also train/dog/conflict.png (dog)",
        "1 picture is in more than one split",
        "1 file is left out, such as train/cat/broken.png (empty file (0 bytes))",
        "1 picture occurs more than once in one class",
        "dog has fewer than 10 training images",
        "The largest class has 4.25 times the images of the smallest; dog is rare",
    ):
        assert expected in words
    assert "no test split" not in words
    assert found.proposal == Proposal(
        source=str(planted),
        data_dir="my sets",
        imbalance=None,
        ratio=None,
        minority=None,
        methods=("bl", "bl-cw", "balanced-softmax", "ados"),
        repeats=3,
        out="out/my-pets",
    )


def test_findings_are_json(planted):
    found = audit(load_dataset(planted))
    value = json.loads(json.dumps(found.to_dict()))
    assert value["counts"]["train"] == [34, 8]
    assert value["unreadable"] == [{"path": "train/cat/broken.png", "reason": "empty file (0 bytes)"}]
    assert [group["leaks"] for group in value["duplicates"]].count(True) == 1
    assert list(value) == [*(field.name for field in fields(Audit)[:-1]), "recommendations"]


def test_balanced_built_in_set_is_to_be_made_imbalanced():
    found = audit(load_dataset("digits"), source="digits")
    proposal = found.proposal
    assert (proposal.imbalance, proposal.ratio, proposal.minority) == ("step", 20, 4)
    assert (proposal.source, proposal.data_dir, proposal.out) == ("digits", None, "out/digits")
    assert audit(load_dataset("digits"), source="./digits").proposal.imbalance is None
    assert any("no test split" in words for words in found.recommendations)
    assert (found.duplicates, found.odd, found.minority) == ((), (), ())


def test_minority_ratio_changes_the_minority():
    data = toy_dataset([100, 40])
    assert audit(data).minority == (1,)
    assert audit(data, minority_ratio=3).minority == ()


def test_file_broken_after_loading_is_reported(planted):
    data = load_dataset(planted, in_memory=False)
    (planted / "train/cat/7.png").write_bytes(b"gone")
    found = audit(data)
    assert "train/cat/7.png" in [item.path for item in found.unreadable]


def test_progress_and_untouched_input():
    data = toy_dataset([1500, 1500])
    before = data.train.images.copy()
    calls: list[tuple[int, int]] = []
    audit(data, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(1024, 3000), (2048, 3000), (3000, 3000)]
    assert np.array_equal(data.train.images, before)
