"""Tables as spreadsheets write them: delimiters, encodings, names of columns, paths and classes."""

import json
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from datasets_helpers import make_folder, picture, two_classes
from PIL import Image

from counterpoise.cli.main import run
from counterpoise.datasets import audit, dataset_from_arrays, load_dataset
from counterpoise.datasets.loading import _convert_channels
from counterpoise.exceptions import DataError, InputError, UnknownNameError
from counterpoise.inference import evaluate_run, load_for_run, predict_images
from counterpoise.runs import RunFolder

QUICK = ("--method", "bl", "--backbone", "tinynet", "--epochs", "1", "--batch-size", "16", "--threads", "1")


def write_table(folder, text, name="list.csv", encoding="utf-8"):
    path = folder / name
    path.write_bytes(text.encode(encoding))
    return path


@pytest.fixture
def four(tmp_path):
    """Four images beside the table."""
    return make_folder(tmp_path, "1.png", "2.png", "3.png", "4.png")


def labels_of(data):
    return dict(zip(data.train.paths, (data.classes[i] for i in data.train.labels), strict=True))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("mark", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_any_usual_delimiter_and_encoding(four, mark, encoding):
    rows = [
        ("path", "label", "note"),
        ("1.png", "Käfer", "a, b"),
        ("2.png", "cat", "5;6"),
        ("3.png", "cat", ""),
    ]
    text = "\r\n".join(mark.join(f'"{cell}"' for cell in row) for row in rows)
    found = labels_of(load_dataset(write_table(four, text, encoding=encoding)))
    assert found == {"1.png": "Käfer", "2.png": "cat", "3.png": "cat"}


def test_the_encoding_of_windows_is_read_with_a_warning(four):
    path = write_table(four, "path;label\n1.png;Käfer\n2.png;Öl\n", encoding="cp1252")
    with pytest.warns(UserWarning, match=r"list\.csv is not UTF-8 text: read as Windows-1252"):
        assert load_dataset(path).classes == ("Käfer", "Öl")


@pytest.mark.parametrize(
    "path_name", ["filename", "file", "FILE_NAME", "Image", "image path", "img", "FilePath"]
)
@pytest.mark.parametrize("label_name", ["class", "Category", "TARGET", "diagnosis"])
def test_common_names_of_columns(four, path_name, label_name):
    path = write_table(four, f"age,{path_name},{label_name}\n3,1.png,a\n4,2.png,b\n")
    assert labels_of(load_dataset(path)) == {"1.png": "a", "2.png": "b"}


def test_the_very_name_wins_and_others_are_extra_columns(four):
    path = write_table(four, "image,path,class,label,\nx,1.png,p,a,\ny,2.png,q,b,\n")
    assert labels_of(load_dataset(path)) == {"1.png": "a", "2.png": "b"}
    given = load_dataset(path, path_column="path", label_column="class")
    assert given.classes == ("p", "q")


def test_several_candidates_are_one_error(four):
    path = write_table(four, "file,image,class\n1.png,1.png,a\n2.png,2.png,b\n")
    with pytest.raises(DataError, match="line 1: file and image may all be the path; name one of them path"):
        load_dataset(path)
    assert load_dataset(path, path_column="image").classes == ("a", "b")


def test_no_candidate_names_the_columns(four):
    path = write_table(four, "image_id,dx\n1.png,mel\n2.png,nv\n")
    with pytest.raises(DataError, match=r"column 'path' is missing among image_id, dx.*`path_column`"):
        load_dataset(path)
    with pytest.raises(UnknownNameError, match="unknown `path_column` 'image_di'; did you mean 'image_id'"):
        load_dataset(path, path_column="image_di", label_column="dx")
    assert load_dataset(path, path_column="image_id", label_column="dx").classes == ("mel", "nv")


@pytest.mark.parametrize("name", ["split", "Split", "set", "Subset", "FOLD"])
def test_a_column_of_splits(four, name):
    path = write_table(
        four, f"path,label,{name}\n1.png,a,Train\n2.png,b,training\n3.png,a,TEST\n4.png,b,valid\n"
    )
    data = load_dataset(path)
    assert {key: len(split) for key, split in data.splits.items()} == {"train": 2, "validation": 1, "test": 1}


def test_a_column_that_is_no_split_is_ignored_but_a_slip_is_not(four):
    data = load_dataset(write_table(four, "path,label,set,fold\n1.png,a,A7,0\n2.png,b,B3,1\n"))
    assert (len(data.train), data.test) == (2, None)
    with pytest.raises(DataError, match="line 3: unknown split 'tset'"):
        load_dataset(write_table(four, "path,label,set\n1.png,a,train\n2.png,b,tset\n"))


def test_paths_without_ending_or_below_images(tmp_path):
    make_folder(tmp_path, "images/1.png", "images/2.JPG", "3.png")
    data = load_dataset(
        write_table(tmp_path, "image,class\n1,a\n2,b\nimages/3.png,b\n".replace("images/3", "3"))
    )
    assert labels_of(data) == {"images/1.png": "a", "images/2.JPG": "b", "3.png": "b"}


def test_a_path_that_may_be_two_files_is_refused(tmp_path):
    make_folder(tmp_path, "1.png", "1.jpg", "2.png")
    with pytest.raises(DataError, match=r"line 2: 1 may be 1\.jpg or 1\.png; give the whole name"):
        load_dataset(write_table(tmp_path, "image,class\n1,a\n2,b\n"))
    make_folder(tmp_path, "images/2.png")
    with pytest.raises(DataError, match=r"line 3: 2 may be 2\.png or images/2\.png"):
        load_dataset(write_table(tmp_path, "image,class\n1.png,a\n2,b\n"))


def test_parquet(four):
    pytest.importorskip("pyarrow")
    pd.DataFrame({"file": ["1.png", "2.png"], "class": [1, 2], "w": [0.5, None]}).to_parquet(
        four / "t.parquet"
    )
    assert labels_of(load_dataset(four / "t.parquet")) == {"1.png": "1", "2.png": "2"}


def test_parquet_without_pyarrow_is_one_line(four, monkeypatch, capsys):
    (four / "t.parquet").write_bytes(b"PAR1")
    monkeypatch.setattr("counterpoise.datasets.tables.find_spec", lambda name: None)
    assert run(["audit", str(four / "t.parquet")]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert (
        'reading parquet needs pyarrow, which is not installed: pip install "counterpoise[parquet]"' in said
    )


# -- classes


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("cat", "Cat"),
        ("hot dog", "hotdog"),
        ("1", "1.0"),
        ("cat", "c​at"),
        ("a b", "a\N{NO-BREAK SPACE}b"),
        ("x", "\ufeffx"),
    ],
)
def test_names_that_hardly_differ_are_named_and_kept_apart(four, one, other, capsys):
    path = write_table(
        four, f"id,path,label\n0,1.png,{one}\n1,2.png,{other}\n2,3.png,{one}\n3,4.png,{other}\n"
    )
    data = load_dataset(path)
    assert set(data.classes) == {one, other}
    assert len([n for n in data.notes if repr(one) in n and repr(other) in n and "differ only" in n]) == 1
    assert run(["audit", str(path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert any("differ only in case" in text and "--merge" in text for text in found["recommendations"])


def test_different_names_are_not_alike(four):
    data = load_dataset(write_table(four, "path,label\n1.png,1.5\n2.png,1.50\n3.png,v1.0\n4.png,v1\n"))
    assert not any("differ only" in note for note in data.notes)


@pytest.mark.parametrize("near", ["cat", "Cat ", "c at", "Catt"])
def test_a_test_class_that_differs_by_a_slip(tmp_path, near):
    make_folder(tmp_path, "train/Cat/1.png", "train/dog/1.png", f"test/{near}/2.png", "test/dog/2.png")
    with pytest.raises(DataError, match=r"is in the test split of .*; did you mean 'Cat', which has"):
        load_dataset(tmp_path)


ODD = ("path", "predicted", "NA", "007", "true", "None", "1e5")


@pytest.fixture(scope="module")
def odd_run(tmp_path_factory):
    root = tmp_path_factory.mktemp("odd")
    rows = ["path,label"]
    generator = np.random.default_rng(0)
    for index, name in enumerate(ODD):
        for number in range(6):
            pixels = generator.integers(0, 60, (8, 8), dtype=np.uint8)
            pixels[index] += 180
            Image.fromarray(pixels).save(root / f"{index}-{number}.png")
            rows.append(f"{index}-{number}.png,{name}")
    table = write_table(root, "\n".join(rows))
    assert run(["train", str(table), "--out", str(root / "run"), *QUICK]) == 0
    return table, root / "run"


def test_odd_class_names_survive_the_round_trip(odd_run, tmp_path, capsys):
    table, path = odd_run
    folder = RunFolder.open(path)
    assert set(folder.record.dataset.classes) == set(ODD)
    classes = folder.record.dataset.classes
    truth = labels_of(load_dataset(table))
    stored = folder.predictions
    assert {p: classes[i] for p, i in zip(stored.paths, stored.true, strict=True)}.items() <= truth.items()
    assert run(["report", str(path), "--out", str(tmp_path / "report.html")]) == 0
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert json.dumps({"classes": list(classes)}, separators=(",", ":"))[:-1] in page
    capsys.readouterr()
    assert run(["evaluate", str(path), "--json"]) == 0
    scores = json.loads(capsys.readouterr().out)["scores"]
    assert [item["name"] for item in scores["per_class"]] == list(classes)
    found = predict_images(folder, [table.parent], tmp_path / "p.csv", device="cpu")
    # As the documents advise: every cell as it is written.
    read = pd.read_csv(tmp_path / "p.csv", keep_default_na=False, dtype=str)
    assert tuple(read.iloc[:, 1]) == found.predicted
    assert set(read.iloc[:, 1]) <= set(ODD)
    folders = make_folder(
        tmp_path / "folders", *(f"{name}/{i}.png" for name in ODD for i in range(2)), mode="L"
    )
    assert set(load_dataset(folders).classes) == set(ODD)


def test_rare_classes_are_named_left_out_or_merged(tmp_path, capsys):
    make_folder(
        tmp_path,
        *two_classes(6),
        "lynx/1.png",
        "lynx/2.png",
        "owl/1.png",
        "cow/1.png",
        "cow/2.png",
        "cow/3.png",
    )
    note = "Too few training images to learn from and to test: lynx (2), owl (1); "
    assert any(text.startswith(note) for text in audit(load_dataset(tmp_path)).recommendations)
    assert run(["train", str(tmp_path), "--exclude", "owl", "--out", str(tmp_path / "run"), *QUICK]) == 0
    assert "to learn from and to test: lynx (2); --exclude leaves" in " ".join(
        capsys.readouterr().out.split()
    )
    fewer = load_dataset(tmp_path, exclude="owl,cow", merge=["lynx+cat=feline"])
    assert fewer.classes == ("dog", "feline")
    assert fewer.train.class_counts(2).tolist() == [6, 8]
    assert not any("Too few" in text for text in audit(fewer).recommendations)
    assert load_dataset(tmp_path, merge=["lynx+owl+cow=others"]).classes == ("cat", "dog", "others")
    command = [
        "audit",
        str(tmp_path),
        "--exclude",
        "owl",
        "--merge",
        "lynx+cat=feline",
        "--merge",
        "cow+dog=beast",
    ]
    assert run([*command, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["classes"] == ["beast", "feline"]
    assert "--exclude owl --merge lynx+cat=feline --merge cow+dog=beast" in found["next_command"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"exclude": "catt"}, "unknown class of `exclude` 'catt'; did you mean 'cat'"),
        ({"merge": ["cat+dgo=pet"]}, "unknown class of `merge` 'dgo'; did you mean 'dog'"),
        ({"merge": ["cat+dog"]}, r"`merge` cat\+dog: expected classes and their new name"),
        ({"exclude": "cat"}, "one class only"),
        ({"exclude": "cat,dog"}, "`exclude` cat,dog leaves no class"),
    ],
)
def test_classes_that_are_not_there(tmp_path, options, message):
    with pytest.raises(InputError, match=message):
        load_dataset(make_folder(tmp_path, *two_classes(2)), **options)


def test_a_defective_class_can_be_excluded(tmp_path):
    make_folder(tmp_path, "train/cat/1.png", "train/dog/1.png", "test/cow/2.png", "test/dog/2.png")
    assert load_dataset(tmp_path, exclude="cow").classes == ("cat", "dog")


def test_classes_of_a_built_in_dataset():
    every, some = load_dataset("digits"), load_dataset("digits", exclude="0,1,2,3,4", merge=["7+8+9=large"])
    assert some.classes == ("5", "6", "large")
    assert np.array_equal(some.train.images, every.train.images[every.train.labels >= 5])
    assert load_dataset("digits", exclude=None).fingerprint == every.fingerprint


# -- a run's own preparation, and what it writes


@pytest.fixture(scope="module")
def color_run(tmp_path_factory):
    root = tmp_path_factory.mktemp("color")
    make_folder(
        root / "set", *(f"{name}/{i}.png" for name in ("cat", "dog", "lynx", "owl") for i in range(8))
    )
    merge = ["--merge", "cat+lynx=feline", "--exclude", "owl"]
    assert run(["train", str(root / "set"), "--out", str(root / "run"), *merge, *QUICK]) == 0
    return RunFolder.open(root / "run"), root / "set"


def test_evaluate_applies_the_classes_and_channels_of_the_run(color_run, tmp_path, capsys):
    folder, _ = color_run
    assert folder.record.dataset.classes == ("dog", "feline")
    assert run(["evaluate", str(folder.path)]) == 0
    gray = make_folder(
        tmp_path / "gray", *(f"{name}/{i}.png" for name in ("dog", "lynx", "cat") for i in range(2)), mode="L"
    )
    capsys.readouterr()
    assert run(["evaluate", str(folder.path), str(gray), "--json"]) == 0
    said = capsys.readouterr()
    assert "are grayscale and fill all three channels" in said.err
    assert json.loads(said.out)["scores"]["n"] == 6
    loaded = load_for_run(folder, str(gray))
    found = predict_images(folder, [gray], tmp_path / "p.csv", device="cpu")
    labels = {
        Path(path).relative_to(gray).as_posix(): name
        for path, name in zip(found.paths, found.predicted, strict=True)
    }
    truth = {path: loaded.classes[i] for path, i in zip(loaded.train.paths, loaded.train.labels, strict=True)}
    hits = np.mean([labels[path] == truth[path] for path in truth])
    assert evaluate_run(folder, loaded, device="cpu").scores["all"]["accuracy"] == pytest.approx(hits)


def test_a_gray_model_reads_color_as_predict_does(tmp_path, capsys):
    make_folder(tmp_path / "gray", *two_classes(8), mode="L")
    make_folder(tmp_path / "color", *two_classes(2))
    assert run(["train", str(tmp_path / "gray"), "--out", str(tmp_path / "run"), *QUICK]) == 0
    folder = RunFolder.open(tmp_path / "run")
    loaded = load_for_run(folder, str(tmp_path / "color"))
    expected = [np.asarray(Image.open(tmp_path / "color" / path).convert("L")) for path in loaded.train.paths]
    assert np.array_equal(loaded.train.images[:, 0], expected)
    capsys.readouterr()
    assert run(["evaluate", str(folder.path), str(tmp_path / "color")]) == 0
    assert "are in color, and become gray" in capsys.readouterr().err


def test_built_in_images_become_the_channels_of_a_run():
    gray = load_dataset("digits").train.images
    assert np.array_equal(load_dataset("digits", channels=3).train.images, np.repeat(gray, 3, axis=1))
    noise = np.asarray(picture(0, (40, 50)))
    color = dataset_from_arrays(np.stack([noise.transpose(2, 0, 1)] * 2), np.arange(2))
    luma = _convert_channels(color, 1).train.images[0, 0]
    assert np.array_equal(luma, np.asarray(Image.fromarray(noise).convert("L")))


def test_data_that_moved_can_be_given(tmp_path, capsys):
    make_folder(tmp_path / "old", *two_classes(8))
    assert run(["train", str(tmp_path / "old"), "--out", str(tmp_path / "run"), *QUICK]) == 0
    (tmp_path / "old").rename(tmp_path / "new")
    capsys.readouterr()
    assert run(["evaluate", str(tmp_path / "run")]) == 2
    assert "if the images were moved, give their place as DATA" in capsys.readouterr().err
    assert run(["evaluate", str(tmp_path / "run"), str(tmp_path / "new")]) == 0


def test_predict_replaces_nothing_unasked(color_run, tmp_path, capsys, monkeypatch):
    folder, data = color_run
    monkeypatch.chdir(tmp_path)
    Path("predictions.csv").write_text("from yesterday")
    assert run(["predict", str(folder.path), str(data)]) == 2
    said = capsys.readouterr().err
    assert said == "counterpoise: predictions.csv exists; choose another name, or --overwrite it\n"
    assert Path("predictions.csv").read_text() == "from yesterday"
    assert run(["predict", str(folder.path), str(data), "--overwrite"]) == 0
    assert Path("predictions.csv").read_text().startswith("path,predicted")


@pytest.mark.parametrize("way", ["itself", "link", "zip"])
def test_no_image_is_ever_overwritten(color_run, tmp_path, way):
    folder, _ = color_run
    make_folder(tmp_path / "in", "1.png", "2.png")
    source = out = tmp_path / "in" / "1.png"
    if way == "link":
        out = tmp_path / "out.csv"
        out.symlink_to(source)
    if way == "zip":
        source = out = tmp_path / "a.zip"
        with zipfile.ZipFile(source, "w") as archive:
            archive.write(tmp_path / "in" / "1.png", "1.png")
    before = source.read_bytes()
    with pytest.raises(InputError, match="is one of the images; choose another `out`"):
        predict_images(folder, [tmp_path / "in", source], out, device="cpu", overwrite=True)
    assert source.read_bytes() == before


def test_export_replaces_nothing_unasked(color_run, tmp_path, capsys):
    pytest.importorskip("onnxscript")
    (tmp_path / "model.onnx").write_text("from yesterday")
    assert run(["export", str(color_run[0].path), str(tmp_path / "model.onnx")]) == 2
    assert "model.onnx exists; choose another name, or --overwrite it" in capsys.readouterr().err
    assert (tmp_path / "model.onnx").read_text() == "from yesterday"
