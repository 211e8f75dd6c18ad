"""Claims of the papers about their tables, decided by our numbers, with intervals."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import TypedDict

import numpy as np
import pandas as pd

from counterpoise.evaluation import GROUPS, judge, mean_interval
from counterpoise.studies.reproduce.side_by_side import Side, values_of
from counterpoise.studies.reproduce.tables import Setting, Table

Score = tuple[str, str]
Repeats = Mapping[int, float]
#: (setting, method, classes, metric) -> repeat -> value.
Values = Mapping[tuple[str, str, str, str], Repeats]

RECIPE, STEPS, EPOCHS = "counterpoise", "equal steps", "equal epochs"
#: Better, worse, and what both have in equal number. The thesis claims ADOS over every other method of a table.
POSTER_CLAIMS: tuple[tuple[str, str, str], ...] = (
    *(("aos", "ros", STEPS), ("ros", "bl", EPOCHS), ("ros", "bl-equal-steps", STEPS)),
    *(("aos", "bl", EPOCHS), ("aos", "bl-equal-steps", STEPS), ("bl", "smote-pixels", EPOCHS)),
    *(("bl-equal-steps", "smote-pixels", STEPS), ("ros", "smote-pixels", STEPS)),
)
#: Scores on which that is claimed.
SCORES: dict[str, tuple[Score, ...]] = {
    "thesis": (("minority", "recall"), ("all", "recall"), ("all", "f1"), ("all", "gmean")),
    "poster": (("all", "f1"),),
}
SCORE_NAMES = {
    ("minority", "recall"): "recall of the rare classes",
    ("all", "recall"): "ACSA (mean recall)",
    ("all", "f1"): "F1",
    ("all", "gmean"): "G-mean",
}


class Finding(TypedDict):
    """A claim and its verdict: ``confirmed``, ``refuted``, ``not decided``, ``not run`` or ``not meaningful``.

    The claim says that `difference` is positive; `low` and `high` are its 95 % interval over `n` repeats. `than` is
    compared with the recipe; that is not meaningful on a line where the baseline, too, is above the best published
    number. A finding is `main` if it is of the whole table rather than of one line that another finding averages over.
    """

    kind: str
    claim: str
    score: str
    verdict: str
    difference: float | None
    low: float | None
    high: float | None
    n: int
    where: str
    than: str
    main: bool


def find(table: Table, sides: Sequence[Side], results: pd.DataFrame) -> list[Finding]:
    """Return the claims of a table's papers, decided by our `results` in long format."""
    paper, values = table.name.partition("-")[0], values_of(results)
    found = [*_orders(table, sides, values, paper), *_recipe(table, sides, values, SCORES.get(paper, ()))]
    if paper == "poster":
        return [*_growths(table, values), *found]
    return [*_declines(table, sides, values), *found] if paper == "thesis" else found


def _finding(
    kind: str, claim: str, score: Score, differences: Repeats, where: str, than: str = "", main: bool = True
) -> Finding:
    # A class by name is a rare one here.
    name = SCORE_NAMES.get(score, SCORE_NAMES["minority", "recall"])
    found = mean_interval(differences.values())
    return {
        "kind": kind,
        "claim": claim,
        "score": name,
        "verdict": judge(found).outcome,
        "difference": found.mean,
        "low": found.low,
        "high": found.high,
        "n": found.n,
        "where": where,
        "than": than,
        "main": main,
    }


def _declines(table: Table, sides: Sequence[Side], values: Values) -> Iterator[Finding]:
    """Every method loses from its smallest ratio to its largest, and with every step; ADOS less than the others."""
    own: dict[str, list[Setting]] = {}
    for setting in sorted((s for s in table.settings if s.ratio), key=lambda s: s.ratio or 0.0):
        for method in dict.fromkeys(side.method for side in sides if side.setting == setting.name):
            own.setdefault(method, []).append(setting)
    ends = {method: (found[0], found[-1]) for method, found in own.items() if len(found) > 1}
    where = "ρ {0.ratio:g} to ρ {1.ratio:g}"
    named = {side.classes for side in sides} - set(GROUPS.names)
    rare = [name for name in (table.settings[0].minority or "").split(",") if name in named]
    losses: dict[tuple[str, Score], dict[int, float]] = {}
    for method in dict.fromkeys(side.method for side in sides if side.method in ends):
        claims = [("declines", score) for score in SCORES["thesis"]]
        claims += [(f"declines on class {name}", (name, "recall")) for name in rare]
        for claim, score in claims:
            for step in dict.fromkeys([ends[method], *pairwise(own[method])]):
                loss = _minus(*(values.get((s.name, method, *score), {}) for s in step))
                losses.setdefault((method, score), loss)
                text, main = f"{method} {claim}", step == ends[method]
                yield _finding("decline", text, score, loss, where.format(*step), main=main)
    for (method, score), loss in losses.items():
        if method != "ados" and ends.get("ados") == ends[method]:
            less, text = _minus(loss, losses["ados", score]), f"ados declines less than {method}"
            yield _finding("resilience", text, score, less, where.format(*ends[method]))


