"""Small sets of pictures on disk, and the command line called as a user calls it."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from counterpoise.cli.main import run

# One second of training: enough for real numbers.
QUICK = ("--epochs", "2", "--batch-size", "16", "--threads", "1")


@dataclass(frozen=True)
class Result:
    """What a command gave."""

    code: int
    out: str
    err: str

    @property
    def complaints(self):
        return self.err.splitlines()


def picture(label, generator, *, size=8, colour=False):
    """Noise with a bright square at a place of the class's own."""
    pixels = generator.integers(0, 120, (size, size, 3) if colour else (size, size)).astype(np.uint8)
    row, column = divmod(label, 2)
    pixels[row * 3 : row * 3 + 3, column * 4 : column * 4 + 3] += 110
    return Image.fromarray(pixels)


def write_pictures(folder, counts, *, seed=0, **options):
    """Write class folders: ``counts`` maps a class to its number of images."""
    generator = np.random.default_rng(seed)
    for label, (name, count) in enumerate(counts.items()):
        place = Path(folder) / name
        place.mkdir(parents=True, exist_ok=True)
        for number in range(count):
            picture(label, generator, **options).save(place / f"{number}.png")
    return Path(folder)


def snapshot(folder):
    """Every file below a folder with its content, and every folder."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        if path.is_file()
        else None
        for path in Path(folder).rglob("*")
    }


@pytest.fixture(scope="session")
def pictures():
    """Function ``pictures(folder, {"cat": 9}, size=8, colour=False, seed=0)`` that writes class folders."""
    return write_pictures


@pytest.fixture(scope="session")
def photos(tmp_path_factory):
    """A folder of three classes with a test split; owls are rare. Its name has a space in it."""
    folder = tmp_path_factory.mktemp("data") / "my photos"
    write_pictures(folder / "train", {"cat": 40, "dog": 24, "owl": 8})
    write_pictures(folder / "test", {"cat": 8, "dog": 6, "owl": 5}, seed=1)
    return folder


@pytest.fixture(scope="session")
def trained(photos, tmp_path_factory):
    """A finished run on the photos."""
    folder = tmp_path_factory.mktemp("runs") / "finished"
    assert run(["train", str(photos), "--method", "bl-cw", "--out", str(folder), *QUICK]) == 0
    return folder


@pytest.fixture
def cli(capsys, tmp_path, monkeypatch):
    """Function ``cli("train", folder, ...)`` that runs a command in an empty folder and returns what it gave."""
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)

    def call(*arguments):
        capsys.readouterr()
        code = run([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Result(code, captured.out, captured.err)

    return call


@pytest.fixture
def refuses(cli, tmp_path):
    """Function that runs a command which must be refused in one line, leaving nothing; returns the line."""

    def call(*arguments, code=2):
        before = snapshot(tmp_path)
        result = cli(*arguments)
        assert result.code == code, result
        assert len(result.complaints) == 1, result.err
        assert result.err.startswith("counterpoise: ")
        # What a command finds out about the images, it says before it looks at the folder.
        assert not result.out or result.out.startswith("- ")
        assert snapshot(tmp_path) == before
        return result.err.removeprefix("counterpoise: ").strip()

    return call
