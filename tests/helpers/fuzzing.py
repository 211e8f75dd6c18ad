"""Mutated inputs for the command line: each is refused or read in time, with little memory and no traceback.

    python tests/helpers/fuzzing.py --cases 3000 --seed 0 --jobs 2

Every case is a command in a process of its own, forked from this one, with one mutated image, zip, CSV, YAML, run
folder, weights file or option. It must end within seconds, with exit code 0, 1 or 2, at most a few lines on stderr, and
none about an unexpected error. The same seed gives the same cases.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from zipfile import ZIP_BZIP2, ZIP_DEFLATED, ZIP_LZMA, ZIP_STORED, ZipFile

import numpy as np
from PIL import Image

SECONDS, MEBIBYTES = 60.0, 2048
QUICK = ("--epochs", "1", "--batch-size", "16", "--threads", "1", "--device", "cpu")
TOKENS = [
    *(
        b"\0",
        b"\xff",
        b"\xff\xd9",
        b"\x80\x00\x00\x00",
        b"\x7f\xff\xff\xff",
        b"-1",
        b"1e999",
        b"NaN",
        b"null",
        b"[" * 2000,
    ),
    *(
        b'"',
        b",",
        b";",
        b"\n",
        b"{",
        b"}",
        b"\xef\xbb\xbf",
        "ÿ".encode("latin-1"),
        b"../",
        b"~x",
        b"0" * 400,
        b"x" * 200_000,
    ),
]
WORDS = [
    *(
        "",
        "0",
        "-1",
        "inf",
        "nan",
        "1e308",
        "1" + "0" * 25,
        "[",
        "[" * 3000,
        "{}",
        "~nosuchuser",
        "\udcff",
        "\0",
        "a" * 5000,
    ),
    *(
        "../..",
        "/dev/null",
        "/etc",
        ".",
        "none",
        "null",
        "true",
        "1,2",
        "bl:lr=1",
        "bl:",
        ":",
        "a:b=c",
        "ados:nu_max=-1",
        "*",
        "%s",
    ),
]
NAMES = [
    "odd",
    "\udcff\udcfe",
    "a\nb",
    " ",
    "-x",
    "=cmd()",
    "%s{0}",
    "é" * 60,
    "e\u0301",
    "\u202egnp",
    "'\"<b>",
]
VALUES = [
    None,
    True,
    -1,
    0,
    1e308,
    10**25,
    float("nan"),
    "",
    "x",
    "\0",
    [],
    {},
    [[]],
    [None],
    {"a": {}},
    "9" * 5000,
]


@dataclass(frozen=True)
class Case:
    """Command and what was mutated."""

    kind: str
    arguments: tuple[str, ...]


@dataclass(frozen=True)
class Fault:
    """What a case did wrong."""

    number: int
    case: Case
    reason: str
    said: str


class Inputs:
    """Valid inputs, made once, and the mutated cases made of them; `root` is an empty folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.valid = root / "valid"
        rng = np.random.default_rng(0)
        for label, name in enumerate(("cat", "dog", "owl")):
            for index in range(8):
                self._picture(rng, label).save(_parent(self.valid / "photos" / name / f"{index}.png"))
        photos = sorted(path.relative_to(self.valid) for path in (self.valid / "photos").rglob("*.png"))
        lines = [f"{path},{path.parent.name},{'test' if path.stem > '5' else 'train'}" for path in photos]
        (self.valid / "list.csv").write_text("path,label,split\n" + "\n".join(lines) + "\n")
        self.photos = photos
        run("train", self.valid / "photos", "--method", "bl", "--out", self.valid / "run", *QUICK)
        run(
            "compare",
            self.valid / "photos",
            "--methods",
            "bl,tau-norm",
            "--repeats",
            "1",
            "--out",
            self.valid / "study",
            *QUICK,
        )
        self.config = captured("compare", self.valid / "photos", "--print-config")
        (self.valid / "settings.yaml").write_text(self.config)
        assert (self.valid / "run" / "run.json").exists()
        assert (self.valid / "study" / "summary.json").exists()

    @staticmethod
    def _picture(rng: np.random.Generator, label: int) -> Image.Image:
        pixels = rng.integers(0, 120, (16, 16, 3)).astype(np.uint8)
        pixels[label * 4 : label * 4 + 4] += 110
        return Image.fromarray(pixels)

    def case(self, number: int, seed: int) -> Case:
        """Make a case in a folder of its own; the same numbers give the same case."""
        rng = np.random.default_rng([seed, number])
        kinds: list[Callable[[np.random.Generator, Path], Case]]
        kinds = [self._image, self._zip, self._csv, self._yaml, self._run, self._weights, self._option]
        kinds += [self._odd_file, self._variant, self._tensors, self._resume, self._costs]
        folder = self.root / "case"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        return kinds[number % len(kinds)](rng, folder)

    def _image(self, rng: np.random.Generator, folder: Path) -> Case:
        target = folder / "photos"
        shutil.copytree(self.valid / "photos", target)
        kind, ending = _choose(
            rng,
            [
                ("PNG", "png"),
                ("JPEG", "jpg"),
                ("BMP", "bmp"),
                ("TIFF", "tif"),
                ("GIF", "gif"),
                ("WEBP", "webp"),
                ("PPM", "ppm"),
            ],
        )
        buffer = BytesIO()
        mode = _choose(rng, ["RGB", "L", "1", "P", "RGBA", "I;16", "CMYK"])
        with contextlib.suppress(OSError, ValueError):
            image = self._picture(rng, 0)
            (image.convert("I").convert(mode) if mode == "I;16" else image.convert(mode)).save(buffer, kind)
        path = target / "cat" / f"odd.{ending}"
        path.write_bytes(mutated(rng, buffer.getvalue() or b"x"))
        command = _choose(
            rng, [("audit", target), ("predict", self.valid / "run", path, "--out", folder / "p.csv")]
        )
        return Case(f"image {kind} {mode}", tuple(map(str, command)))

    def _zip(self, rng: np.random.Generator, folder: Path) -> Case:
        path = folder / "set.zip"
        method = _choose(rng, [ZIP_STORED, ZIP_DEFLATED, ZIP_BZIP2, ZIP_LZMA])
        with ZipFile(path, "w", method) as archive:
            for photo in self.photos[::3]:
                archive.write(self.valid / photo, str(photo))
        path.write_bytes(mutated(rng, path.read_bytes()))
        return Case(f"zip {method}", ("audit", str(path)))

    def _csv(self, rng: np.random.Generator, folder: Path) -> Case:
        text = (self.valid / "list.csv").read_bytes()
        path = self.valid / "mutated.csv"
        path.write_bytes(mutated(rng, text))
        return Case("csv", ("audit", str(path)))

    def _yaml(self, rng: np.random.Generator, folder: Path) -> Case:
        path = folder / "settings.yaml"
        path.write_bytes(mutated(rng, self.config.encode()))
        return Case("yaml", ("compare", "--config", str(path), "--print-config"))

    def _run(self, rng: np.random.Generator, folder: Path) -> Case:
        study = bool(rng.integers(2))
        target = folder / "run"
        shutil.copytree(self.valid / ("study" if study else "run"), target)
        files = sorted(
            path
            for path in target.rglob("*")
            if path.is_file() and path.suffix in (".json", ".csv", ".safetensors")
        )
        path = _choose(rng, files)
        if path.suffix == ".json" and rng.integers(2):
            path.write_text(json.dumps(mutated_value(rng, json.loads(path.read_text()))))
        else:
            path.write_bytes(mutated(rng, path.read_bytes()))
        model = target / "best" if study else target
        image = self.valid / "photos" / "cat"
        commands = [
            ("evaluate", model, self.valid / "photos"),
            ("predict", model, image, "--out", folder / "p.csv"),
            ("report", target, "--out", folder / "r.html"),
            ("adjust", model, "--out", folder / "adjusted"),
            ("explain", model, image, "--out", folder / "e"),
        ]
        return Case(f"run {path.name}", tuple(map(str, _choose(rng, commands))))

    def _weights(self, rng: np.random.Generator, folder: Path) -> Case:
        path = folder / "w.safetensors"
        path.write_bytes(mutated(rng, (self.valid / "run" / "model.safetensors").read_bytes()))
        if rng.integers(2):
            import torch

            content = _choose(
                rng,
                [
                    {1: torch.zeros(2)}, {"a": torch.zeros(2).to_sparse()}, {"model": None}, [], 3, "x",
                    {"state_dict": {"a": torch.zeros(1) / 0}}, {"a": torch.zeros(2, dtype=torch.complex64)},
                ],
            )  # fmt: skip
            path = folder / "w.pth"
            torch.save(content, path)
            if rng.integers(2):
                path.write_bytes(mutated(rng, path.read_bytes()))
        words = (
            "train",
            self.valid / "photos",
            "--method",
            "bl",
            "--weights",
            path,
            "--out",
            folder / "o",
            *QUICK,
        )
        return Case("weights", tuple(map(str, words)))

    def _odd_file(self, rng: np.random.Generator, folder: Path) -> Case:
        """Links, pipes, sockets, folders and names that no one expects among the images."""
        target = folder / "photos"
        shutil.copytree(self.valid / "photos", target)
        place, name = target / "cat", _choose(rng, NAMES)
        odd, kind = place / f"{name}.png", int(rng.integers(9))
        if kind == 0:
            os.mkfifo(odd)
        elif kind == 1:
            odd.mkdir()
        elif kind == 2:
            with contextlib.closing(socket.socket(socket.AF_UNIX)) as made, contextlib.chdir(place):
                made.bind("socket.png")
        elif kind < 8:
            odd.symlink_to(("nowhere.png", odd, "..", "/dev/zero", self.photos[0].name)[kind - 3])
        elif rng.integers(2):
            shutil.copyfile(self.valid / self.photos[0], odd)
        else:
            (target / "dog").rename(target / name)  # a class of that name
        return Case(f"odd file {kind}", self._use(rng, folder, target, place))

    def _use(self, rng: np.random.Generator, folder: Path, data: Path, images: Path) -> tuple[str, ...]:
        """Return a command that reads a dataset or images."""
        run = self.valid / "run"
        commands = [
            ("audit", data),
            ("evaluate", run, data, "--include-seen"),
            ("predict", run, images, "--out", folder / "p.csv"),
            ("predict", run, images, "--sort-into", folder / "sorted", "--out", folder / "p.csv"),
            ("explain", run, images, "--out", folder / "e"),
            ("train", data, "--method", "bl", "--out", folder / "o", *QUICK),
            ("adjust", run, data, "--out", folder / "adjusted"),
        ]
        return tuple(map(str, _choose(rng, commands)))

    def _variant(self, rng: np.random.Generator, folder: Path) -> Case:
        """Images of rarer makes: animated, interlaced, tiled, compressed otherwise, with metadata."""
        first, second = (self._picture(rng, label).resize((40, 24)) for label in (0, 1))
        exif = Image.Exif()
        exif[0x0112] = int(rng.integers(0, 12))
        kind, options = _choose(
            rng,
            [
                ("WEBP", {"lossless": True}),
                ("WEBP", {"save_all": True, "append_images": [second]}),
                ("GIF", {"save_all": True, "append_images": [second], "loop": 0}),
                ("PNG", {"save_all": True, "append_images": [second]}),
                ("PNG", {"transparency": (1, 2, 3), "exif": exif}),
                ("PNG", {"icc_profile": bytes(200)}),
                *(("TIFF", {"compression": c}) for c in ("tiff_lzw", "tiff_deflate", "packbits", "jpeg")),
                ("TIFF", {"save_all": True, "append_images": [second], "exif": exif}),
                ("JPEG", {"progressive": True, "exif": exif}),
                ("JPEG", {"restart_marker_blocks": 1, "quality": 100}),
            ],
        )
        buffer = BytesIO()
        first.save(buffer, kind, **options)
        target = folder / "photos"
        shutil.copytree(self.valid / "photos", target)
        path = target / "cat" / f"odd.{kind.lower()}"
        path.write_bytes(mutated(rng, buffer.getvalue()))
        return Case(f"variant {kind} {sorted(options)}", self._use(rng, folder, target, path))

    def _tensors(self, rng: np.random.Generator, folder: Path) -> Case:
        """Whole safetensors files in which one tensor is another one, or missing."""
        from safetensors import safe_open
        from safetensors.numpy import load_file, save_file

        target = folder / "run"
        shutil.copytree(self.valid / "run", target)
        path = _choose(rng, sorted(target.glob("*.safetensors")))
        with safe_open(path, "numpy") as file:
            metadata = file.metadata()
        tensors = load_file(path)
        name = _choose(rng, sorted(tensors))
        old = tensors.pop(name)
        flat = np.atleast_1d(old)
        changed = [
            None, flat[:0], flat[1:], old.ravel(), old[..., None], np.full_like(old, 255), np.zeros_like(old),
            old.astype(np.float64), old.astype(np.int64), old.astype(np.uint8), old.astype(np.float16),
            np.full(old.shape, np.nan, np.float32), np.full(old.shape, -np.inf), np.float32(1.0).reshape(()),
        ]  # fmt: skip
        new = changed[int(rng.integers(len(changed)))]
        if new is not None:
            tensors[name] = np.ascontiguousarray(new)
        save_file(tensors, path, metadata if rng.integers(5) else None)
        photos = self.valid / "photos"
        commands = [
            ("evaluate", target, photos),
            ("predict", target, photos / "cat", "--abstain", "--out", folder / "p.csv"),
            ("adjust", target, photos, "--out", folder / "adjusted"),
            ("report", target, "--out", folder / "r.html"),
            ("train", photos, "--method", "bl", "--weights", target, "--out", folder / "o", *QUICK),
        ]
        return Case(f"tensors {path.name} {name}", tuple(map(str, _choose(rng, commands))))

    def _resume(self, rng: np.random.Generator, folder: Path) -> Case:
        """A second call on a folder in which a file is damaged, or of a split file that is."""
        target = folder / "study"
        shutil.copytree(self.valid / "study", target)
        path = _choose(rng, sorted(p for p in target.rglob("*") if p.is_file() and p.suffix != ".lock"))
        path.write_bytes(mutated(rng, path.read_bytes()))
        words = ["compare", self.valid / "photos", "--methods", "bl,tau-norm", "--repeats", "1", *QUICK]
        manifest = path.name == "manifest.json"
        words += ["--split-file", path, "--out", folder / "o"] if manifest else ["--out", target]
        return Case(f"resume {path.name}", tuple(map(str, words)))

    def _costs(self, rng: np.random.Generator, folder: Path) -> Case:
        text, ending = _choose(
            rng, [(b"0,1,2\n3,0,1\n5,1,0\n", "csv"), (b"[[0, 1, 2], [3, 0, 1], [5, 1, 0]]", "json")]
        )
        path = folder / f"costs.{ending}"
        path.write_bytes(mutated(rng, text))
        words = ("adjust", self.valid / "run", self.valid / "photos", "--costs", path)
        return Case("costs", tuple(map(str, (*words, "--out", folder / "adjusted"))))

    def _option(self, rng: np.random.Generator, folder: Path) -> Case:
        from counterpoise.cli.main import load_command

        name = _choose(
            rng,
            [
                "export",
                "report",
                "compare",
                "train",
                "fit",
                "audit",
                "evaluate",
                "predict",
                "adjust",
                "explain",
                "transfer",
                "enhance",
            ],
        )
        flags = [f"--{setting.flag}" for setting in load_command(name).settings if not setting.positional]
        words = [_choose(rng, WORDS) for _ in range(2)]
        given = [_choose(rng, [*flags, "--json", "--x"]), words[0]] if rng.integers(4) else [words[1]]
        of_run = name in ("evaluate", "predict", "adjust", "explain", "export", "report")
        first = "run" if of_run else "photos"
        start = [name, str(self.valid / first)] if rng.integers(5) else [name, words[1]]
        more = ["--print-config"] if name in ("compare", "train", "fit", "transfer", "enhance") else []
        if name == "report":
            more = ["--out", str(folder / "r.html")]
        return Case(f"option of {name}", (*start, *given, *more))


