"""Content keys depend on an image's content alone; batches are decoded as single images are."""

from __future__ import annotations

import hashlib
import pickle
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from datasets_helpers import encoded, make_folder, picture, toy_dataset, two_classes
from hypothesis import given
from hypothesis import strategies as st

from counterpoise.datasets import (
    ImageFiles,
    dataset_from_arrays,
    decode_batch,
    load_dataset,
    make_splits,
    read_images,
)
from counterpoise.exceptions import DataError


def b2(content):
    return hashlib.blake2b(content, digest_size=16).digest()


def by_path(split):
    return dict(zip(split.paths, split.content_keys().tolist(), strict=True))


@pytest.fixture
def folder(tmp_path):
    return make_folder(tmp_path / "pets", *two_classes(5))


def test_a_key_is_the_hash_of_the_files_bytes_lazy_decoded_and_in_a_zip(folder, tmp_path):
    with zipfile.ZipFile(tmp_path / "pets.zip", "w") as archive:
        for file in sorted(folder.rglob("*.png")):
            archive.write(file, file.relative_to(folder))
    expected = {name: b2((folder / name).read_bytes()) for name in two_classes(5)}
    for source, in_memory in ((folder, True), (folder, False), (tmp_path / "pets.zip", True)):
        split = load_dataset(source, in_memory=in_memory, image_size=4).train
        keys = split.content_keys()
        assert (keys.dtype, keys.shape) == (np.dtype("S16"), (10,))
        # A trailing zero byte is no part of a NumPy string.
        assert by_path(split) == {name: key.rstrip(b"\0") for name, key in expected.items()}
        assert split.content_keys() is keys


def test_neither_name_nor_label_nor_size_matters_and_every_byte_does(folder, tmp_path):
    content = (folder / "cat/0.png").read_bytes()
    (folder / "dog/copy.png").write_bytes(content)
    before = by_path(load_dataset(folder, image_size=4).train)
    assert before["dog/copy.png"] == before["cat/0.png"]
    assert len(set(before.values())) == 10
    assert by_path(load_dataset(folder, image_size=9, fit="pad").train) == before

    large = encoded(picture(7, (400, 400)), "JPEG", quality=100)
    assert len(large) > 100_000
    middle = bytearray(large)
    middle[len(large) // 2] ^= 1
    (folder / "cat/0.png").write_bytes(large)
    (folder / "cat/1.png").write_bytes(bytes(middle))
    data = load_dataset(folder, in_memory=False).train
    # The stamps are equal: they are of both ends alone.
    assert data.facts[0].stamp == data.facts[1].stamp
    after = by_path(data)
    assert after["cat/0.png"] != after["cat/1.png"]
    assert {k: v for k, v in after.items() if v == before.get(k)} == {
        k: v for k, v in before.items() if k not in ("cat/0.png", "cat/1.png")
    }


@pytest.mark.parametrize("in_memory", [True, False])
def test_subsets_and_splits_keep_the_keys(folder, in_memory):
    data = load_dataset(folder, in_memory=in_memory)
    early = data.train.subset([7, 2])
    keys = data.train.content_keys()
    assert early.content_keys().tolist() == keys[[7, 2]].tolist()
    for file in folder.rglob("*.png"):
        file.unlink()  # known keys need no file
    assert data.train.subset([9, 0]).content_keys().tolist() == keys[[9, 0]].tolist()
    manifest = make_splits(data, random_state=0)
    split = manifest.apply(data)
    assert split.train.content_keys().tolist() == keys[manifest.train].tolist()
    assert pickle.loads(pickle.dumps(data.train)).content_keys().tolist() == keys.tolist()


def test_files_that_cannot_be_decoded_take_their_keys_with_them(folder):
    whole = (folder / "cat/1.png").read_bytes()
    (folder / "cat/1.png").write_bytes(whole[:60] + b"\0" * 40 + whole[100:])
    split = load_dataset(folder, in_memory=True).train
    assert len(split) == 9
    assert by_path(split) == {
        name: b2((folder / name).read_bytes()).rstrip(b"\0") for name in two_classes(5) if name != "cat/1.png"
    }


def test_a_file_that_is_gone_is_named(folder):
    split = replace(load_dataset(folder, in_memory=False).train, keys=None)
    (folder / "dog/3.png").unlink()
    with pytest.raises(DataError, match=r"cannot read image dog/3\.png: No such file"):
        split.content_keys()


@given(st.lists(st.binary(min_size=4, max_size=4), min_size=2, max_size=6))
def test_arrays_have_equal_keys_where_their_pixels_are_equal(contents):
    images = np.frombuffer(b"".join(contents), np.uint8).reshape(-1, 1, 2, 2)
    labels = np.arange(len(images)) % 2
    keys = dataset_from_arrays(images, labels).train.content_keys()
    equal = np.equal.outer(keys, keys)
    assert equal.tolist() == [[a == b for b in contents] for a in contents]
    tall = dataset_from_arrays(images.reshape(-1, 1, 4, 1), labels).train.content_keys()
    assert not np.isin(tall, keys).any()


def test_arrays_agree_on_subsets():
    train = toy_dataset([5, 4]).train
    late, keys = train.subset([8, 1]), train.content_keys()
    assert (
        late.content_keys().tolist() == train.subset([8, 1]).content_keys().tolist() == keys[[8, 1]].tolist()
    )


@pytest.mark.parametrize("threads", [True, False])
def test_a_batch_holds_the_images_in_the_order_asked_for(folder, threads):
    lazy = load_dataset(folder, in_memory=False, image_size=(6, 9)).train.images
    held = load_dataset(folder, in_memory=True, image_size=(6, 9)).train.images
    indices = [9, 3, 3, 0, 5, 1, 8]
    expected = np.stack([lazy[i] for i in indices])
    for images in (lazy, held):
        batch = decode_batch(images, np.array(indices), threads=threads)
        assert batch.dtype == np.uint8
        assert np.array_equal(batch, expected)
    images, _, _ = read_images(folder, channels=3, image_size=(6, 9))
    (folder / "cat/3.png").write_bytes(b"")
    assert isinstance(images, ImageFiles)
    with pytest.raises(DataError, match=r"cannot read image cat/3\.png"):
        decode_batch(images, range(10), threads=threads)
