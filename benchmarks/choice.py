"""Measure what `fit` loses by its choice among heads: test G-mean of the best candidate minus that of the chosen one.

    pip download --no-deps -d WHEELS elpv-dataset
    python benchmarks/choice.py --wheels WHEELS --seeds 10 --sets intel,cifar10,elpv --out choice.csv

Each seed draws about 600 training images, of which one class has 5, and test images that play no part in the choice.
Heads are compared on the frozen pretrained network, as `fit --no-tune` does. The bar is a mean regret of at most .03. A
seed that is in the file is not run again; it takes well under a minute on two cores.
"""

from __future__ import annotations

import argparse
import io
import sys
import tempfile
import time
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from practice_sets import SETS, Example, Sources
from result_table import read_results, write_results

from counterpoise.config import FitConfig
from counterpoise.datasets import ImageDataset, dataset_from_arrays
from counterpoise.evaluation import mean_interval
from counterpoise.studies import FitStudy, make_fit_plan, run_study
from counterpoise.training import Budget

BAR = 0.03
RARE = 5
MOST_TESTED = 1200
SOURCES = {"intel": "intel-step20", "cifar10": "cifar10-lt", "elpv": "elpv"}


@dataclass(frozen=True)
class Result:
    """A row of the file: test G-means of the candidate that was chosen, and of the best one."""

    set: str
    seed: int
    rarest: str
    chosen: str
    best: str
    chosen_gmean: float
    best_gmean: float
    regret: float
    spread: float  # best minus worst candidate: what a choice can lose at all
    seconds: float


def draw(sources: Sources, name: str, seed: int, *, images: int, size: int) -> tuple[ImageDataset, str]:
    """Return the images of one seed, `size` pixels high and wide, and the class that was thinned."""
    train, test = SETS[SOURCES[name]].read(sources)
    rng = np.random.default_rng(seed)
    classes = sorted({example.label for example in train})
    by_class = {label: [e for e in train if e.label == label] for label in classes}
    tested = {label: [e for e in test if e.label == label] for label in classes}
    rarest = classes[rng.integers(len(classes))]
    chosen: list[Example] = []
    held_out: list[Example] = []
    for label in classes:
        members = [by_class[label][i] for i in rng.permutation(len(by_class[label]))]
        most = MOST_TESTED // len(classes)
        if test:
            held_out += [tested[label][i] for i in rng.permutation(len(tested[label]))[:most]]
        else:
            held = min(most, len(members) // 3)
            held_out, members = held_out + members[:held], members[held:]
        chosen += members[: RARE if label == rarest else (images - RARE) // (len(classes) - 1)]
    arrays = [
        (np.stack([decode(e, size) for e in part]), np.array([classes.index(e.label) for e in part]))
        for part in (chosen, held_out)
    ]
    (pixels, labels), (test_pixels, test_labels) = arrays
    dataset = dataset_from_arrays(
        pixels, labels, classes=classes, name=name, test_images=test_pixels, test_labels=test_labels
    )
    return dataset, rarest


def decode(example: Example, size: int) -> np.ndarray:
    """Return the pixels (3, size, size) of an example, uint8."""
    with Image.open(io.BytesIO(example.read())) as image:
        return np.asarray(image.convert("RGB").resize((size, size))).transpose(2, 0, 1)


def run_one(sources: Sources, name: str, seed: int, *, images: int, size: int, threads: int) -> Result:
    """Run the study of one seed, and compare its choice with the test scores."""
    started = time.perf_counter()
    dataset, rarest = draw(sources, name, seed, images=images, size=size)
    config = FitConfig.of(
        source=name, image_size=size, tune=False, seed=seed, budget=3600, threads=threads, device="cpu"
    )
    budget = Budget(config.budget)
    dataset, plan = make_fit_plan(dataset, config, budget)
    with tempfile.TemporaryDirectory() as folder:
        result = run_study(FitStudy(plan, dataset, budget), Path(folder) / "fit")
    rows = result.table[(result.table["metric"] == "gmean") & (result.table["classes"] == "all")]
    scores = dict(zip(rows["method"], rows["value"], strict=True))
    chosen, best = result.summary["winner"], max(scores, key=lambda candidate: scores[candidate])
    if chosen is None or result.summary["failed"]:
        raise SystemExit(f"{name}, seed {seed}: {result.summary['failed']}")
    return Result(
        name,
        seed,
        rarest,
        chosen,
        best,
        scores[chosen],
        scores[best],
        scores[best] - scores[chosen],
        scores[best] - min(scores.values()),
        time.perf_counter() - started,
    )


def report(results: list[Result]) -> bool:
    """Print the mean regret of each set and of all, and return whether the bar is met."""
    print(f"{'set':10} seeds  mean regret (95 % interval)   best minus worst")
    for name in [*sorted({r.set for r in results}), "all"]:
        own = [r for r in results if name in (r.set, "all")]
        mean, low, high, n = mean_interval(r.regret for r in own)[:4]
        spread = mean_interval(r.spread for r in own).mean
        interval = "" if low is None or high is None else f" ({low:.4f} to {high:.4f})"
        print(f"{name:10} {n:5}  {mean:.4f}{interval:22}   {spread:.4f}")
    met = mean is not None and mean <= BAR
    print(f"bar: a mean regret of at most {BAR}: {'met' if met else 'missed'}")
    return met


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sets", default="intel,cifar10,elpv", help=f"of {', '.join(SOURCES)}")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--images", type=int, default=600, help="training images, about")
    parser.add_argument("--size", type=int, default=64, help="height and width of the images in pixels")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--data-dir", type=Path, default=Path("../shared/data"))
    parser.add_argument(
        "--wheels", type=Path, default=Path("wheels"), help="folder of the wheel of elpv-dataset"
    )
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/choice.csv"))
    options = parser.parse_args()
    sets = options.sets.split(",")
    unknown = [name for name in sets if name not in SOURCES]
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}; sets: {', '.join(SOURCES)}")
    # Few images of a class are the point here.
    warnings.simplefilter("ignore")
    results = {(r.set, r.seed): r for r in read_results(options.out, Result)}
    sources = Sources(options.data_dir, options.wheels)
    for name in sets:
        for seed in range(options.seeds):
            if (name, seed) not in results:
                settings = {"images": options.images, "size": options.size, "threads": options.threads}
                results[name, seed] = run_one(sources, name, seed, **settings)
                ordered = sorted(results.values(), key=lambda found: (found.set, found.seed))
                write_results(ordered, options.out, Result)
            r = results[name, seed]
            print(
                f"{name} seed {seed}, {RARE} of {r.rarest}: {r.chosen} {r.chosen_gmean:.3f}, best {r.best} "
                f"{r.best_gmean:.3f}, regret {r.regret:.3f} ({r.seconds:.0f} s)",
                flush=True,
            )
    wanted = [r for r in results.values() if r.set in sets and r.seed < options.seeds]
    return 0 if report(wanted) else 1


if __name__ == "__main__":
    sys.exit(main())
