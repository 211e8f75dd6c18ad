"""Compare the recommended recipe with the papers' best numbers, and with the recipe without each component.

    python benchmarks/recipe.py bars     --data-dir ../shared/data [--only mnist-0.9,cifar10] [--repeats 5] [--jobs 2]
    python benchmarks/recipe.py ablation --data-dir ../shared/data [--only ...] [--repeats 3]

`bars` scores the test set on repeats 0, 1, ...; `ablation` scores the validation set on repeats 100, 101, ..., as did
the trials that chose the recipe: the test set was never used for selection. All methods have the same network, epochs,
batch size and optimizer; the method's sampler determines the length of an epoch. Runs are stored below `--out`, so an
interrupted command resumes. `ablation` writes docs/recipe/ablation.md, `bars` a table in `--out`. (docs/recipe/bars.md
is of the papers' tables in results/, by tools/make_results_page.py.)
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from pathlib import Path

from counterpoise.config import CompareConfig
from counterpoise.datasets import ImageDataset, load_dataset
from counterpoise.evaluation import MeanInterval, mean_interval
from counterpoise.methods import get_method
from counterpoise.studies import ComparisonStudy, RunGrid, make_grid, run_study

RECIPE = "counterpoise"
DOCS = Path(__file__).parents[1] / "docs/recipe"
WITHOUT = {
    "the whole recipe": RECIPE,
    "no adversarial images": f"{RECIPE}:perturb=none",
    "no random shifts and rotations": f"{RECIPE}:augment=none",
    "constant learning rate": f"{RECIPE}:schedule=constant",
    "no sampling": f"{RECIPE}:sampler=none",
    "no fine-tuning of the head": f"{RECIPE}:head=none",
    "baseline": "bl",
}


@dataclass(frozen=True)
class Setting:
    """A row of a paper: data, imbalance, budget, and its best published number."""

    data: str
    backbone: str
    epochs: int
    metric: str
    published: float | None
    methods: str
    minority: str | None = None
    ratio: float | None = None


SETTINGS = {
    "mnist-0.3": Setting("mnist", "lenet", 3, "f1", 0.9292, f"ros,aos,{RECIPE}", "0.3", 500),
    "mnist-0.9": Setting("mnist", "lenet", 3, "f1", 0.8351, f"ros,aos,{RECIPE}", "0.9", 500),
    "fashion-mnist": Setting("fashion-mnist", "lenet", 5, "gmean", 0.803, f"bl,{RECIPE}", "4", 100),
    "fashion-mnist-balanced": Setting("fashion-mnist", "lenet", 5, "accuracy", None, f"bl,{RECIPE}"),
    "cifar10": Setting("cifar10.zip", "convnet", 5, "gmean", 0.412, f"bl,{RECIPE}", "4", 100),
    "cifar10-0.4-60": Setting("cifar10.zip", "convnet", 5, "f1", 0.6077, f"ros,aos,{RECIPE}", "0.4", 60),
    "cifar10-0.6-60": Setting("cifar10.zip", "convnet", 5, "f1", 0.5410, f"ros,aos,{RECIPE}", "0.6", 60),
    "cifar10-0.8-60": Setting("cifar10.zip", "convnet", 5, "f1", 0.5118, f"ros,aos,{RECIPE}", "0.8", 60),
    "cifar10-0.3-500": Setting("cifar10.zip", "convnet", 5, "f1", 0.4541, f"ros,aos,{RECIPE}", "0.3", 500),
    "cifar10-0.9-500": Setting("cifar10.zip", "convnet", 5, "f1", 0.1626, f"ros,aos,{RECIPE}", "0.9", 500),
}
ABLATED = ("mnist-0.9", "fashion-mnist", "cifar10")


def study_of(
    setting: Setting, methods: str, draws: range, data_dir: Path, validation: float
) -> tuple[RunGrid, ImageDataset]:
    source = str(data_dir / setting.data) if setting.data.endswith(".zip") else setting.data
    dataset = load_dataset(source, data_dir=data_dir)
    config = CompareConfig.of(
        source=source,
        methods=methods,
        metric=setting.metric,
        imbalance="step" if setting.ratio else "natural",
        ratio=setting.ratio,
        minority=setting.minority,
        backbone=setting.backbone,
        epochs=setting.epochs,
        validation_fraction=validation,
    )
    study = make_grid(dataset, config)
    return replace(study, repeats=tuple(draws)), dataset


def cell(values: dict) -> str:
    found = mean_interval(values.values())
    return f"{found.mean:.3f}{_half(found)} ({found.n})"


def difference(values: dict, whole: dict) -> str:
    """Return the mean difference from the whole recipe, paired by repeat."""
    found = mean_interval([values[draw] - whole[draw] for draw in sorted(values.keys() & whole.keys())])
    return f"{found.mean:+.3f}{_half(found)}"


def _half(found: MeanInterval) -> str:
    return "" if found.n < 2 else f" ± {(found.high - found.low) / 2:.3f}"


def scores(out: Path, metric: str, split: str, draws: range) -> dict[str, dict]:
    """Return method -> repeat -> score of the finished runs in a study's folder."""
    from counterpoise.runs import RunFolder

    found: dict[str, dict] = {}
    for path in sorted((out / "runs").glob("*/run.json")):
        if RunFolder(path.parent).is_complete():
            run = RunFolder.open(path.parent)
            # A method record that has changed since is another method of the same name.
            current = get_method(run.record.method).options() == run.record.method_options
            if current and run.record.draw in draws:
                value = run.metrics.raw[split]["all"][metric]
                found.setdefault(run.record.method, {})[run.record.draw] = value
    return found


