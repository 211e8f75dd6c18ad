"""Folders, zips and CSVs: layouts, faults, and what is said about them."""

from __future__ import annotations

import os
import pickle
import struct
import zipfile
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
from datasets_helpers import REAL_DATA, encoded, make_folder, make_zip, picture, two_classes
from PIL import Image

from counterpoise.datasets import ImageFiles, load_dataset, read_images
from counterpoise.exceptions import DataError, InputError, UnknownNameError


def pixels(seed: int) -> np.ndarray:
    return np.asarray(picture(seed)).transpose(2, 0, 1)


# -- folders
# ----------------------------------------------------------------------------------------------------


def test_folder_of_class_folders(tmp_path):
    root = make_folder(tmp_path / "pets", "dog/1.png", "cat10/1.png", "cat2/b.PNG", "cat2/deep/a.png")
    data = load_dataset(root)
    assert data.name == "pets"
    assert data.classes == ("cat2", "cat10", "dog")
    assert data.train.paths == ("cat2/b.PNG", "cat2/deep/a.png", "cat10/1.png", "dog/1.png")
    assert data.train.labels.tolist() == [0, 0, 1, 2]
    assert np.array_equal(data.train.images, np.stack([pixels(seed) for seed in (2, 3, 1, 0)]))
    assert (data.test, data.validation, data.skipped) == (None, None, ())


def test_folder_with_splits(tmp_path):
    names = [f"{split}/{name}" for split in ("Train", "VALID", "test") for name in two_classes(2)]
    data = load_dataset(make_folder(tmp_path, *names))
    assert {name: len(split) for name, split in data.splits.items()} == {
        "train": 4,
        "validation": 4,
        "test": 4,
    }
    assert data.validation is not None
    assert data.validation.paths[0] == "VALID/cat/0.png"


def test_train_may_be_a_class(tmp_path):
    data = load_dataset(make_folder(tmp_path, "train/1.png", "plane/1.png"))
    assert data.classes == ("plane", "train")


def test_images_astray_in_train_are_reported(tmp_path):
    names = [f"{split}/{name}" for split in ("train", "test") for name in two_classes(2)]
    data = load_dataset(make_folder(tmp_path, *names, "train/stray.png"))
    assert data.classes == ("cat", "dog")
    assert data.skipped == (("train/stray.png", "is in no class folder"),)


def test_name_that_is_no_text_is_reported(tmp_path):
    make_folder(tmp_path, *two_classes(1))
    name = os.fsdecode(b"\xff.png")
    try:
        (tmp_path / "cat" / name).write_bytes(encoded(picture()))
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    data = load_dataset(tmp_path)
    assert data.skipped == (("cat/?.png", "its name is not valid UTF-8; rename it"),)
    images, paths, skipped = read_images(tmp_path, channels=3, image_size=(4, 4))
    assert (len(images), len(paths)) == (2, 2)
    assert skipped[0].path.endswith("cat/?.png")


def test_everything_under_one_top_folder(tmp_path):
    data = load_dataset(make_folder(tmp_path, *(f"a/b/train/{name}" for name in two_classes(2))))
    assert data.classes == ("cat", "dog")
    assert data.train.paths[0] == "a/b/train/cat/0.png"


def test_hidden_and_foreign_files_are_ignored(tmp_path):
    make_folder(tmp_path, *two_classes(1), ".git/x.png", "__MACOSX/cat/0.png", "cat/._0.png", ".cat.png")
    (tmp_path / "cat/notes.txt").write_text("no image")
    assert load_dataset(tmp_path).train.paths == ("cat/0.png", "dog/0.png")


def test_image_outside_of_class_folders_is_reported(tmp_path):
    data = load_dataset(make_folder(tmp_path, *two_classes(1), "stray.png"))
    assert data.skipped == (("stray.png", "is in no class folder"),)


def test_strangers_beside_train_are_named_in_a_warning(tmp_path):
    make_folder(tmp_path, *(f"train/{name}" for name in two_classes(1)), "pred/cat/1.png")
    with pytest.warns(UserWarning, match=r"ignored beside train: pred \(1 images\)"):
        assert len(load_dataset(tmp_path).train) == 2


