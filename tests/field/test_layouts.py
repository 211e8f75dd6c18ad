"""Folders and zips as people have them: how splits and classes are named, and what lies beside them."""

import json
import unicodedata
import zipfile

import pytest
from datasets_helpers import make_folder, picture, two_classes

from counterpoise.datasets import load_dataset, read_images
from counterpoise.exceptions import DataError
from counterpoise.inference.trust import sort_images

CLASSES = ("cat", "dog")


def sizes(dataset):
    return {name: len(split) for name, split in dataset.splits.items()}


@pytest.mark.parametrize(
    "names",
    [
        ("trn", "val", "tst"),
        ("train_set", "val_set", "test_set"),
        ("Training", "Validation", "Testing"),
        ("trainset", "valset", "testset"),
        ("train-images", "dev", "test images"),
        ("seg_train/seg_train", "dev", "seg_test/seg_test"),
        ("data/train", "data/valid", "data/test"),
    ],
)
def test_split_folders_by_any_usual_name(tmp_path, names):
    files = [f"{split}/{name}" for split in names for name in two_classes(2)]
    data = load_dataset(make_folder(tmp_path / "set", *files))
    assert data.classes == CLASSES
    assert sizes(data) == {"train": 4, "validation": 4, "test": 4}


def test_the_intel_scenes_as_downloaded(tmp_path):
    files = [f"seg_{split}/seg_{split}/{name}" for split in ("train", "test") for name in two_classes(2)]
    make_folder(tmp_path / "intel", *files, "seg_pred/seg_pred/1.png", "seg_pred/seg_pred/2.png")
    with pytest.warns(UserWarning, match=r"ignored beside train: seg_pred \(2 images\)"):
        data = load_dataset(tmp_path / "intel")
    assert data.classes == CLASSES
    assert sizes(data) == {"train": 4, "test": 4}


def test_splits_without_training_images_are_no_classes(tmp_path):
    files = [f"{split}/{name}" for split in ("val", "test") for name in two_classes(2)]
    with pytest.raises(DataError, match="holds test and val, but no training images; rename one to train"):
        load_dataset(make_folder(tmp_path / "set", *files))
    assert load_dataset(tmp_path / "set" / "val").classes == CLASSES


@pytest.mark.parametrize("stray", ["cover.png", "data/cover.png", "data/cat.png"])
def test_a_stray_picture_beside_the_class_folders_makes_no_class(tmp_path, stray):
    make_folder(tmp_path / "set", *(f"data/{name}" for name in two_classes(2)), stray)
    data = load_dataset(tmp_path / "set")
    assert data.classes == CLASSES
    assert data.skipped == ((stray, "is in no class folder"),)


def test_every_class_with_the_same_folders_is_doubtful(tmp_path):
    make_folder(tmp_path / "set", *(f"site{s}/{name}" for s in "AB" for name in two_classes(2)))
    with pytest.warns(UserWarning, match=r"every class holds the same folders \(cat, dog\)"):
        assert load_dataset(tmp_path / "set").classes == ("siteA", "siteB")


@pytest.mark.filterwarnings("error")
def test_cases_below_a_class_are_not_doubtful(tmp_path):
    make_folder(tmp_path, "cat/case1/1.png", "cat/case2/1.png", "dog/case3/1.png", "dog/case1/2.png")
    assert load_dataset(tmp_path).classes == CLASSES


def test_folders_of_systems_are_skipped(tmp_path):
    make_folder(tmp_path, *two_classes(2), "cat/@eaDir/0.png", "@eaDir/x/0.png", "#recycle/cat/9.png")
    assert sizes(load_dataset(tmp_path)) == {"train": 4}


def test_composed_and_decomposed_names_are_one_class(tmp_path):
    composed, decomposed = (unicodedata.normalize(form, "Käfer") for form in ("NFC", "NFD"))
    make_folder(
        tmp_path, f"train/{composed}/1.png", "train/dog/1.png", f"test/{decomposed}/2.png", "test/dog/2.png"
    )
    data = load_dataset(tmp_path)
    assert data.classes == ("dog", composed)
    assert data.test is not None
    assert data.test.labels.tolist() == [0, 1]
    (tmp_path / "list.csv").write_text(
        f"path,label\ntrain/{composed}/1.png,{composed}\ntest/{decomposed}/2.png,{decomposed}\ntrain/dog/1.png,dog\n",
        encoding="utf-8",
    )
    assert load_dataset(tmp_path / "list.csv").train.labels.tolist() == [1, 1, 0]


def test_zip_names_without_a_flag_are_read_as_utf8(tmp_path):
    path = tmp_path / "set.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("Kafer/1.png", "dog/1.png"):
            picture(0).save(tmp_path / "1.png")
            archive.write(tmp_path / "1.png", name)
    # The same length in bytes, without the flag that says UTF-8: as older programs for Windows and macOS write.
    path.write_bytes(path.read_bytes().replace(b"Kafer/", "Käfe/".encode()))
    assert load_dataset(path).classes == ("dog", "Käfe")
    path.write_bytes(path.read_bytes().replace("Käfe/".encode(), b"K\x84\x84er/"))
    with pytest.warns(UserWarning, match="does not say how its names are encoded") as said:
        assert load_dataset(path).classes == ("dog", "Kääer")
    assert len({str(warning.message) for warning in said}) == 1


def test_two_classes_linked_to_one_folder_are_said(tmp_path):
    make_folder(tmp_path / "set", *two_classes(2))
    (tmp_path / "set" / "lynx").symlink_to(tmp_path / "set" / "cat")
    with pytest.warns(UserWarning, match=r"lynx is a link to a folder that is read under another name"):
        assert load_dataset(tmp_path / "set").classes == CLASSES


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("marker", ["run.json", "study.json", "fit.json", "explain.json"])
def test_what_the_product_wrote_is_never_data(tmp_path, marker):
    make_folder(tmp_path, *two_classes(2), "out/images/1.png", "out/cat/1.png", "cat/out/2.png")
    for folder in ("out", "cat/out"):
        (tmp_path / folder / marker).write_text(json.dumps({}))
    data = load_dataset(tmp_path)
    assert data.classes == CLASSES
    assert sizes(data) == {"train": 4}


def test_what_the_product_wrote_is_no_data_in_a_zip_either(tmp_path):
    path = tmp_path / "set.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in (*two_classes(2), "cat/maps/1.png", "maps/1.png"):
            picture(0).save(tmp_path / "1.png")
            archive.write(tmp_path / "1.png", f"set/{name}")
        archive.writestr("set/cat/maps/explain.json", "{}")
        archive.writestr("set/maps/explain.json", "{}")
    data = load_dataset(path)
    assert data.classes == CLASSES
    assert sizes(data) == {"train": 4}
    images, paths, _ = read_images(path, channels=3, image_size=(4, 4))
    assert (len(images), any("maps" in name for name in paths)) == (4, False)


def test_sorted_copies_are_data_only_where_they_are_asked_for(tmp_path):
    make_folder(tmp_path / "set", *two_classes(2))
    images, *_ = read_images(tmp_path / "set", channels=3, image_size=(4, 4))
    sort_images(images, ["cat", "cat", "dog", "dog"], tmp_path / "set" / "sorted")
    assert load_dataset(tmp_path / "set").classes == CLASSES
    assert sizes(load_dataset(tmp_path / "set" / "sorted")) == {"train": 4}