def write_bars(root: Path, draws: range) -> None:
    lines = [
        "| setting | score | published best | `bl` | `ros` | `aos` | `counterpoise` |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, setting in SETTINGS.items():
        found = scores(root / name, setting.metric, "test", draws)
        published = "" if setting.published is None else f"{setting.published:.3f}"
        cells = (cell(found[m]) if m in found else "not run" for m in ("bl", "ros", "aos", RECIPE))
        lines.append(f"| {name} | {setting.metric} | {published} | {' | '.join(cells)} |")
    _write(
        root / "bars.md",
        lines,
        "Test images; mean ± half the 95 % interval (number of repeats, from repeat 0).",
        "bars",
    )


def write_ablation(root: Path, draws: range) -> None:
    names = [name for name in ABLATED if (root / f"ablation-{name}").exists()]
    lines = [
        f"| | {' | '.join(f'{name}, {SETTINGS[name].metric} | against the whole' for name in names)} |",
        f"| --- |{' --- | --- |' * len(names)}",
    ]
    tables = [scores(root / f"ablation-{n}", SETTINGS[n].metric, "validation", draws) for n in names]
    for title, spec in WITHOUT.items():
        cells = []
        for table in tables:
            cells.append(cell(table[spec]) if spec in table else "")
            cells.append(difference(table[spec], table[RECIPE]) if spec != RECIPE and spec in table else "")
        lines.append(f"| {title} (`{spec}`) | {' | '.join(cells)} |")
    text = (
        "Validation images; mean ± half the 95 % interval (number of repeats, from repeat 100), and the difference "
        "from the whole recipe, paired by repeat."
    )
    _write(DOCS / "ablation.md", lines, text, "ablation")


def _write(path: Path, lines: list[str], text: str, command: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    made = f"{text} Generated by `python benchmarks/recipe.py {command} --data-dir DIR`.\n\n"
    path.write_text(made + "\n".join(lines) + "\n")
    print("\n".join(lines))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["bars", "ablation"])
    parser.add_argument("--data-dir", type=Path, default=Path("../shared/data"))
    parser.add_argument("--only", default="")
    parser.add_argument("--repeats", type=int)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("out/recipe"))
    options = parser.parse_args()
    first, default = (0, 5) if options.what == "bars" else (100, 3)
    draws = range(first, first + (options.repeats or default))
    known = SETTINGS if options.what == "bars" else ABLATED
    for name in options.only.split(",") if options.only else known:
        setting = SETTINGS[name]
        methods = setting.methods if options.what == "bars" else ",".join(WITHOUT.values())
        validation = 0.0 if options.what == "bars" else 0.1  # the papers train on all training images
        study, dataset = study_of(setting, methods, draws, options.data_dir, validation)
        folder = options.out / (name if options.what == "bars" else f"ablation-{name}")
        run_study(ComparisonStudy(study, dataset), folder, jobs=options.jobs)
    (write_bars if options.what == "bars" else write_ablation)(options.out, draws)


if __name__ == "__main__":
    main()
