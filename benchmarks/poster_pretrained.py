"""The poster's Intel rows (Table 1) on the pretrained road, beside the published and the from-scratch numbers.

    python benchmarks/poster_pretrained.py --data-dir DATA --out results/poster-1/pretrained.csv

The splits, the thinning and the repeats are those of `counterpoise reproduce poster-1`; the network is not: the
features are of EfficientNet-Lite0 with ImageNet weights, frozen, and the scenes have 128 pixels instead of 64. So these
rows show what starting from pretrained weights is worth, and say nothing about the poster's method.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

from counterpoise.config import CompareConfig
from counterpoise.evaluation import MeanInterval, mean_interval
from counterpoise.report import mean_text
from counterpoise.studies import ComparisonStudy, make_grid, run_study
from counterpoise.studies.reproduce.sources import load_images

RATIO, SHARES, REPEATS = 20, ("0.4", "0.6", "0.8"), 3
METHODS = "bl,ros,logit-adjusted"
#: Macro F1 of Table 1 in percent: BL, ROS, AOS.
PUBLISHED = {"0.4": (72.68, 71.66, 73.69), "0.6": (61.32, 62.48, 66.33), "0.8": (61.12, 64.56, 65.16)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data-dir", type=Path, required=True, help="folder with intel.zip")
    parser.add_argument("--scratch", type=Path, default=Path("results/poster-1/results.csv"))
    parser.add_argument("--out", type=Path, default=Path("results/poster-1/pretrained.csv"))
    parser.add_argument("--work", type=Path, default=Path("out/poster-pretrained"))
    parser.add_argument("--image-size", type=int, default=128)
    args = parser.parse_args()
    _, dataset = load_images("intel", data_dir=args.data_dir, image_size=args.image_size)
    tables = []
    for share in SHARES:
        settings = {
            "imbalance": "step",
            "ratio": RATIO,
            "minority": share,
            "balanced": True,
            "repeats": REPEATS,
        }
        model = {"pretrained": "auto", "freeze": "all", "cache": args.work / "cache", "threads": 1}
        config = CompareConfig.of(source="intel.zip", methods=METHODS, **settings, **model)
        study = ComparisonStudy(make_grid(dataset, config), dataset)
        table = run_study(study, args.work / f"mu{share}", jobs=1).table
        tables.append(table.assign(setting=f"intel-mu{share}-ratio{RATIO}"))
    results = pd.concat(tables)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    results.to_csv(args.out, index=False)
    scratch = pd.read_csv(args.scratch)
    print(
        "| minority share | published BL, ROS, AOS | from scratch, best of ours | "
        + " | ".join(METHODS.split(","))
        + " |"
    )
    print("| --- | --- | --- |" + " --- |" * len(METHODS.split(",")))
    for share in SHARES:
        setting = f"intel-mu{share}-ratio{RATIO}"
        old = _f1(scratch[scratch.setting == setting])
        best = max(old, key=lambda name: old[name].mean or 0.0)
        cells = [_text(value) for value in _f1(results[results.setting == setting]).values()]
        published = ", ".join(f"{value / 100:.3f}" for value in PUBLISHED[share])
        print(f"| {share} | {published} | `{best}` {_text(old[best])} | " + " | ".join(cells) + " |")


def _f1(table: pd.DataFrame) -> dict[str, MeanInterval]:
    """Return mean and 95 % interval of the macro F1 of each method."""
    rows = table[(table["classes"] == "all") & (table.metric == "f1")]
    return {
        str(method): mean_interval(values.to_numpy())
        for method, values in rows.groupby("method", sort=False).value
    }


def _text(found: MeanInterval) -> str:
    return mean_text(found.mean, found.low, found.high)


if __name__ == "__main__":
    main()
