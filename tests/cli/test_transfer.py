"""`counterpoise transfer`, and `train` and `compare` from another run's weights."""

import csv
import json
from pathlib import Path

import pytest

QUICK = ("--epochs", "1", "--batch-size", "16", "--threads", "1")
STUDY = (
    "--task-split",
    "A=cat,dog;B=owl,yak",
    "--layers",
    "1,3",
    "--repeats",
    "2",
    "--jobs",
    "1",
    "--backbone",
    "tinynet",
)


@pytest.fixture(scope="module")
def zoo(tmp_path_factory, pictures):
    folder = tmp_path_factory.mktemp("data") / "zoo"
    pictures(folder / "train", {"cat": 14, "dog": 12, "owl": 12, "yak": 12})
    pictures(folder / "test", {"cat": 6, "dog": 6, "owl": 6, "yak": 6}, seed=1)
    return folder


def test_a_study_shows_its_table_and_leaves_its_files(cli, zoo):
    result = cli("transfer", zoo, *STUDY, *QUICK, "--out", "out")
    assert (result.code, result.err) == (0, "")
    assert sorted(p.name for p in Path("out").iterdir() if p.name != ".lock") == [
        "cells",
        "networks",
        "results.csv",
        "summary.json",
        "transfer.html",
        "transfer.json",
        "transfer.png",
    ]
    summary = json.loads(Path("out/summary.json").read_text())
    assert "A: cat, dog" in result.out
    assert "B: owl, yak" in result.out
    for curve in summary["curves"]:
        assert f"{curve['mean']:.3f}".removeprefix("0") in result.out
    words = " ".join(result.out.split())
    assert "A1B - baseB" in words
    assert "figure: out/transfer.png" in result.out
    again = cli("transfer", zoo, *STUDY, *QUICK, "--out", "out", "--json")
    printed = json.loads(again.out)
    assert printed["curves"] == summary["curves"]
    assert printed["command"].startswith("counterpoise transfer ")


