"""Writing files: whole or not at all, into regular files only, and nothing stays behind of a killed process."""

import errno
import os
import signal
import stat
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from counterpoise.exceptions import RunFolderError
from counterpoise.files import (
    atomic_path,
    copy_file,
    copy_folder,
    is_leftover,
    locked_folder,
    refuse_unexpected,
    remove_leftovers,
    replacing_folder,
    write_text,
)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def killed(code, *arguments):
    """Run Python code that kills itself."""
    prefix = "import os, signal, sys, counterpoise.files as files\nfrom pathlib import Path\n"
    prefix += "kill = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)\n"
    done = subprocess.run([sys.executable, "-c", prefix + textwrap.dedent(code), *map(str, arguments)])
    assert done.returncode == -signal.SIGKILL


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_the_umask_decides_who_may_read_what_is_written(tmp_path, umask):
    before = os.umask(umask)
    try:
        write_text(tmp_path / "a", "x")
        with replacing_folder(tmp_path / "b", {"c"}, kind="map") as folder:
            write_text(folder / "c", "x")
    finally:
        os.umask(before)
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("a", "b", "b/c")]
    assert modes == [0o666 & ~umask, 0o777 & ~umask, 0o666 & ~umask]


def test_a_file_that_is_replaced_keeps_its_permissions(tmp_path):
    (tmp_path / "a").write_text("old")
    (tmp_path / "a").chmod(0o640)
    write_text(tmp_path / "a", "new")
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640
    assert (tmp_path / "a").read_text() == "new"


def test_links_are_followed(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk" / "real").write_text("old")
    (tmp_path / "link").symlink_to(tmp_path / "disk" / "real")
    write_text(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "disk" / "real").read_text() == "new"
    (tmp_path / "folder").symlink_to(tmp_path / "disk2")
    with replacing_folder(tmp_path / "folder", {"c"}, kind="map") as folder:
        (folder / "c").write_text("x")
    assert (tmp_path / "folder").is_symlink()
    assert names(tmp_path / "disk2") == ["c"]


def test_only_regular_files_are_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for path, found in ((tmp_path / "pipe", "a pipe"), (tmp_path / "folder", "a folder")):
        with pytest.raises(RunFolderError, match=f"{path.name} is {found}, expected a file"):
            write_text(path, "x")
    with pytest.raises(RunFolderError, match="/dev/null is a device, expected a file"):
        copy_file(tmp_path / "pipe", "/dev/null")
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)
    assert names(tmp_path) == ["folder", "pipe"]


def test_what_a_killed_process_left_is_removed_by_the_next_one(tmp_path):
    killed(
        "with files.atomic_path(Path(sys.argv[1])) as path: path.write_text('half'), kill()", tmp_path / "a"
    )
    (left,) = names(tmp_path)
    assert is_leftover(left)
    refuse_unexpected(tmp_path, "study")
    write_text(tmp_path / "b", "x")
    assert names(tmp_path) == sorted(["b", left])
    write_text(tmp_path / "a", "x")
    assert names(tmp_path) == ["a", "b"]
    killed("with files.atomic_path(Path(sys.argv[1])) as path: kill()", tmp_path / "a")
    with locked_folder(tmp_path):
        assert names(tmp_path) == [".lock", "a", "b"]


def test_what_a_living_process_writes_is_left_alone(tmp_path):
    with atomic_path(tmp_path / "a") as mine, replacing_folder(tmp_path / "f", {"c"}, kind="map") as folder:
        mine.write_text("mine")
        code = f"import counterpoise.files as f; from pathlib import Path; f.remove_leftovers(Path({str(tmp_path)!r}))"
        subprocess.run([sys.executable, "-c", code], check=True)
        remove_leftovers(tmp_path)
        (folder / "c").write_text("x")
    assert (tmp_path / "a").read_text() == "mine"
    assert names(tmp_path) == ["a", "f"]


@pytest.mark.parametrize("event", ["rename", "exchange", "rmtree", "copytree"])
def test_a_folder_is_whole_whenever_its_copying_is_killed(tmp_path, event):
    old, new, target = tmp_path / "old", tmp_path / "new", tmp_path / "target"
    for path in (old, new):
        path.mkdir()
        (path / "run.json").write_text(path.name)
    copy_folder(old, target)
    code = """
        new, target, event = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
        if event == "rename": Path.rename = kill
        if event == "exchange": files._exchange = kill
        if event == "rmtree": files.shutil.rmtree = kill
        if event == "copytree": files.shutil.copytree = kill
        files.copy_folder(new, target)
        kill()
    """
    killed(code, new, target, event)
    assert (target / "run.json").read_text() == ("new" if event in ("rmtree", "rename") else "old")
    copy_folder(new, target)
    assert (target / "run.json").read_text() == "new"
    assert names(tmp_path) == ["new", "old", "target"]


def test_folders_are_replaced_where_the_system_cannot_exchange_them(tmp_path, monkeypatch):
    monkeypatch.setattr("counterpoise.files._exchange", lambda *_: False)
    for text in ("one", "two"):
        with replacing_folder(tmp_path / "map", {"c"}, kind="map") as folder:
            (folder / "c").write_text(text)
        assert names(tmp_path) == ["map"]
        assert (tmp_path / "map" / "c").read_text() == text


def test_a_written_file_is_not_reported_as_failed_afterwards(tmp_path, monkeypatch):
    def refuse(path, **options):
        raise OSError(errno.EROFS, "Read-only file system", str(path))

    monkeypatch.setattr(Path, "unlink", refuse)
    write_text(tmp_path / "a.txt", "whole")
    assert (tmp_path / "a.txt").read_text() == "whole"
    with pytest.raises(ZeroDivisionError), atomic_path(tmp_path / "b.txt"):
        1 / 0  # noqa: B018
