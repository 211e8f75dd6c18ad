"""Options and files that nobody meant to give: one line and exit code 2, never a traceback, and no waiting."""

import json
import os
import shutil

import numpy as np
import pytest
from datasets_helpers import make_folder, two_classes

from counterpoise.balance import read_costs
from counterpoise.cli.main import run
from counterpoise.datasets import load_dataset, read_images
from counterpoise.exceptions import InputError
from counterpoise.runs import RunFolder
from counterpoise.studies import ReproductionStudy, publish


def refused(capsys, *arguments):
    """Run a command that must be refused; return what it says."""
    assert run(list(arguments)) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    return said


@pytest.mark.parametrize(
    ("flag", "value", "words"),
    [
        ("--minority-ratio", "inf", "inf, expected a finite number"),
        ("--minority-ratio", "nan", "finite number"),
        ("--repeats", "1" + "0" * 20, "expected at most 10,000"),
        ("--batch-size", "1" + "0" * 20, "1e+20, expected at most 2,147,483,647"),
        ("--seed", "-" + "1" + "0" * 20, "expected at"),
        ("--methods", "bl:loss=[]", "unknown loss '[]'"),
        ("--methods", "bl:loss=" + "[" * 3000, "unknown loss"),
        ("--data-dir", "~nosuchuser", "there is no such user"),
        ("--lr", "1e999", "finite number"),
    ],
)
def test_extreme_options(flag, value, words, capsys, tmp_path):
    said = refused(capsys, "compare", "digits", "--out", str(tmp_path / "out"), flag, value)
    assert words in said or words.replace(",", "") in said
    assert not (tmp_path / "out").exists()


def test_a_null_character_in_the_name_of_a_file(trained, tmp_path, capsys):
    (tmp_path / "a.yaml").write_text('{out: "a\\0b"}')
    words = ["compare", str(trained[1]), "--methods", "bl", "--epochs", "1", "--repeats", "1"]
    assert "null character" in refused(capsys, *words, "--config", str(tmp_path / "a.yaml"))
    assert "null character" in refused(capsys, "export", str(trained[0]), "\0")