def test_linked_class_folders_are_followed_but_not_in_circles(tmp_path):
    make_folder(tmp_path / "data", "cat/1.png")
    make_folder(tmp_path / "elsewhere", "1.png")
    (tmp_path / "data/dog").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "data/cat/loop").symlink_to(tmp_path / "data/cat")
    assert load_dataset(tmp_path / "data").train.paths == ("cat/1.png", "dog/1.png")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "holds no images"),
        (["1.png", "2.png"], "are in no class folders"),
        (["cat/1.png", "cat/2.png"], r"one class only \('cat'\)"),
        (["train/cat/1.png", "train/dog/1.png", "test/cow/1.png"], "class 'cow' is in the test split"),
        (["train/cat/1.png", "train/dog/1.png", "val/cow/1.png"], "class 'cow' is in the validation split"),
    ],
)
def test_folders_that_cannot_be_used(tmp_path, names, message):
    make_folder(tmp_path, *names)
    with pytest.raises(DataError, match=message) as caught:
        load_dataset(tmp_path)
    assert "\n" not in str(caught.value)


def test_empty_class_folder(tmp_path):
    make_folder(tmp_path, *two_classes(1))
    (tmp_path / "cow").mkdir()
    with pytest.warns(UserWarning, match=r"class folder cow of .* holds no images; it is left out"):
        assert load_dataset(tmp_path).classes == ("cat", "dog")


def test_missing_sources(tmp_path):
    with pytest.raises(DataError, match="no such file or folder"):
        load_dataset(tmp_path / "nothing")
    with pytest.raises(UnknownNameError, match="did you mean 'fashion-mnist'"):
        load_dataset("fashion-mnst")
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(DataError, match=r"neither a folder nor a \.zip nor a table"):
        load_dataset(tmp_path / "notes.txt")


def test_relative_source_is_also_sought_in_the_data_folder(tmp_path, monkeypatch):
    make_folder(tmp_path / "store/pets", *two_classes(1))
    assert load_dataset("pets", data_dir=tmp_path / "store").name == "pets"
    with pytest.raises(UnknownNameError):
        load_dataset("pets")
    monkeypatch.setenv("COUNTERPOISE_DATA", str(tmp_path / "store"))
    assert load_dataset("pets").name == "pets"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_folder_without_permission(tmp_path):
    make_folder(tmp_path, *two_classes(1))
    (tmp_path / "cat").chmod(0)
    try:
        with pytest.raises(DataError, match="Permission denied"):
            load_dataset(tmp_path)
    finally:
        (tmp_path / "cat").chmod(0o755)


# -- odd images
# --------------------------------------------------------------------------------------------------


def spoil(root: Path) -> None:
    """Put one file of each unreadable kind into the class folders."""
    (root / "cat/empty.png").write_bytes(b"")
    (root / "cat/text.png").write_text("I am a text")
    (root / "dog/short.jpg").write_bytes(encoded(picture(1, (64, 64)), "JPEG")[:-200])
    (root / "dog/short.png").write_bytes(encoded(picture(1, (64, 64)))[:-2000])


@pytest.mark.parametrize("in_memory", [True, False])
def test_unreadable_files_are_reported_and_skipped(tmp_path, in_memory):
    spoil(make_folder(tmp_path, *two_classes(2)))
    data = load_dataset(tmp_path, in_memory=in_memory)
    assert {item.path: item.reason for item in data.skipped} == {
        "cat/empty.png": "empty file (0 bytes)",
        "cat/text.png": "not an image in a known format",
        "dog/short.jpg": "the file is cut short (truncated)",
        "dog/short.png": "the file is cut short (truncated)",
    }
    assert data.train.paths == tuple(two_classes(2))
    assert data.train.in_memory is in_memory


def test_strict_makes_them_an_error(tmp_path):
    spoil(make_folder(tmp_path, *two_classes(2)))
    with pytest.raises(DataError, match=r"cannot use cat/empty\.png: empty file \(0 bytes\) \(and 3 more\)"):
        load_dataset(tmp_path, strict=True)


def test_damage_in_the_middle_is_found_when_decoding(tmp_path):
    """A JPEG whose two ends are fine passes the first look."""
    make_folder(tmp_path, *two_classes(2))
    content = bytearray(encoded(picture(1, (64, 64)), "PNG"))
    content[4000:4040] = bytes(40)
    (tmp_path / "cat/hole.png").write_bytes(content)
    assert [item.path for item in load_dataset(tmp_path).skipped] == ["cat/hole.png"]
    with pytest.raises(DataError, match=r"cannot use cat/hole\.png"):
        load_dataset(tmp_path, strict=True)
    lazy = load_dataset(tmp_path, in_memory=False)
    with pytest.raises(DataError, match=r"cannot read image cat/hole\.png: .*; repair or remove"):
        lazy.train.images[lazy.train.paths.index("cat/hole.png")]


def test_class_whose_files_are_all_unreadable(tmp_path):
    make_folder(tmp_path, *two_classes(1))
    (tmp_path / "cow").mkdir()
    (tmp_path / "cow/1.jpg").write_text("moo")
    with pytest.raises(DataError, match=r"class 'cow' of .* has no readable image: cow/1\.jpg: not an image"):
        load_dataset(tmp_path)


