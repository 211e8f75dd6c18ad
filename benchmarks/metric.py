"""Measure what `fit --metric f1` and `gmean` change: test scores of the model that each keeps, on the frozen road.

    pip download --no-deps -d WHEELS elpv-dataset
    python benchmarks/metric.py --wheels WHEELS --sets elpv:160,intel-step20:96,cifar10-lt:64 --repeats 3

A set is followed by the height and width of its images in pixels, so that the speed of the machine decides nothing. The
heads of a repeat are trained once; each metric then chooses among them, and its tau, in the same folder. A repeat that
is in the file is not run again.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from choice import decode
from practice_sets import SETS, Example, Sources, draw_examples
from result_table import read_results, write_results

from counterpoise.config import FitConfig
from counterpoise.datasets import ImageDataset, dataset_from_arrays
from counterpoise.evaluation import mean_interval
from counterpoise.runs import RunFolder
from counterpoise.studies import FitStudy, make_fit_plan, run_study
from counterpoise.training import Budget

METRICS = (None, "f1", "gmean")
DEFAULT = "none"


@dataclass(frozen=True)
class Result:
    """A row of the file: what a metric chose, and its scores on test images."""

    set: str
    repeat: int
    metric: str
    chosen: str
    tau: float
    f1: float
    gmean: float
    recall: float


def draw(sources: Sources, name: str, repeat: int, size: int, share: float, most_tested: int) -> ImageDataset:
    """Return a repeat of a set, with images of one size and that share of its training images."""
    rng = np.random.default_rng(repeat)
    train, test = draw_examples(SETS[name], sources, rng, most_tested)
    classes = sorted({example.label for example in train})
    kept = [e for label in classes for e in _part([e for e in train if e.label == label], share, rng)]

    def arrays(part: list[Example]) -> tuple[np.ndarray, np.ndarray]:
        return np.stack([decode(e, size) for e in part]), np.array([classes.index(e.label) for e in part])

    (pixels, labels), (test_pixels, test_labels) = arrays(kept), arrays(test)
    return dataset_from_arrays(
        pixels, labels, classes=classes, name=name, test_images=test_pixels, test_labels=test_labels
    )


def _part(members: list[Example], share: float, rng: np.random.Generator) -> list[Example]:
    count = int(np.ceil(share * len(members)))
    return [members[i] for i in rng.permutation(len(members))[:count]]


def run_repeat(options: argparse.Namespace, name: str, size: int, repeat: int) -> list[Result]:
    """Train the heads of a repeat, and let each metric choose."""
    sources = Sources(options.data_dir, options.wheels)
    dataset = draw(sources, name, repeat, size, options.share, options.most_tested)
    config = FitConfig.of(
        source=name,
        image_size=size,
        tune=False,
        seed=repeat,
        budget=36_000,
        threads=options.threads,
        device="cpu",
    )
    budget = Budget(config.budget)
    dataset, plan = make_fit_plan(dataset, config, budget)
    results = []
    with tempfile.TemporaryDirectory() as folder:
        for metric in METRICS:
            study = FitStudy(replace(plan, metric=metric), dataset, budget)
            summary = run_study(study, Path(folder) / "fit").summary
            best = RunFolder.open(Path(folder) / "fit" / "best").metrics.test
            if best is None or summary["failed"]:
                raise SystemExit(f"{name}, repeat {repeat}: {summary['failed']}")
            scores = [float(best.score(score) or 0.0) for score in ("f1", "gmean", "recall")]
            results.append(
                Result(name, repeat, metric or DEFAULT, str(summary["winner"]), summary["tau"], *scores)
            )
    return results


def report(results: list[Result]) -> None:
    """Print the mean scores of each metric on each set, and the paired change against the default rule."""
    print(f"{'set':14} {'metric':6} repeats  macro F1  G-mean   change of both (95 % interval)")
    for name in dict.fromkeys(r.set for r in results):
        base = {r.repeat: r for r in results if (r.set, r.metric) == (name, DEFAULT)}
        for metric in dict.fromkeys(r.metric for r in results):
            own = [r for r in results if (r.set, r.metric) == (name, metric)]
            means = [np.mean([getattr(r, score) for r in own]) for score in ("f1", "gmean")]
            cells = []
            for score in ("f1", "gmean"):
                mean, low, high = mean_interval(
                    getattr(r, score) - getattr(base[r.repeat], score) for r in own
                )[:3]
                interval = "" if low is None or high is None else f" ({low:+.3f} to {high:+.3f})"
                cells.append(f"{mean or 0.0:+.3f}{interval}")
            print(
                f"{name:14} {metric:6} {len(own):7}  {means[0]:.3f}     {means[1]:.3f}    {', '.join(cells)}"
            )


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--sets", default="elpv:160,intel-step20:96,cifar10-lt:64", help=f"SET:SIZE of {', '.join(SETS)}"
    )
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--share", type=float, default=1.0, help="of the training images of each class")
    parser.add_argument("--most-tested", type=int, default=2000, help="test images, evenly over the classes")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--data-dir", type=Path, default=Path("../shared/data"))
    parser.add_argument(
        "--wheels", type=Path, default=Path("wheels"), help="folder of the wheel of elpv-dataset"
    )
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/metric.csv"))
    options = parser.parse_args()
    sets = [text.partition(":") for text in options.sets.split(",")]
    unknown = [text for text in sets if text[0] not in SETS or not text[2].isdecimal()]
    if unknown:
        parser.error(
            f"unknown: {', '.join(map(''.join, unknown))}; expected SET:SIZE, sets: {', '.join(SETS)}"
        )
    results = read_results(options.out, Result)
    for name, _, size in sets:
        for repeat in range(options.repeats):
            if not any((r.set, r.repeat) == (name, repeat) for r in results):
                results += run_repeat(options, name, int(size), repeat)
                write_results(results, options.out, Result)
            for r in (r for r in results if (r.set, r.repeat) == (name, repeat)):
                print(
                    f"{name} {repeat}, {r.metric}: {r.chosen}, tau {r.tau:g}, F1 {r.f1:.3f}, G-mean {r.gmean:.3f}",
                    flush=True,
                )
    report([r for r in results if r.set in {name for name, *_ in sets} and r.repeat < options.repeats])
    return 0


if __name__ == "__main__":
    sys.exit(main())
