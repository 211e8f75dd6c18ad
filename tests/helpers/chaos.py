"""Kills, full disks and read-only folders in the middle of commands; the next command must repair everything.

    python tests/helpers/chaos.py --kills 300 --seed 0 --jobs 2

Each case runs a command in a process group of its own and stops it at a random file-system event (a file opened for
writing, a rename, a new or removed folder) or after a random time: by a kill of the whole group, or by an error of the
operating system. Then the same command runs undisturbed. Its results must be those of an undisturbed run, to the
bit, and nothing unfinished may be left. Kills of commands that had ended before are not counted. The same seed gives
the same cases, but for what a kill after some time meets.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

SECONDS = 240.0
QUICK = ("--epochs", "2", "--batch-size", "16", "--threads", "1", "--device", "cpu")
WRITES = frozenset(
    {"os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.truncate", "shutil.copyfile", "shutil.rmtree"}
)
LEFT = (".part", ".old", ".staged", "checkpoints")
#: Results: what else a folder holds has times in it.
COMPARED = (
    "metrics.json",
    "predictions.csv",
    "results.csv",
    "model.safetensors",
    "manifest.json",
    "embedding.json",
)
ENDINGS = ("kill", "kill", "kill", "kill", "kill", "full", "read-only")


@dataclass(frozen=True)
class Case:
    """Command, how it is stopped, and at which event or after which share of its time."""

    command: str
    ending: str
    event: int
    seconds: float | None


class Disturber:
    """Audit hook that stops this process, or its group, at an event below a folder."""

    def __init__(self, folder: Path, case: Case) -> None:
        self.folder, self.case, self.count = str(folder), case, 0

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            writes = isinstance(path, str) and bool((flags or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
        else:
            path = next((a for a in arguments if isinstance(a, (str, Path))), "")
            writes = event in WRITES
        if not writes or not str(path).startswith(self.folder) or str(path).endswith(".lock"):
            return
        self.count += 1
        if self.case.ending == "kill" and self.count == self.case.event:
            os.killpg(0, signal.SIGKILL)
        elif self.case.ending == "full" and self.count == self.case.event:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        elif self.case.ending == "read-only" and self.count >= self.case.event:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))


class Commands:
    """Commands on small images; `root` is an empty folder."""

    def __init__(self, root: Path) -> None:
        self.root, self.photos = root, root / "photos"
        rng = np.random.default_rng(0)
        for label, (name, count) in enumerate({"cat": 14, "dog": 12, "owl": 9, "hen": 9}.items()):
            for index in range(count):
                pixels = rng.integers(0, 120, (16, 16)).astype(np.uint8)
                pixels[label * 4 : label * 4 + 4] += 110
                path = self.photos / name / f"{index}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(path)
        self.base = root / "base"
        assert self._quietly("train", self.photos, "--method", "bl", "--out", self.base, *QUICK) == 0

    def arguments(self, name: str, out: Path) -> tuple[str, ...]:
        """Return the command `name` with its output at `out`."""
        photos, base = self.photos, self.base
        compare, one = ("compare", photos, "--out", out / "study", *QUICK), ("--repeats", "1")
        words: dict[str, tuple[Any, ...]] = {
            "train": ("train", photos, "--method", "ados", "--out", out / "run", *QUICK),
            "compare": (*compare, "--methods", "bl,ados", *one, "--jobs", "1"),
            "jobs": (*compare, "--methods", "bl,balanced-softmax", "--repeats", "2", "--jobs", "2"),
            "transfer": (
                "transfer",
                photos,
                "--layers",
                "1",
                *one,
                "--jobs",
                "1",
                "--out",
                out / "t",
                *QUICK,
            ),
            "enhance": ("enhance", photos, *one, "--jobs", "1", "--figures", "2", "--out", out / "e", *QUICK),
            "fit": (
                *("fit", photos, "--budget", "1h", "--no-tune", "--methods", "logit-adjusted,lda"),
                *("--threads", "1", "--device", "cpu", "--out", out / "f"),
            ),
            "adjust": ("adjust", base, photos, "--out", out / "adjusted"),
            "predict": ("predict", base, photos / "cat", "--out", out / "p.csv"),
            "explain": ("explain", base, photos / "cat", "--out", out / "explained"),
            "export": ("export", base, out / "model.onnx"),
            "report": ("report", base, "--out", out / "report.html"),
        }
        words["transfer"] += ("--task-split", "random")
        return tuple(map(str, words[name]))

    #: Order in which the cases take commands: slow ones less often.
    TURNS = (
        *("train", "adjust", "compare", "predict", "explain", "jobs", "train", "export", "compare", "report"),
        *(
            "adjust",
            "transfer",
            "train",
            "predict",
            "enhance",
            "compare",
            "explain",
            "adjust",
            "train",
            "fit",
        ),
    )

    @staticmethod
    def _quietly(*arguments: object) -> int:
        from counterpoise.cli.main import run

        with (
            Path(os.devnull).open("w") as file,
            contextlib.redirect_stdout(file),
            contextlib.redirect_stderr(file),
        ):
            return run([str(argument) for argument in arguments])


def execute(
    arguments: tuple[str, ...], said: Path, prepare: Callable[[], None] | None, limit: float
) -> int | None:
    """Run a command in a forked process group; return its exit code, or None if it was killed at the time limit."""
    process = os.fork()
    if process == 0:
        code = 70
        try:
            os.setsid()
            with said.open("w", errors="backslashreplace") as file:
                os.dup2(file.fileno(), 1)
                os.dup2(file.fileno(), 2)
            from counterpoise.cli.main import run

            tempfile.tempdir = str(said.parent)
            if prepare is not None:
                prepare()
            code = run(list(arguments))
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    end = time.monotonic() + limit
    while time.monotonic() < end:
        done, status = os.waitpid(process, os.WNOHANG)
        if done:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process, signal.SIGKILL)  # workers of a killed group's leader
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process, signal.SIGKILL)
    os.waitpid(process, 0)
    return None


def results(out: Path) -> dict[str, str]:
    """Return the hash of every result below a folder, by its path; none for files that hold times."""
    return {
        str(path.relative_to(out)): ""
        if path.suffix in (".html", ".onnx")
        else hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(out.rglob("*"))
        if path.is_file() and (path.name in COMPARED or path.parent == out)
    }


def leftovers(out: Path) -> list[str]:
    """Return whatever is unfinished below a folder."""
    return sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.name.endswith(LEFT))


@dataclass
class Reference:
    """Undisturbed run of a command: its results, seconds, and number of events."""

    results: dict[str, str]
    seconds: float
    events: int


def reference(commands: Commands, name: str, said: Path) -> Reference:
    """Run a command undisturbed and count its events."""
    out, counted = commands.root / "reference", commands.root / "events"
    shutil.rmtree(out, ignore_errors=True)
    start = time.monotonic()

    def count() -> None:
        hook = Disturber(out, Case(name, "count", -1, None))
        sys.addaudithook(hook)
        real = os._exit

        def leave(code: int) -> None:
            counted.write_text(str(hook.count))
            real(code)

        os._exit = leave  # type: ignore[assignment]

    code = execute(commands.arguments(name, out), said, count, SECONDS)
    assert code == 0, said.read_text(errors="replace")
    assert not leftovers(out), leftovers(out)
    return Reference(results(out), time.monotonic() - start, int(counted.read_text()))


def disturb(commands: Commands, case: Case, expected: Reference, said: Path) -> tuple[bool, str | None]:
    """Run a case; return whether it was killed, and what went wrong."""
    out = commands.root / "reference"  # the same path, which is in some records
    shutil.rmtree(out, ignore_errors=True)
    arguments = commands.arguments(case.command, out)
    hook = None if case.seconds is not None else lambda: sys.addaudithook(Disturber(out, case))
    code = execute(arguments, said, hook, case.seconds or SECONDS)
    killed, text = code in (None, -signal.SIGKILL), said.read_text(errors="replace")
    if case.ending != "kill" and ("Traceback" in text or "unexpected error" in text or code not in (0, 1, 2)):
        return killed, f"{case.ending}: exit code {code}: {text[-400:]}"
    code, text = execute(arguments, said, None, SECONDS), said.read_text(errors="replace")
    # A command that was killed after its last file finds it, and asks; its results must be whole.
    if code != 0 and not (code == 2 and killed and "exists; choose another name, or --overwrite" in text):
        return killed, f"does not resume: exit code {code}: {text[-400:]}"
    found = results(out)
    different = sorted(
        path for path in expected.results | found if expected.results.get(path) != found.get(path)
    )
    if different:
        return killed, f"other results: {', '.join(different[:5])}"
    return killed, f"left behind: {', '.join(left[:5])}" if (left := leftovers(out)) else None


def together(commands: Commands, expected: Reference, said: Path) -> str | None:
    """Start a command twice at once on one folder: one of them works, the other is refused or finds it done."""
    out = commands.root / "reference"
    shutil.rmtree(out, ignore_errors=True)
    arguments = commands.arguments("compare", out)
    process = os.fork()
    if process == 0:
        os._exit(execute(arguments, said.with_suffix(".second"), None, SECONDS) or 0)
    codes = [execute(arguments, said, None, SECONDS), os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])]
    if 0 not in codes or not {*codes} <= {0, 2}:
        return f"two at once: exit codes {codes}"
    return None if results(out) == expected.results else "two at once: other results"


def draw(number: int, seed: int, turns: Sequence[str], references: dict[str, Reference]) -> Case:
    """Return the case of a number."""
    rng = np.random.default_rng([seed, number])
    command = turns[number % len(turns)]
    known, by_time = references[command], rng.random() < 0.25
    ending = "kill" if by_time else str(rng.choice(ENDINGS))
    seconds = float(rng.random() * known.seconds) if by_time else None
    return Case(command, ending, int(rng.integers(1, max(2, known.events + 1))), seconds)


def chaos(kills: int, seed: int, *, turns: Sequence[str] = Commands.TURNS, part: str = "0/1") -> int:
    """Run cases until there were so many kills, print faults and counts, and return the number of faults.

    A `part` such as 1/2 is every second case from case 1 on.
    """
    import torch

    torch.set_num_threads(1)
    number, step = map(int, part.split("/"))
    faults, done, start = 0, Counter[str](), time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        root = Path(name).resolve()
        os.environ["XDG_CACHE_HOME"] = str(root / "cache")
        commands, said = Commands(root), root / "said.txt"
        references = {command: reference(commands, command, said) for command in sorted({*turns})}
        print({k: (round(v.seconds, 1), v.events) for k, v in references.items()}, flush=True)
        while done["kill"] < kills:
            case = draw(number, seed, turns, references)
            killed, fault = disturb(commands, case, references[case.command], said)
            done["kill" if killed else "ended before" if case.ending == "kill" else case.ending] += 1
            if fault is not None:
                faults += 1
                print(f"case {number}, {case}: {fault}", flush=True)
            if done.total() % 20 == 0:
                print(
                    f"part {part}: {time.monotonic() - start:.0f} s, {dict(done)}, {faults} faults",
                    flush=True,
                )
            number += step
        if "compare" in turns and (fault := together(commands, references["compare"], said)):
            faults += 1
            print(fault, flush=True)
    counts = ", ".join(f"{ending} {count}" for ending, count in sorted(done.items()))
    print(
        f"part {part}: {done.total()} cases ({counts}) in {time.monotonic() - start:.0f} s: {faults} faults"
    )
    return faults


def main() -> None:
    """Run the cases that the command line asks for; exit code 1 if there is a fault."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--commands", default=",".join(Commands.TURNS))
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--part", default="0/1", help="every M-th case from case N on, as N/M")
    options = parser.parse_args()
    if options.jobs == 1:
        faults = chaos(options.kills, options.seed, turns=options.commands.split(","), part=options.part)
        sys.exit(1 if faults else 0)
    share = ["--kills", str(-(-options.kills // options.jobs)), "--seed", str(options.seed)]
    words = [sys.executable, __file__, *share, "--commands", options.commands]
    parts = [subprocess.Popen([*words, "--part", f"{part}/{options.jobs}"]) for part in range(options.jobs)]
    sys.exit(max([process.wait() for process in parts]))


if __name__ == "__main__":
    main()