def test_gray_only_if_all_are_gray(tmp_path):
    make_folder(tmp_path, *two_classes(2), mode="L")
    assert load_dataset(tmp_path).train.images.shape == (4, 1, 12, 12)
    make_folder(tmp_path, "cat/color.png")
    assert load_dataset(tmp_path).train.images.shape == (5, 3, 12, 12)


def test_image_size_is_the_common_one_or_a_square(tmp_path):
    make_folder(tmp_path, *two_classes(2), size=(10, 14))
    make_folder(tmp_path, "cat/odd.png", size=(1, 1))
    assert load_dataset(tmp_path).image_size == (10, 14)
    for number, size in enumerate([(20, 30), (40, 24), (300, 500), (26, 26), (28, 400)]):
        make_folder(tmp_path, f"dog/{number}.png", size=size)
    data = load_dataset(tmp_path)
    assert data.image_size == (22, 22)  # the median of 1, 10, 10, 20, 24, 26, 28, 300
    assert data.train.images.shape == (8, 3, 22, 22)
    assert load_dataset(tmp_path, image_size=(6, 8)).train.images.shape == (8, 3, 6, 8)
    assert load_dataset(tmp_path, image_size=5).image_size == (5, 5)


def test_large_images_are_capped(tmp_path):
    data = load_dataset(make_folder(tmp_path, *two_classes(1), size=(300, 400)), in_memory=False)
    assert data.image_size == (224, 224)


@pytest.mark.parametrize("image_size", [0, (3, -1), (1, 2, 3), 10**9])
def test_bad_image_size(image_size):
    with pytest.raises(InputError, match="`image_size` is"):
        load_dataset("digits", image_size=image_size)


def test_bad_in_memory(tmp_path):
    with pytest.raises(InputError, match="in_memory is 'yes'"):
        load_dataset(make_folder(tmp_path, *two_classes(1)), in_memory="yes")
    with pytest.raises(InputError, match="digits is held in memory"):
        load_dataset("digits", in_memory=False)


def test_progress_counts_to_the_end(tmp_path):
    calls: list[tuple[int, int]] = []
    names = [f"{split}/{name}" for split in ("train", "test") for name in two_classes(3)]
    load_dataset(make_folder(tmp_path, *names), progress=lambda done, total: calls.append((done, total)))
    assert calls[-1] == (24, 24)
    assert calls == sorted(calls)


# -- zips
# --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("top", ["", "pets/"])
def test_zip_is_read_in_place(tmp_path, top):
    names = [f"{top}{split}/{name}" for split in ("train", "test") for name in two_classes(2)]
    data = load_dataset(make_zip(tmp_path / "pets.zip", *names, "__MACOSX/train/cat/._0.png"))
    assert (data.name, data.classes) == ("pets", ("cat", "dog"))
    assert data.train.paths == tuple(names[:4])
    assert np.array_equal(data.train.images, np.stack([pixels(seed) for seed in range(4)]))
    assert [path.name for path in tmp_path.iterdir()] == ["pets.zip"]


@pytest.mark.parametrize(
    "name",
    ["../evil.png", "cat/../../evil.png", "/etc/evil.png", "C:/evil.png", "..\\evil.png", "C:\\evil.png"],
)
def test_zip_naming_files_outside_of_itself(tmp_path, name):
    with pytest.raises(DataError, match="names a file outside of itself"):
        load_dataset(make_zip(tmp_path / "x.zip", *two_classes(1), name))


def test_zip_with_backward_slashes_inside_is_read(tmp_path):
    names = [name.replace("/", "\\") for name in two_classes(1)]
    assert load_dataset(make_zip(tmp_path / "x.zip", *names)).train.paths == ("cat/0.png", "dog/0.png")


def test_zip_bomb_of_one_member(tmp_path):
    path = make_zip(tmp_path / "x.zip", *two_classes(1))
    with (
        zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive,
        archive.open("cat/b.bmp", "w") as member,
    ):
        for _ in range(60):
            member.write(bytes(1_000_000))
    with pytest.raises(DataError, match=r"zip bomb: 'cat/b.bmp' would unpack from [0-9,]+ to 60,000,000"):
        load_dataset(path)