def _growths(table: Table, values: Values) -> Iterator[Finding]:
    """The gain of AOS over ROS grows with the share of rare classes: by its least-squares slope times the range."""
    score, groups = ("all", "f1"), dict[str, dict[float, Repeats]]()
    for s in table.settings:
        if "." in (s.minority or ""):
            gain = _minus(*(values.get((s.name, method, *score), {}) for method in ("aos", "ros")))
            groups.setdefault(f"{s.data}, ρ {s.ratio:g}", {})[float(s.minority or 0)] = gain
    growths: dict[str, Repeats] = {}
    for title, gains in groups.items():
        shares = np.array([share for share, gain in gains.items() if gain] or [*gains])
        title += f", μ {shares.min():g} to {shares.max():g}, {sum(map(bool, gains.values()))} of {len(gains)} lines"
        apart = shares - shares.mean()
        each = [gains[share] for share in shares] if len(shares) > 1 else [{}]
        weights = apart / max(float(apart @ apart), 1e-12) * np.ptp(shares)
        growths[title] = {
            repeat: float(weights @ [gain[repeat] for gain in each])
            for repeat in set.intersection(*map(set, each))
        }
    yield from _averaged("growth", f"gain of aos over ros grows with μ ({STEPS})", score, growths, "datasets")


def _orders(table: Table, sides: Sequence[Side], values: Values, paper: str) -> Iterator[Finding]:
    """One method over another: in each line, and on average over the lines that both have."""
    claims, methods = POSTER_CLAIMS if paper == "poster" else (), dict.fromkeys(s.method for s in sides)
    if paper == "thesis" and "ados" in methods:
        claims = tuple(("ados", other, EPOCHS) for other in methods if other not in ("ados", RECIPE))
    for (better, worse, equal), score in ((c, s) for c in claims for s in SCORES[paper]):
        by_line = {
            s.title: _minus(*(values.get((s.name, method, *score), {}) for method in (better, worse)))
            for s in table.settings
        }
        kind = "degradation" if worse == "smote-pixels" else "order"
        yield from _averaged(kind, f"{better} over {worse} ({equal})", score, by_line, "lines")


def _averaged(
    kind: str, claim: str, score: Score, by_line: Mapping[str, Repeats], unit: str
) -> Iterator[Finding]:
    """Yield a finding for each line, and before them that of their mean, in the repeats that all lines have.

    Lines that are not run are named; where no line is run, one finding stands for all.
    """
    run = {title: line for title, line in by_line.items() if line}
    if len(by_line) > 1:
        shared = set.intersection(*map(set, run.values())) if run else set()
        every = set().union(*run.values())
        means = {repeat: sum(line[repeat] for line in run.values()) / len(run) for repeat in sorted(shared)}
        where = f"mean of {len(run)} of {len(by_line)} {unit}" if run else f"{len(by_line)} {unit}"
        where += f", in {len(shared)} of {len(every)} repeats" if len(shared) < len(every) else ""
        absent = "; ".join(title for title in by_line if title not in run)
        where += f"; not run: {absent}" if run and absent else ""
        yield _finding(kind, claim, score, means, where)
    for title, line in by_line.items() if run or len(by_line) == 1 else ():
        yield _finding(kind, claim, score, line, title, main=len(by_line) == 1)


def _recipe(
    table: Table, sides: Sequence[Side], values: Values, scores: Sequence[Score]
) -> Iterator[Finding]:
    """The recipe over the best published number of each line, and over the best other method here."""
    for setting in table.settings if any(side.method == RECIPE for side in sides) else ():
        others = [s for s in sides if s.setting == setting.name and s.method != RECIPE]
        best = {
            (s.classes, s.metric): (s.published, s.method)
            for s in sorted(others, key=lambda s: s.published or 0.0)
            if s.published is not None
        }
        rows = [(s, best.get((s.classes, s.metric))) for s in others if (s.classes, s.metric) in scores]
        easier = any(s.method == "bl" and top and (s.mean or 0.0) > top[0] for s, top in rows)
        for score in scores:
            own = values.get((setting.name, RECIPE, *score), {})
            if score in best:
                number, name = best[score]
                over = {repeat: value - number for repeat, value in own.items()}
                claim, than = f"{RECIPE} over best published", f"{name}, {number:.3f}"
                found = _finding("recipe-published", claim, score, over, setting.title, than=than)
                if easier and own:
                    found["verdict"] = "not meaningful"
                yield found
            measured = [
                (s.mean, s.method) for s, _ in rows if (s.classes, s.metric) == score and s.mean is not None
            ]
            number, name = max(measured, default=(0.0, ""))
            over = _minus(own, values.get((setting.name, name, *score), {}))
            claim, than = f"{RECIPE} over best other here", f"{name}, {number:.3f}" if measured else ""
            yield _finding("recipe-measured", claim, score, over, setting.title, than=than)


def _minus(one: Repeats, other: Repeats) -> dict[int, float]:
    """Return the difference of two values in every repeat that has both."""
    return {repeat: one[repeat] - other[repeat] for repeat in one if repeat in other}
