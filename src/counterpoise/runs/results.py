"""From finished runs to tables: ``results.csv`` and ``summary.json``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from counterpoise.evaluation import (
    BASELINE,
    GROUPS,
    METRICS,
    MeanInterval,
    judge,
    mean_interval,
    paired_tests,
    scores_to_rows,
)
from counterpoise.files import atomic_path
from counterpoise.runs.folder import RunFolder

COLUMNS = ("dataset", "imbalance", "imbalance_ratio", "draw", "seed", "method", "classes", "metric", "value")


def result_rows(folder: RunFolder, split: str = "test") -> list[dict[str, Any]]:
    """Return the scores of one run as rows of ``results.csv``."""
    record = folder.record
    scores = folder.metrics[split]
    if scores is None:
        return []
    counts = [n for n in record["dataset"]["counts"]["train"] if n]
    common = {
        "dataset": record["dataset"]["name"],
        "imbalance": record["imbalance"]["profile"],
        # The nominal ratio of a made imbalance, the true one of a natural one.
        "imbalance_ratio": record["imbalance"].get("ratio") or round(max(counts) / min(counts), 4),
        "draw": record["draw"],
        "seed": record["seed"],
        "method": record["method"],
    }
    return [common | row for row in scores_to_rows(scores)]


def results_table(folders: Sequence[RunFolder], split: str = "test") -> pd.DataFrame:
    """Return all runs' scores in long format, one value a row."""
    rows = [row for folder in folders for row in result_rows(folder, split)]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def write_results(path: Path, table: pd.DataFrame) -> None:
    """Write ``results.csv`` atomically."""
    with atomic_path(path) as temporary:
        table.to_csv(temporary, index=False)


def method_scores(table: pd.DataFrame, method: str) -> dict[str, dict[str, dict[str, Any]]]:
    """Return mean and 95 % interval over draws of one method: class group -> metric -> mean, low, high, n."""
    rows = table[table["method"] == method]
    scores: dict[str, dict[str, dict[str, Any]]] = {}
    for group in GROUPS.names:
        for metric in METRICS.names:
            values = rows.loc[(rows["classes"] == group) & (rows["metric"] == metric), "value"].tolist()
            if values:
                scores.setdefault(group, {})[metric] = mean_interval(values)._asdict()
    return scores


def by_draw(table: pd.DataFrame, metric: str, classes: str = "all") -> dict[str, dict[Any, float]]:
    """Return one metric as method -> draw -> value."""
    rows = table[(table["metric"] == metric) & (table["classes"] == classes)]
    found: dict[str, dict[Any, float]] = {}
    for method, draw, value in zip(rows["method"], rows["draw"], rows["value"], strict=True):
        found.setdefault(method, {})[int(draw)] = float(value)
    return found


def compare_methods(table: pd.DataFrame, metric: str) -> list[dict[str, Any]]:
    """Return the paired tests between all methods on the same draws, Holm-corrected."""
    return [
        {"metric": metric, "classes": "all"} | test._asdict() for test in paired_tests(by_draw(table, metric))
    ]


def verdict(table: pd.DataFrame, method: str, metric: str) -> tuple[bool | None, str]:
    """Return whether a method beats plain training on the test images, and say so in words.

    Returns
    -------
    beats : bool or None
        None where plain training was not run, or for plain training itself.
    note : str
        One sentence.
    """
    values = by_draw(table, metric)
    if method == BASELINE:
        return None, "plain training: what the others are measured against"
    shared = sorted(set(values.get(BASELINE, {})) & set(values.get(method, {})))
    if not shared:
        return None, "not compared with plain training: add bl to `methods`"
    gains = [METRICS[metric].gain(values[method][d], over=values[BASELINE][d]) for d in shared]
    gain = sum(gains) / len(shared)
    draws = "draw" if len(shared) == 1 else "draws"
    if judge(MeanInterval(gain, None, None, len(shared))).holds:
        return True, f"better than plain training by {gain:.3f} {metric} (mean of {len(shared)} {draws})"
    if gain == 0:
        return False, f"no better than plain training ({len(shared)} {draws})"
    return (
        False,
        f"worse than plain training by {-gain:.3f} {metric} (mean of {len(shared)} {draws}): do not use it here",
    )