def mutated(rng: np.random.Generator, content: bytes) -> bytes:
    """Return bytes after one to eight random changes."""
    data = bytearray(content)
    for _ in range(int(rng.integers(1, 9))):
        start = int(rng.integers(len(data) + 1))
        end = min(len(data), start + int(rng.integers(1, 65)))
        match int(rng.integers(6)):
            case 0:
                data[start:end] = bytes(rng.integers(0, 256, end - start, dtype=np.uint8))
            case 1:
                del data[start:end]
            case 2:
                data[start:start] = _choose(rng, TOKENS)
            case 3:
                data[start:start] = data[start:end] * int(rng.integers(1, 5))
            case 4 if rng.integers(3) == 0:
                del data[start:]
            case _ if start < len(data):
                data[start] ^= 1 << int(rng.integers(8))
    return bytes(data)


def mutated_value(rng: np.random.Generator, value: object) -> object:
    """Return a JSON value in which one entry, at any depth, is another one or missing."""
    if isinstance(value, dict) and value and rng.integers(8):
        key = _choose(rng, sorted(value))
        if rng.integers(6) == 0:
            return {k: v for k, v in value.items() if k != key}
        return value | {key: mutated_value(rng, value[key])}
    if isinstance(value, list) and value and rng.integers(8):
        index = int(rng.integers(len(value)))
        return [*value[:index], mutated_value(rng, value[index]), *value[index + 1 :]]
    return _choose(rng, VALUES)