def test_zip_bomb_of_many_members(tmp_path):
    """Sizes as the directory declares them; nothing needs to be unpacked to find out."""
    path = make_zip(tmp_path / "x.zip", *(f"cat/{index}.png" for index in range(30)), "dog/1.png")
    content = bytearray(path.read_bytes())
    position = content.find(b"PK\x01\x02")
    while position >= 0:
        content[position + 24 : position + 28] = struct.pack("<I", 45_000_000)
        position = content.find(b"PK\x01\x02", position + 4)
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"would unpack .* MB to 1\.4 GB: that is a zip bomb"):
        load_dataset(path)


def test_encrypted_zip(tmp_path):
    path = make_zip(tmp_path / "x.zip", *two_classes(1))
    content = bytearray(path.read_bytes())
    content[content.find(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match="is encrypted"):
        load_dataset(path)


@pytest.mark.parametrize("content", [b"", b"no zip at all", b"PK\x03\x04 and then nothing"])
def test_file_that_is_no_zip(tmp_path, content):
    (tmp_path / "x.zip").write_bytes(content)
    with pytest.raises(DataError, match="is not a usable zip"):
        load_dataset(tmp_path / "x.zip")


def test_truncated_zip(tmp_path):
    path = make_zip(tmp_path / "x.zip", *two_classes(3))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match="is not a usable zip"):
        load_dataset(path)


def test_damaged_member_is_skipped(tmp_path):
    path = make_zip(tmp_path / "x.zip", *two_classes(3))
    content = bytearray(path.read_bytes())
    position = content.find(b"IDAT") + 10
    content[position] ^= 0xFF
    path.write_bytes(content)
    (skipped,) = load_dataset(path).skipped
    assert skipped.path == "cat/0.png"
    assert "damaged inside the zip" in skipped.reason


# -- CSV
# ---------------------------------------------------------------------------------------------------------


def test_csv(tmp_path):
    make_folder(tmp_path, "a/1.png", "a/2.png", "b 3.png")
    (tmp_path / "list.csv").write_text(
        'split,path,label\ntrain,a/1.png,"yes, so"\nTRAIN,"b 3.png",no\n\ntest,a/2.png,no\n', "utf-8-sig"
    )
    data = load_dataset(tmp_path / "list.csv")
    assert data.classes == ("no", "yes, so")
    assert data.train.paths == ("a/1.png", "b 3.png")
    assert data.train.labels.tolist() == [1, 0]
    assert data.test is not None
    assert np.array_equal(data.test.images[0], pixels(1))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty; expected the columns"),
        ("path,label\n", "lists no images"),
        ("path,split\n1.png,train\n", "line 1: column 'label' is missing among path, split; name it so"),
        ("path,label,label\n1.png,a,a\n", "line 1: label and label may all be the label"),
        ("path,label\n1.png,a\nno.png,b\n", r"line 3: no file no\.png"),
        ("path,label\n1.png,a\n2.png,\n", "line 3: the label is empty"),
        ("path,label\n,a\n", "line 2: the path is empty"),
        ("path,label\n1.png,a\n2.png\n", "line 3: found 1 cells, expected 2"),
        ("path,label,split\n1.png,a,train\n2.png,b,trian\n", "line 3: unknown split 'trian'"),
        ("path,label\n1.png,a\n2.png,b\n1.png,b\n", r"line 4: 1\.png is already named on line 2"),
        ("path,label,split\n1.png,a,train\n2.png,b,test\n", "class 'b' is in the test split"),
        ("path,label\n1.png,a\n2.png,a\n", "one class only"),
        ("path,label,split\n1.png,a,test\n2.png,b,test\n", "has no training images"),
    ],
)
def test_faults_in_a_csv_are_named_by_line(tmp_path, text, message):
    make_folder(tmp_path, "1.png", "2.png")
    (tmp_path / "list.csv").write_text(text, "utf-8")
    with pytest.raises(DataError, match=message) as caught:
        load_dataset(tmp_path / "list.csv")
    assert "\n" not in str(caught.value)


# -- lazy reading, processes, fingerprints
# -----------------------------------------------------------------------


def _sum_of(images: ImageFiles, index: int) -> int:
    return int(images[index].sum())


