"""``counterpoise reproduce`` as a user calls it."""

from __future__ import annotations

import shlex

import pytest
import typer

from counterpoise.cli.main import app


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


@pytest.mark.parametrize(("table", "count"), [("lecture-transfer", 2), ("slides-accuracy", 2)])
def test_studies_of_their_own_are_named_by_commands_that_can_be_given(cli, tmp_path, table, count):
    result = cli("reproduce", table, "--data-dir", str(tmp_path))
    assert result.code == 2
    (words,) = result.complaints
    commands = words.partition(" give ")[2].partition("; ")[0].split(" and ")
    assert len(commands) == count
    study = typer.main.get_command(app)
    for line in commands:
        program, name, *arguments = shlex.split(line)
        assert program == "counterpoise"
        given = study.commands[name].make_context(name, arguments).params
        assert given["data"] in ("cifar10", "stl10")
        assert given["data_dir"] == tmp_path
        assert (given["backbone"], given["epochs"]) in (("alexnet8", 15), ("vgg16", 5))
    if table == "slides-accuracy":
        assert "put intel.zip, or a folder intel/" in words
