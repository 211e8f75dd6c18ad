"""Claims of the papers about their tables, decided by our numbers, with intervals."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TypedDict

import pandas as pd

from counterpoise.evaluation import GROUPS, judge, mean_interval
from counterpoise.studies.reproduce.side_by_side import Side, values_of
from counterpoise.studies.reproduce.tables import Setting, Table

Score = tuple[str, str]
Repeats = Mapping[int, float]
#: (setting, method, classes, metric) -> repeat -> value.
Values = Mapping[tuple[str, str, str, str], Repeats]

RECIPE = "counterpoise"
#: Imbalance ratio from which the recipe is compared with the papers' best.
RECIPE_FROM = 40
#: Better, worse.
CLAIMS: dict[str, tuple[tuple[str, str], ...]] = {
    "thesis": (("ados", "fs-smote"), ("ados", "bl-cw")),
    "poster": (("aos", "ros"), ("ros", "bl"), ("aos", "bl")),
}
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
    """A claim and its verdict: ``confirmed``, ``refuted``, ``not decided`` or ``not run``.

    The claim says that `difference` is positive; `low` and `high` are its 95 % interval over `n` repeats. `than` is
    compared with the recipe. A finding is `main` if it is of the whole table rather than of one line that another
    finding averages over.
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
    """Every method loses from its smallest ratio to its largest; ADOS less than the others."""
    ends: dict[str, tuple[Setting, Setting]] = {}
    for method in dict.fromkeys(side.method for side in sides):
        lines = {side.setting for side in sides if side.method == method}
        own = sorted((s for s in table.settings if s.name in lines and s.ratio), key=lambda s: s.ratio or 0.0)
        if len(own) > 1:
            ends[method] = own[0], own[-1]
    where = {method: f"ρ {low.ratio:g} to ρ {high.ratio:g}" for method, (low, high) in ends.items()}

    def loss(method: str, score: Score) -> Repeats:
        low, high = (values.get((setting.name, method, *score), {}) for setting in ends[method])
        return _minus(low, high)

    named = {side.classes for side in sides} - set(GROUPS.names)
    rare = [name for name in (table.settings[0].minority or "").split(",") if name in named]
    for method in ends:
        for score in SCORES["thesis"]:
            yield _finding("decline", f"{method} declines", score, loss(method, score), where[method])
        for name in rare:
            claim, score = f"{method} declines on class {name}", (name, "recall")
            yield _finding("decline", claim, score, loss(method, score), where[method])
    for method in ends:
        if method != "ados" and ends.get("ados") == ends[method]:
            for score in SCORES["thesis"]:
                less = _minus(loss(method, score), loss("ados", score))
                yield _finding("resilience", f"ados declines less than {method}", score, less, where[method])


def _orders(table: Table, sides: Sequence[Side], values: Values, paper: str) -> Iterator[Finding]:
    """One method over another: in each line, and on average over the lines that both have."""
    known = {side.method for side in sides}
    pairs = [pair for pair in CLAIMS.get(paper, ()) if known.issuperset(pair)]
    for better, worse, score in ((*pair, score) for pair in pairs for score in SCORES[paper]):
        claim = f"{better} over {worse}"
        by_line = [
            _minus(values.get((s.name, better, *score), {}), values.get((s.name, worse, *score), {}))
            for s in table.settings
        ]
        run = [line for line in by_line if line]
        if len(by_line) > 1:
            shared = sorted(set.intersection(*map(set, run))) if run else []
            means = {repeat: sum(line[repeat] for line in run) / len(run) for repeat in shared}
            where = f"mean of {len(run)} of {len(by_line)} lines" if run else f"{len(by_line)} lines"
            yield _finding("order", claim, score, means, where)
        for setting, line in zip(table.settings, by_line, strict=True):
            yield _finding("order", claim, score, line, setting.title, main=len(by_line) == 1)


def _recipe(
    table: Table, sides: Sequence[Side], values: Values, scores: Sequence[Score]
) -> Iterator[Finding]:
    """The recommended recipe over the best published number of a line, and over the best other method here."""
    settings = [setting for setting in table.settings if (setting.ratio or 0.0) >= RECIPE_FROM]
    for setting, score in ((setting, score) for setting in settings for score in scores):
        own = values.get((setting.name, RECIPE, *score), {})
        row = [s for s in sides if (s.setting, s.classes, s.metric) == (setting.name, *score)]
        others = [side for side in row if side.method != RECIPE]
        published = [(side.published, side.method) for side in others if side.published is not None]
        if not published:
            continue
        best, name = max(published)
        over = {repeat: value - best for repeat, value in own.items()}
        claim, than = f"{RECIPE} over best published", f"{name}, {best:.3f}"
        yield _finding("recipe-published", claim, score, over, setting.title, than=than)
        measured = [(side.mean, side.method) for side in others if side.mean is not None]
        best, name = max(measured, default=(0.0, ""))
        over = _minus(own, values.get((setting.name, name, *score), {}))
        claim, than = f"{RECIPE} over best other here", f"{name}, {best:.3f}" if measured else ""
        yield _finding("recipe-measured", claim, score, over, setting.title, than=than)


def _minus(one: Repeats, other: Repeats) -> dict[int, float]:
    """Return the difference of two values in every repeat that has both."""
    return {repeat: one[repeat] - other[repeat] for repeat in one if repeat in other}