@pytest.mark.parametrize("kind", ["folder", "zip"])
@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_lazy_images_equal_decoded_ones_in_any_process(tmp_path, kind, start):
    names = two_classes(3)
    source = make_folder(tmp_path / "x", *names) if kind == "folder" else make_zip(tmp_path / "x.zip", *names)
    eager = load_dataset(source, in_memory=True, image_size=8).train
    lazy = load_dataset(source, in_memory=False, image_size=8).train
    assert isinstance(lazy.images, ImageFiles)
    assert (lazy.images.shape, lazy.images.dtype) == (eager.images.shape, eager.images.dtype)
    assert np.array_equal(np.stack([lazy.images[index] for index in range(6)]), eager.images)
    assert np.array_equal(pickle.loads(pickle.dumps(lazy.images))[4], eager.images[4])
    part = lazy.subset([5, 0])
    assert part.paths == (names[5], names[0])
    assert np.array_equal(part.images[1], eager.images[0])
    with ProcessPoolExecutor(1, mp_context=get_context(start)) as pool:
        assert pool.submit(_sum_of, lazy.images, 2).result() == int(eager.images[2].sum())


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_fingerprint_follows_the_content_not_the_way_of_reading(tmp_path, kind):
    def load(names: list[str], where: str, **options: object) -> str:
        path = tmp_path / where
        path.mkdir()
        source = make_folder(path / "x", *names) if kind == "folder" else make_zip(path / "x.zip", *names)
        return load_dataset(source, **options).fingerprint  # type: ignore[arg-type]

    names = two_classes(2)
    first = load(names, "1")
    assert load(names, "2", in_memory=False) == first
    assert load(names, "3", image_size=4) == first
    assert load([*names[::-1]], "4") != first  # same names, other pixels
    assert load([*names, "dog/9.png"], "5") != first


def test_fingerprint_of_arrays():
    digits = load_dataset("digits")
    changed = digits.train.images.copy()
    changed[5, 0, 3, 3] ^= 1
    other = load_dataset("digits")
    assert other.fingerprint == digits.fingerprint
    object.__setattr__(other.train, "images", changed)
    object.__delattr__(other, "fingerprint")
    assert other.fingerprint != digits.fingerprint


# -- inputs of predict
# -------------------------------------------------------------------------------------------


def test_read_images_from_files_folders_and_zips(tmp_path):
    folder = make_folder(tmp_path / "photos", "b.png", "deep/a10.png", "deep/a9.png", ".hidden.png")
    (folder / "broken.jpg").write_bytes(b"")
    archive = make_zip(tmp_path / "x.zip", "z/1.png")
    images, paths, skipped = read_images([folder, archive, folder / "b.png"], channels=3, image_size=(12, 12))
    assert paths == (
        f"{folder}/b.png",
        f"{folder}/deep/a9.png",
        f"{folder}/deep/a10.png",
        f"{archive}/z/1.png",
        f"{folder}/b.png",
    )
    assert [int(images[index].sum()) for index in range(5)] == [int(pixels(s).sum()) for s in (0, 2, 1, 0, 0)]
    assert skipped == ((f"{folder}/broken.jpg", "empty file (0 bytes)"),)
    gray, _, _ = read_images(folder / "b.png", channels=1, image_size=(4, 6))
    assert gray[0].shape == (1, 4, 6)


def test_read_images_that_cannot(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "a.png").write_text("text")
    (tmp_path / "a.txt").write_text("text")
    for source, message in [
        (tmp_path / "none.png", "no such file"),
        (tmp_path / "empty", "no images in"),
        ([], "an empty list"),
        (tmp_path / "a.txt", "is no image, folder or zip"),
        (tmp_path / "a.png", r"none of the images is readable: cannot use .*a\.png: not an image"),
    ]:
        with pytest.raises(DataError, match=message):
            read_images(source, channels=3, image_size=(8, 8))
    make_folder(tmp_path, "good.png")
    assert len(read_images(tmp_path, channels=3, image_size=(8, 8))[0]) == 1
    with pytest.raises(DataError, match=r"cannot use .*a\.png"):
        read_images(tmp_path, channels=3, image_size=(8, 8), strict=True)


# -- real data
# ---------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.skipif(not (REAL_DATA / "cifar10.zip").exists(), reason="needs ../shared/data/cifar10.zip")
def test_cifar10_zip():
    data = load_dataset(REAL_DATA / "cifar10.zip")
    assert data.train.images.shape == (50000, 3, 32, 32)
    assert data.test is not None
    assert data.train.class_counts(10).tolist() == [5000] * 10
    assert data.test.class_counts(10).tolist() == [1000] * 10
    with zipfile.ZipFile(REAL_DATA / "cifar10.zip") as archive, archive.open(data.test.paths[1234]) as file:
        assert np.array_equal(np.asarray(Image.open(file)).transpose(2, 0, 1), data.test.images[1234])


@pytest.mark.skipif(not (REAL_DATA / "intel.zip").exists(), reason="needs ../shared/data/intel.zip")
def test_intel_zip_lazily():
    data = load_dataset(REAL_DATA / "intel.zip", in_memory=False)
    assert data.test is not None
    assert (len(data.train), len(data.test), data.image_size, data.channels) == (8741, 2158, (100, 100), 3)
    assert data.train.images[17].shape == (3, 100, 100)