def _choose(rng: np.random.Generator, items):  # type: ignore[no-untyped-def]
    return items[int(rng.integers(len(items)))]


def _parent(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def run(*arguments: object) -> int:
    """Run a command in this process, quietly."""
    from counterpoise.cli.main import run as command

    with (
        Path(os.devnull).open("w") as nowhere,
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(nowhere),
    ):
        return command([str(argument) for argument in arguments])


def captured(*arguments: object) -> str:
    """Return what a command prints."""
    from io import StringIO

    from counterpoise.cli.main import run as command

    with contextlib.redirect_stdout(StringIO()) as out:
        command([str(argument) for argument in arguments])
    return out.getvalue()


def check(number: int, case: Case, said: Path) -> Fault | None:
    """Run a case in a forked process; return what it did wrong."""
    start, process = time.monotonic(), os.fork()
    if process == 0:
        _in_child(case, said)
    status, usage = None, None
    while status is None and time.monotonic() - start < SECONDS:
        done, code, usage = os.wait4(process, os.WNOHANG)
        status = code if done else None
        time.sleep(0.005)
    if status is None or usage is None:
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
        return Fault(number, case, f"did not end in {SECONDS:.0f} s", _text(said))
    text = _text(said)
    code = os.waitstatus_to_exitcode(status)
    reasons = [
        (code not in (0, 1, 2), f"ended with {code}"),
        ("Traceback" in text or "unexpected error" in text, "unexpected error"),
        (code == 2 and not text.strip(), "refused without a word"),
        (usage.ru_maxrss / 1024 > MEBIBYTES, f"took {usage.ru_maxrss / 1024:.0f} MiB"),
    ]
    return next((Fault(number, case, reason, text) for wrong, reason in reasons if wrong), None)


def _in_child(case: Case, said: Path) -> None:
    code = 70
    try:
        from counterpoise.cli.main import run as command

        tempfile.tempdir = str(said.parent)  # the files of unexpected errors
        here = said.parent / "case" / "in" / "here"  # of relative names, such as ../..
        here.mkdir(parents=True)
        os.chdir(here)
        with (
            said.open("w", errors="backslashreplace") as file,
            Path(os.devnull).open("w") as nowhere,
            contextlib.redirect_stderr(file),
            contextlib.redirect_stdout(nowhere),
        ):
            code = command(list(case.arguments))
    except BaseException as error:
        said.write_text(f"Traceback: {type(error).__name__}: {error}", errors="backslashreplace")
    finally:
        os._exit(code)


def _text(said: Path) -> str:
    return said.read_text(errors="replace") if said.exists() else ""


def fuzz(cases: range, seed: int, *, show: bool = False) -> list[Fault]:
    """Run cases and return their faults."""
    import torch

    torch.set_num_threads(1)
    faults = []
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        os.environ["XDG_CACHE_HOME"] = str(root / "cache")
        inputs = Inputs(root)
        for number in cases:
            case, said = inputs.case(number, seed), root / "said.txt"
            said.unlink(missing_ok=True)
            fault = check(number, case, said)
            faults += [] if fault is None else [fault]
            if show and fault is not None:
                print(
                    f"case {number}, {case.kind}: {fault.reason}\n  {' '.join(case.arguments)[:300]!r}",
                    f"\n  {fault.said[:400]}",
                    flush=True,
                )
            if show and (number + 1) % 100 == 0:
                print(f"{number + 1} cases, {len(faults)} faults", flush=True)
    return faults


def main() -> None:
    """Run the cases that the command line asks for; exit code 1 if there is a fault."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=3000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1)
    options = parser.parse_args()
    start = time.monotonic()
    cases = range(options.first, options.first + options.cases)
    if options.jobs > 1:
        words, size = [sys.executable, __file__, "--seed", str(options.seed)], -(-len(cases) // options.jobs)
        shares = [cases[i : i + size] for i in range(0, len(cases), size)]
        started = [
            subprocess.Popen([*words, "--first", str(own[0]), "--cases", str(len(own))]) for own in shares
        ]
        sys.exit(max([process.wait() for process in started]))
    faults = fuzz(cases, options.seed, show=True)
    print(f"{options.cases} cases in {time.monotonic() - start:.0f} s: {len(faults)} faults")
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
