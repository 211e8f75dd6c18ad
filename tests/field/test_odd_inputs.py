"""Options and files that nobody meant to give: one line and exit code 2, never a traceback, and no waiting."""

import os

import numpy as np
import pytest
from datasets_helpers import make_folder, two_classes

from counterpoise.balance import read_costs
from counterpoise.cli.main import run
from counterpoise.datasets import load_dataset, read_images
from counterpoise.exceptions import InputError
from counterpoise.runs import RunFolder


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


@pytest.mark.parametrize(
    "text", ["[" * 5000, "a: [" * 3000, "a: &a [*a]", "train: 3", "2001-99-99: 3", "? [a]\n: b"]
)
def test_settings_that_are_no_settings(tmp_path, text, capsys):
    (tmp_path / "a.yaml").write_text(text)
    refused(capsys, "compare", "digits", "--config", str(tmp_path / "a.yaml"), "--out", str(tmp_path / "out"))
