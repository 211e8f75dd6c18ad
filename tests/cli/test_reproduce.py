"""``counterpoise reproduce`` as a user calls it."""

from __future__ import annotations

import shlex

import numpy as np
import pytest

from counterpoise.cli.main import load_command
from counterpoise.datasets import fewer_images, load_dataset
from counterpoise.files import read_json
from counterpoise.studies.reproduce.tables import Setting, Table


def test_without_a_table_all_are_listed(cli):
    result = cli("reproduce")
    assert result.code == 0
    for name in ("thesis-1.1", "thesis-7.1", "thesis-7.5", "poster-1", "lecture-transfer", "slides-accuracy"):
        assert name in result.out


def test_bad_input_is_one_line(cli, tmp_path):
    for arguments, words in (
        (("thesis-7.9",), "thesis-7.9"),
        (("thesis-7.4", "--data-dir", tmp_path), "train_32x32.mat"),
        (("slides-accuracy",), "counterpoise enhance"),
        (("thesis-7.4", "--jobs", "0"), "--jobs 0"),
    ):
        result = cli("reproduce", *map(str, arguments), "--out", str(tmp_path / "out"))
        assert result.code == 2
        assert words in " ".join(result.complaints)
        assert not (tmp_path / "out").exists()


def test_results_are_gone_on_from_on_another_machine(cli, tmp_path, monkeypatch):
    line = {"data": "mnist", "imbalance": "step", "minority": "4", "network": "tinynet", "epochs": 1}
    small = Table(
        name="thesis-test",
        title="A small table",
        paper="a test",
        repeats=2,
        settings=(Setting(**line, ratio=2, batch_size=64, methods=("bl", "ros")),),
    )
    digits = fewer_images(load_dataset("digits"), 60)
    monkeypatch.setattr("counterpoise.studies.reproduce.tables.get_table", lambda name: small)
    monkeypatch.setattr(
        "counterpoise.studies.reproduce.plan.load_images", lambda *args, **options: ("digits", digits)
    )
    there, results, here = (str(tmp_path / name) for name in ("there", "results", "here"))
    common = ("reproduce", "thesis-test", "--device", "cpu", "--jobs", "1")
    assert cli(*common, "--repeats", "1", "--out", there, "--export-to", results).code == 0
    found = cli(*common, "--resume-from", results, "--out", here)
    assert found.code == 0
    assert "4 of 4 runs done, 2 of them earlier" in " ".join(found.out.split())
    assert sorted(p.name[:7] for p in (tmp_path / "here").glob("*/runs/*")) == ["draw001", "draw001"]
    summary = read_json(tmp_path / "here/summary.json")
    assert (summary["runs"]["done"], summary["runs"]["planned"]) == (4, 4)
    assert [cell["n"] for cell in summary["cells"] if cell["metric"] == "f1"] == [2, 2]
    assert len(summary["commands"]) == 2


def test_a_damaged_archive_of_the_lectures_study_is_one_line(cli, tmp_path):
    (tmp_path / "runs.jsonl").write_text('{"identity": "0"\n')
    result = cli(
        "reproduce", "lecture-transfer", "--resume-from", str(tmp_path), "--out", str(tmp_path / "out")
    )
    assert result.code == 2
    (words,) = result.complaints
    assert f"line 1 of {tmp_path / 'runs.jsonl'} is damaged: it is not JSON" in words
    assert not (tmp_path / "out").exists()


def test_a_study_of_its_own_is_named_by_commands_that_can_be_given(cli, tmp_path, monkeypatch):
    result = cli("reproduce", "slides-accuracy", "--data-dir", str(tmp_path))
    assert result.code == 2
    (words,) = result.complaints
    commands = words.partition(" give ")[2].partition("; ")[0].split(" and ")
    assert len(commands) == 2
    for line in commands:
        program, name, *arguments = shlex.split(line)
        assert program == "counterpoise"
        seen = []
        monkeypatch.setattr(
            load_command(name), "function", lambda config, call, seen=seen: seen.append(config)
        )
        assert cli(name, *arguments).code == 0
        [given] = seen
        assert given.data.source in ("cifar10", "stl10")
        assert given.data.data_dir == tmp_path
        assert (given.model.backbone, given.train.epochs) == ("vgg16", 5)
    assert "put intel.zip, or a folder intel/" in words


@pytest.mark.slow
def test_the_command_for_stl10_works_on_a_stand_in(cli, tmp_path, monkeypatch):
    """The slides' study of STL-10, on noise in the files that it comes in; not run on the real data."""
    from counterpoise.studies.reproduce.plan import study_commands
    from counterpoise.studies.reproduce.tables import get_table

    monkeypatch.setattr("torchvision.datasets.STL10._check_integrity", lambda self: True)
    folder = tmp_path / "stl10_binary"
    folder.mkdir()
    generator = np.random.default_rng(0)
    (folder / "class_names.txt").write_text("".join(f"class {i}\n" for i in range(10)))
    for split, count in (("train", 2), ("test", 1)):
        images = generator.integers(0, 256, (10 * count, 3, 96, 96), dtype=np.uint8)
        (folder / f"{split}_X.bin").write_bytes(images.tobytes())
        (folder / f"{split}_y.bin").write_bytes(bytes(range(1, 11)) * count)
    commands, absent = study_commands(get_table("slides-accuracy"), tmp_path, tmp_path / "out")
    assert len(absent) == 1  # the photographs of scenes
    epochs = ["--epochs", "--enhance-epochs", "--copy-epochs", "--fresh-epochs"]
    less = [*(word for name in epochs for word in (name, "1")), "--figures", "0"]
    result = cli(*commands[0], *less, "--jobs", "1")
    assert result.code == 0, result
    assert "the slides, with VGG-16, on test: accuracy 0.828 -> 0.855" in result.out
    assert (tmp_path / "out" / "stl10" / "results.csv").is_file()
