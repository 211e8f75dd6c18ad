"""Conclusions from the runs of a comparison: winner, paired tests, and gains over the baseline."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict, cast

import numpy as np
import pandas as pd

from counterpoise.evaluation import (
    BASELINE,
    FROM_COUNTS,
    METRICS,
    Contender,
    MeanInterval,
    Winner,
    choose_winner,
    judge,
    mean_interval,
    paired_interval,
    paired_tests,
)
from counterpoise.runs.folder import RunFolder
from counterpoise.runs.results import by_draw


class PairedTestRow(TypedDict):
    """Entry ``tests`` of ``summary.json``."""

    metric: str
    classes: str
    a: str
    b: str
    n: int
    difference: float | None
    p_value: float | None
    p_adjusted: float | None


def winner_of(
    runs: Sequence[RunFolder], metric: str, *, repeats: int, order: Sequence[str] = (BASELINE,)
) -> Winner | None:
    """Return the winner on validation images, None without any; see `choose_winner`.

    Test images are never used for selection. Of methods that tie and have as many components, the first of `order` is
    the simpler one.
    """
    found: dict[str, list[RunFolder]] = {name: [] for name in order}
    for run in runs:
        if run.metrics.validation is not None:
            found.setdefault(run.record.method, []).append(run)
    contenders = []
    for name, own in found.items():
        scores = [run.metrics.raw["validation"] for run in own]
        scores = [entry for entry in scores if entry["all"].get(metric) is not None]
        matrices = [np.array(entry["confusion_matrix"]) for entry in scores]
        complexity = sum("." not in option for option in own[0].record.method_options) if own else 0
        contenders.append(Contender(name, matrices, [entry["all"][metric] for entry in scores], complexity))
    classes = runs[0].record.dataset.classes if runs else ()
    return choose_winner(contenders, metric, classes, repeats=repeats)


def compare_methods(table: pd.DataFrame, metric: str) -> list[PairedTestRow]:
    """Return the paired tests between all methods on the same repeats, Holm-corrected."""
    tests = paired_tests(by_draw(table, metric))
    return [cast(PairedTestRow, {"metric": metric, "classes": "all"} | test._asdict()) for test in tests]


def gain_over_baseline(
    table: pd.DataFrame, method: str, metric: str, runs: Sequence[RunFolder] = ()
) -> MeanInterval | None:
    """Return how much better a method is than the baseline on the test images of the same repeats; None if unknown.

    The interval is that of `paired_interval` where the runs have predictions, else over the repeats.
    """
    values = by_draw(table, metric)
    shared = sorted(set(values.get(BASELINE, {})) & set(values.get(method, {})))
    if method == BASELINE or not shared:
        return None
    found = {(run.record.method, run.record.draw): run for run in runs}
    pairs = [(found.get((BASELINE, d)), found.get((method, d))) for d in shared]
    repeats = []
    for base, other in pairs:
        if base is None or other is None or base.predictions is None or other.predictions is None:
            break
        before, after = base.predictions, other.predictions
        if before.paths == after.paths:
            repeats.append((after.true, before.predicted, after.predicted, after.paths))
    if metric in FROM_COUNTS and len(repeats) == len(shared):
        width = len(pairs[0][0].record.dataset.classes) if pairs[0][0] else 0
        return paired_interval(metric, repeats, num_classes=width)
    gains = [METRICS[metric].gain(values[method][d], over=values[BASELINE][d]) for d in shared]
    return mean_interval(gains)


def verdict(gain: MeanInterval | None, method: str, metric: str) -> tuple[bool | None, str]:
    """Return whether a method is certainly better or worse than the baseline (None: neither), and a note.

    `gain` is from `gain_over_baseline`. Only an interval without 0 makes it certain.

    Examples
    --------
    >>> verdict(MeanInterval(-0.05, -0.08, -0.02, 3), "ros", "gmean")
    (False, 'worse than the baseline by 0.050 G-mean (95 %: 0.020 to 0.080): do not use it here')
    >>> verdict(MeanInterval(-0.05, -0.18, 0.08, 3), "ros", "gmean")
    (None, 'cannot be told from the baseline: -0.050 G-mean (95 %: -0.180 to +0.080)')
    """
    if method == BASELINE:
        return None, "baseline: the other methods are compared with it"
    if gain is None or gain.mean is None:
        return None, "not compared with the baseline: add bl to `methods`"
    name, judged = METRICS[metric].short_title, judge(gain)
    if gain.low is None or gain.high is None or not judged.certain:
        over = f" (95 %: {gain.low:+.3f} to {gain.high:+.3f})" if gain.low is not None else ", one repeat"
        return None, f"cannot be told from the baseline: {gain.mean:+.3f} {name}{over}"
    low, high = sorted((abs(gain.low), abs(gain.high)))
    by = f"by {abs(gain.mean):.3f} {name} (95 %: {low:.3f} to {high:.3f})"
    if judged.holds:
        return True, f"better than the baseline {by}"
    return False, f"worse than the baseline {by}: do not use it here"
