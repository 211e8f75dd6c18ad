"""The last boundary: whatever happens inside, a person sees one line, and the traceback is in a file."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from counterpoise.cli import main as cli

SHOW_CLASSES = "import sys; from counterpoise.cli.main import main; sys.argv[1:] = {arguments}; main()"


def failing(error):
    def function(*_, **__):
        raise error

    return function


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (KeyError("x"), 1, "unexpected error, KeyError: 'x'; please report it with "),
        (RecursionError("maximum\nrecursion"), 1, "unexpected error, RecursionError: maximum recursion; "),
        (MemoryError(), 1, "out of memory; try a smaller --batch-size"),
        (
            RuntimeError("DefaultCPUAllocator: not enough memory: you tried"),
            1,
            "out of memory; try a smaller",
        ),
    ],
)
def test_any_error_is_one_line_and_a_file(error, code, words, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(cli, "_execute", failing(error))
    assert cli.run(["methods"]) == code
    said = capsys.readouterr().err
    assert said.startswith(f"counterpoise: {words}")
    assert said.count("\n") == 1
    found = re.search(r"report it with (\S+)$", said)
    assert bool(found) == ("unexpected" in words)
    if found:
        log = Path(found[1]).read_text()
        assert "Traceback (most recent call last)" in log
        assert type(error).__name__ in log


def test_developers_may_have_the_traceback(monkeypatch):
    monkeypatch.setenv("COUNTERPOISE_DEBUG", "1")
    monkeypatch.setattr(cli, "_execute", failing(KeyError("x")))
    with pytest.raises(KeyError):
        cli.run(["methods"])


def start(*arguments, **options):
    code = SHOW_CLASSES.format(arguments=list(arguments))
    return subprocess.run([sys.executable, "-c", code], stderr=subprocess.PIPE, **options)


def test_a_terminal_that_cannot_show_a_character_is_no_obstacle(tmp_path):
    from PIL import Image

    for name in ("日本", "ÿ"):
        (tmp_path / name).mkdir()
        for index in range(3):
            Image.new("RGB", (40 + index, 50)).save(tmp_path / name / f"{index}.png")
    environment = {**os.environ, "PYTHONIOENCODING": "cp1252", "COLUMNS": "100"}
    done = start("audit", str(tmp_path), stdout=subprocess.PIPE, env=environment)
    assert (done.returncode, b"Traceback" in done.stderr) == (0, False)
    assert rb"\u65e5" in done.stdout


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_under_the_output_is_said():
    with Path("/dev/full").open("w") as full:
        done = start("methods", stdout=full)
    assert done.returncode != 0
    assert b"No space left on device" in done.stderr
    assert b"Traceback" not in done.stderr


def test_a_closed_output_is_no_error():
    done = start("methods", preexec_fn=lambda: os.close(1))
    assert (done.returncode, done.stderr) == (0, b"")