def test_images_per_class_are_as_many_as_asked_for(cli, zoo):
    options = ("--images-per-class", "5", "--source-images-per-class", "0", "--layers", "1", "--repeats", "1")
    result = cli("transfer", zoo, *STUDY[:2], *STUDY[-4:], *options, *QUICK, "--out", "out", "--json")
    images = json.loads(result.out)["tasks"][0]["images"]
    assert {task: images[task]["train"] for task in "AB"} == {"A": 26, "B": 10}
    with Path("out/results.csv").open(newline="") as file:
        assert {row["treatment"] for row in csv.DictReader(file)} == {
            "baseA",
            "baseB",
            "BnB",
            "BnB+",
            "AnB",
            "AnB+",
        }


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--task-split", "natural"), "known for CIFAR-10 alone; name them as --task-split"),
        (("--task-split", "half"), "expected random, natural, or classes as"),
        (("--task-split", "A=cat,dog;B=owl,yack"), "did you mean 'yak'?"),
        (("--task-split", "A=cat,dog;B=dog,yak"), "class 'dog' is in both tasks"),
        (("--layers", "0..3"), "no rising range from 1"),
        (("--layers", "one"), "expected numbers and ranges"),
        (("--layers", "8"), "alexnet8 has 7 learned layers below its head"),
        (("--repeats", "0"), "--repeats 0: expected at least 1"),
        (("--jobs", "0"), "--jobs 0: expected at least 1"),
        (("--images-per-class", "1"), "at least 2 images of each class"),
        (("--backbone", "resnet32"), "no chain of layers"),
        (("--test-fraction", "0.3"), "has test images of its own"),
        (("--epochs", "0"), "--epochs 0: expected at least 1"),
        (("--schedule", "linear"), "--schedule: unknown schedule 'linear'"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(refuses, zoo, options, words):
    assert words in refuses("transfer", zoo, *options)


def test_too_few_classes(refuses, photos):
    assert "3 classes cannot be parted into two tasks" in refuses("transfer", photos)


def test_a_folder_of_something_else_is_left_alone(refuses, zoo, trained):
    assert "holds no transfer study" in refuses("transfer", zoo, *STUDY, "--out", trained)


# --- train and compare from other weights -------------------------------------------------------------------


def test_train_from_another_run(cli, zoo, trained):
    result = cli("train", zoo, "--weights", trained, "--freeze", "2", *QUICK, "--out", "run")
    assert result.code == 0
    words = " ".join(result.out.split())
    assert "the other run's classes are not these: the head is new" in words
    record = json.loads(Path("run/run.json").read_text())
    trainable = record["network"]["parameters"]
    assert f"the first 2 layers stayed frozen; {trainable:,} parameters were trained" in words
    assert record["start"]["freeze"] == 2
    assert record["network"]["name"] == json.loads((trained / "run.json").read_text())["network"]["name"]


def test_images_are_brought_to_the_size_of_the_other_run(cli, tmp_path, pictures, trained):
    folder = pictures(tmp_path / "large", {"ant": 12, "bee": 12}, size=20)
    assert cli("train", folder, "--weights", trained, "--freeze", "all", *QUICK, "--out", "run").code == 0
    assert json.loads(Path("run/run.json").read_text())["dataset"]["image_size"] == [8, 8]


def test_auto_says_why(cli, zoo, trained):
    result = cli("train", zoo, "--weights", trained, "--freeze", "auto", *QUICK, "--out", "run")
    words = " ".join(result.out.split())
    record = json.loads(Path("run/run.json").read_text())
    losses, frozen = record["start"]["evidence"], record["start"]["freeze"] == "all"
    assert frozen == (losses["frozen"] <= losses["fine_tuned"])
    assert f"validation preferred the {'frozen' if frozen else 'fine-tuned'} network: log loss" in words
    assert f"{losses['frozen']:.3f} frozen and {losses['fine_tuned']:.3f} fine-tuned" in words
    as_json = cli("train", zoo, "--weights", trained, "--freeze", "auto", *QUICK, "--out", "other", "--json")
    assert set(json.loads(as_json.out)) == {"run", "metrics", "notes"}


def test_compare_frozen_whole_shares_a_cache_with_train(cli, zoo, trained):
    shared = ("--weights", trained, "--freeze", "all", "--cache", "cache")
    result = cli(
        "compare", zoo, *shared, "--methods", "bl,ados,tau-norm", "--repeats", "2", "--jobs", "1", *QUICK
    )
    assert result.code == 0
    assert cli("train", zoo, *shared, "--method", "fs-smote", *QUICK, "--out", "run").code == 0
    assert len(list(Path("cache").glob("embeddings-*.rows"))) == 1
    assert not Path("run/cache").exists()


@pytest.mark.parametrize("command", ["train", "compare"])
@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--freeze", "1"), "--freeze 1: without --weights the layers are random"),
        (
            ("--weights", "{run}", "--freeze", "some"),
            "expected a number of layers from 1, all, auto, or none",
        ),
        (("--weights", "{run}", "--freeze", "9"), "learned layers below its head"),
        (("--weights", "{run}", "--cache", "x"), "give --freeze all with it"),
        (("--weights", "{run}", "--backbone", "lenet"), "the weights are of a run of tinynet"),
        (("--weights", "{data}"), "holds no run.json"),
        (("--weights", "nowhere.pth"), "nowhere.pth"),
    ],
)
def test_weights_and_layers_that_cannot_be_used(refuses, zoo, trained, command, options, words):
    given = [str(option).format(run=trained, data=zoo) for option in options]
    assert words in refuses(command, zoo, *given)


def test_methods_on_pixels_are_refused_where_all_is_frozen(refuses, zoo, trained):
    frozen = ("--weights", trained, "--freeze", "all")
    assert "aos changes images" in refuses("train", zoo, *frozen, "--method", "aos")
    assert "aos changes images" in refuses("compare", zoo, *frozen, "--methods", "bl,aos")


def test_weights_that_know_the_held_out_images_are_refused(refuses, photos, trained):
    message = refuses("train", photos, "--weights", trained, "--seed", "1")
    assert "learned from" in message
    assert "of the validation images of repeat 0" in message
