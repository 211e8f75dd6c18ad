"""Fine-tune EfficientNet-Lite0 on Intel's scenes and train resnet32 on long-tailed CIFAR-10, on a GPU, in minutes.

    python benchmarks/gpu.py --data-dir ../shared/data [--epochs 200] [--out out/gpu]

Both in bfloat16, the methods on CIFAR-10 at the same time (`--jobs`), since a small network leaves most of a GPU idle.
Published accuracies of resnet32 after 200 epochs at ratio 100: 70-71 % baseline, 77 % LDAM-DRW, 82-87 % the best of any
kind. Every three minutes it prints where it stands.
`--device cpu --epochs 1 --share 0.02` tries the script without a GPU.
"""

from __future__ import annotations

import argparse
import faulthandler
import time
from pathlib import Path

from cifar_lt import SHIFTS, share, share_of

from counterpoise.config import CompareConfig, TrainRunConfig
from counterpoise.datasets import load_dataset
from counterpoise.methods import get_method
from counterpoise.studies import ComparisonStudy, make_grid, run_study
from counterpoise.training import cpu_count, execute_run, prepare_run


def fine_tune(options: argparse.Namespace) -> str:
    """Fine-tune the pretrained network on Intel's scenes, three of six classes thinned to a twentieth."""
    # In memory, they are decoded once instead of once an epoch: 1.1 GB.
    scenes = load_dataset("intel.zip", data_dir=options.data_dir, image_size=160, in_memory=True)
    dataset = share_of(scenes, options.share)
    config = TrainRunConfig.of(
        source="intel.zip",
        method="fine-tuned",
        freeze="none",
        imbalance="step",
        ratio=20,
        minority="3",
        device=options.device,
        precision=options.precision,
    )
    prepared = prepare_run(dataset, config, [get_method("fine-tuned")], threads=cpu_count())
    started = time.perf_counter()
    run = execute_run(prepared.plan, dataset, options.out / "intel")
    seconds, scores = time.perf_counter() - started, run.metrics.raw["test"]["all"]
    return (
        f"Intel, step 20, lite0 fine-tuned in {seconds:.0f} s: G-mean {scores['gmean']:.3f}, "
        f"macro F1 {scores['f1']:.3f}"
    )


def long_tail(options: argparse.Namespace) -> str:
    """Train resnet32 on long-tailed CIFAR-10."""
    dataset = share_of(load_dataset("cifar10.zip", data_dir=options.data_dir), options.share)
    methods = [name + SHIFTS for name in options.methods.split(",")]
    config = CompareConfig.of(
        source="cifar10.zip",
        methods=methods,
        repeats=1,
        metric="accuracy",
        imbalance="long-tail",
        ratio=100,
        validation_fraction=0.0,
        backbone="resnet32",
        pretrained="none",
        epochs=options.epochs,
        batch_size=128,
        lr=0.1,
        optimizer="sgd",
        weight_decay=5e-4,
        schedule="cosine",
        device=options.device,
        precision=options.precision,
        threads=1,
    )
    study = ComparisonStudy(make_grid(dataset, config), dataset)
    table = run_study(study, options.out / "cifar", jobs=options.jobs).table
    found = table[(table.metric == "accuracy") & (table["classes"] == "all")]
    lines = [
        f"{method.partition(':')[0]} {100 * value:.1f} %"
        for method, value in zip(found.method, found.value, strict=True)
    ]
    return f"CIFAR-10, long tail 100, resnet32, {options.epochs} epochs: " + ", ".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data-dir", type=Path, default=Path("../shared/data"))
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--share", type=share, default=1.0)
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--methods", default="bl,ldam-drw,balanced-softmax")
    parser.add_argument("--jobs", type=int, default=3, help="methods on CIFAR-10 at a time")
    parser.add_argument("--out", type=Path, default=Path("out/gpu"))
    options = parser.parse_args()
    options.precision = "bf16-mixed" if options.device == "cuda" else "32-true"
    faulthandler.dump_traceback_later(180, repeat=True)
    for part in (fine_tune, long_tail):
        started = time.perf_counter()
        print(f"{part(options)} ({time.perf_counter() - started:.0f} s)", flush=True)


if __name__ == "__main__":
    main()