def test_the_folder_of_a_user(trained, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert run(["report", str(trained[0]), "--out=~/a/page.html"]) == 0
    assert (tmp_path / "a" / "page.html").is_file()
    assert not (tmp_path / "~").exists()
    assert "there is no such user" in refused(
        capsys, "report", str(trained[0]), "--out", "~nosuchuser/b.html"
    )


def test_an_unknown_user(capsys):
    assert "there is no such user" in refused(capsys, "audit", "~nosuchuser/photos")


@pytest.fixture
def pipe(tmp_path):
    path = tmp_path / "pipe.png"
    os.mkfifo(path)
    return path


def test_a_pipe_among_the_images_is_skipped(tmp_path, pipe):
    make_folder(tmp_path / "set", *two_classes(2))
    pipe.rename(tmp_path / "set" / "cat" / "pipe.png")
    reason = ("cat/pipe.png", "is no file, but a pipe or device")
    assert load_dataset(tmp_path / "set").skipped == (reason,)
    with pytest.raises(InputError, match="is no file, but a pipe"):
        read_images(tmp_path / "set" / "cat" / "pipe.png", channels=3, image_size=(4, 4))


@pytest.mark.parametrize("name", ["photos.zip", "photos.csv", "photos"])
def test_a_pipe_in_place_of_data_is_refused(tmp_path, pipe, name, capsys):
    path = str(pipe.rename(tmp_path / name))
    assert f"{path} is a pipe; expected a file" in refused(capsys, "audit", path)
    if name != "photos.csv":
        with pytest.raises(InputError, match=r"is a pipe; expected a file|is no image"):
            read_images(path, channels=3, image_size=(4, 4))


@pytest.mark.parametrize("name", ["costs.csv", "run.json", "settings.yaml"])
def test_a_pipe_in_place_of_a_file_is_refused(tmp_path, pipe, name, capsys):
    path = tmp_path / name
    pipe.rename(path)
    if name == "settings.yaml":
        assert f"{path} is a pipe; expected a file" in refused(
            capsys, "compare", "digits", "--config", str(path)
        )
        return
    with pytest.raises(InputError, match="is a pipe; expected a file"):
        read_costs(path, 2) if name == "costs.csv" else RunFolder.open(tmp_path)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.csv", "0,1e308\n1,0", "expected costs from 0 to 1e"),
        ("a.csv", "0," + "x" * 200_000 + "\n1,0", "is not a CSV: field larger"),
        ("a.json", "[" * 100_000, "is not JSON"),
        ("a.json", f"[[0, {10**400}], [1, 0]]", "is not a table of numbers"),
    ],
)
def test_extreme_costs(tmp_path, name, text, words):
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=words):
        read_costs(tmp_path / name, 2)
    assert np.array_equal(read_costs([[0, 1e12], [1, 0]]), [[0, 1e12], [1, 0]])


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"format": 1e999}', '{"format": "1"}', "[]", "{}", '{"status": 3}']
)
def test_a_record_edited_by_hand(tmp_path, text):
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(InputError):
        RunFolder.open(tmp_path)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A trained run, and its images."""
    photos = make_folder(tmp_path_factory.mktemp("data"), *two_classes(12))
    words = ["train", str(photos), "--method", "bl", "--epochs", "1", "--threads", "1", "--device", "cpu"]
    assert run([*words, "--out", str(photos.parent / f"{photos.name}-run")]) == 0
    return photos.parent / f"{photos.name}-run", photos


@pytest.mark.parametrize(
    ("command", "place", "value"),
    [
        ("adjust", ["dataset"], 10**25),
        ("adjust", ["adjusted_from"], 3),
        ("adjust", ["method_title"], None),
        ("adjust", ["penalties"], [1]),
        ("adjust", ["config", "asked", "data", "exclude"], [1]),
        ("adjust", ["config", "asked", "data", "merge"], [1]),
        ("adjust", ["config", "asked", "data", "merge"], 10**25),
        ("predict", ["network", "options"], [1]),
        ("predict", ["network", "head"], {}),
        ("predict", ["network", "embedding_dim"], "x"),
        ("train", ["network", "options"], 3),
        ("train", ["network", "head"], 3),
    ],
)
def test_an_entry_of_a_record_edited_by_hand(command, place, value, trained, tmp_path, capsys):
    source, photos = trained
    edited = shutil.copytree(source, tmp_path / "run")
    record = json.loads((edited / "run.json").read_text())
    inner = record
    for name in place[:-1]:
        inner = inner[name]
    inner[place[-1]] = value
    (edited / "run.json").write_text(json.dumps(record))
    words = {
        "adjust": (str(edited), str(photos)),
        "predict": (str(edited), str(photos)),
        "train": (str(photos), "--method", "bl", "--epochs", "1", "--weights", str(edited)),
    }
    code = run([command, *words[command], "--device", "cpu", "--out", str(tmp_path / "out")])
    said = capsys.readouterr().err
    assert code in (0, 2)
    assert "unexpected error" not in said


@pytest.mark.parametrize("name", ["model.safetensors", "seen.safetensors", "predictions.csv", "metrics.json"])
@pytest.mark.parametrize("command", ["evaluate", "report"])
def test_a_pipe_in_a_run_folder_makes_nobody_wait(name, command, trained, tmp_path):
    edited = shutil.copytree(trained[0], tmp_path / "run")
    (edited / name).unlink()
    os.mkfifo(edited / name)
    words = (str(trained[1]),) if command == "evaluate" else ("--out", str(tmp_path / "page.html"))
    assert run([command, str(edited), *words]) in (0, 2)


def test_the_next_command_removes_what_a_killed_one_left(trained, tmp_path):
    left = shutil.copytree(trained[0], tmp_path / "run")
    before = sorted(left.iterdir())
    (left / "checkpoints").mkdir()
    for name in ("checkpoints/train.safetensors", ".model.safetensors.0a1b2c3d.part"):
        (left / name).write_text("")
    (left / ".best-0a1b2c3d").mkdir()
    assert run(["evaluate", str(left), str(trained[1])]) == 0
    assert sorted(left.iterdir()) == before


@pytest.mark.parametrize("flag", ["--out", "--split-file", "--weights", "--cache"])
def test_a_name_that_is_not_utf8_is_refused_before_the_training(flag, trained, tmp_path, capsys):
    odd = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9")
    said = refused(capsys, "train", str(trained[1]), "--epochs", "1", flag, odd)
    assert f"{flag}: {tmp_path}/caf? is not valid UTF-8; rename it" in said
    assert list(tmp_path.iterdir()) == []


def test_a_report_replaces_nothing_but_a_page(trained, tmp_path, capsys):
    source, photos = trained
    picture = next(photos.rglob("*.png"))
    before = picture.read_bytes()
    assert "is no report; choose another --out" in refused(
        capsys, "report", str(source), "--out", str(picture)
    )
    assert picture.read_bytes() == before
    for _ in range(2):
        assert run(["report", str(source), "--out", str(tmp_path / "page.html")]) == 0


def test_a_published_table_replaces_nothing_but_another(tmp_path):
    out, target = tmp_path / "out", tmp_path / "mine"
    for folder, name in ((out, "runs.jsonl"), (out, "results.csv"), (target, "results.csv")):
        folder.mkdir(exist_ok=True)
        (folder / name).write_text(str(folder))
    with pytest.raises(
        InputError, match=r"is not empty \(results.csv is in it\) and holds no published table"
    ):
        publish(ReproductionStudy, out, target)
    assert (target / "results.csv").read_text() == str(target)
    for _ in range(2):
        publish(ReproductionStudy, out, tmp_path / "new")
    assert (tmp_path / "new" / "results.csv").read_text() == str(out)


def test_outputs_that_overflow_are_a_failed_training(trained, tmp_path, capsys):
    _, photos = trained
    words = ["train", str(photos), "--method", "bl", "--epochs", "1", "--device", "cpu", "--lr", "1e30"]
    assert run([*words, "--batch-size", "1000", "--out", str(tmp_path / "out")]) == 1
    said = capsys.readouterr().err
    assert "--lr 1e+30 is probably too high" in said
    assert not (tmp_path / "out" / "metrics.json").exists()


def test_a_loss_that_is_broken_from_the_first_step_is_not_blamed_on_the_learning_rate(
    trained, tmp_path, capsys
):
    _, photos = trained
    words = [
        "train",
        str(photos),
        "--method",
        "balanced-softmax:tau=1e39",
        "--epochs",
        "2",
        "--device",
        "cpu",
    ]
    assert run([*words, "--out", str(tmp_path / "out")]) == 1
    said = capsys.readouterr().err
    assert "options of the method" in said
    assert "--lr" not in said


@pytest.mark.parametrize(
    "text", ["[" * 5000, "a: [" * 3000, "a: &a [*a]", "train: 3", "2001-99-99: 3", "? [a]\n: b"]
)
def test_settings_that_are_no_settings(tmp_path, text, capsys):
    (tmp_path / "a.yaml").write_text(text)
    refused(capsys, "compare", "digits", "--config", str(tmp_path / "a.yaml"), "--out", str(tmp_path / "out"))
