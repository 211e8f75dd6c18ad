"""What the papers claim of their tables, and whether these numbers show it: with intervals, and in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from counterpoise.evaluation import GROUPS, MeanInterval, judge, mean_interval
from counterpoise.studies.reproduce.side_by_side import Side
from counterpoise.studies.reproduce.tables import Setting, Table

Score = tuple[str, str]
#: (setting, method, classes, metric) -> draw -> value.
Values = Mapping[tuple[str, str, str, str], Mapping[int, float]]

RECIPE = "counterpoise"
#: From which imbalance ratio on the recipe is held against the papers' best.
RECIPE_FROM = 40
#: Better, worse.
CLAIMS: dict[str, tuple[tuple[str, str], ...]] = {
    "thesis": (("ados", "fs-smote"), ("ados", "bl-cw")),
    "poster": (("aos", "ros"), ("ros", "bl"), ("aos", "bl")),
}
#: On which scores that is claimed.
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


class Finding(NamedTuple):
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
    than: str = ""
    main: bool = True


def find(table: Table, sides: Sequence[Side], values: Values) -> list[Finding]:
    """Return the claims of a table's papers, decided by our numbers (`values` as `values_of` gives them)."""
    paper = table.name.partition("-")[0]
    scores = SCORES.get(paper, ())
    known = {side.method for side in sides}
    claims: list[Finding] = []
    if paper == "thesis":
        claims += _declines(table, sides, values, scores)
    for better, worse in CLAIMS.get(paper, ()):
        if {better, worse} <= known:
            claims += [f for score in scores for f in _better(table, values, better, worse, score)]
    for setting in table.settings:
        if setting.ratio is not None and setting.ratio >= RECIPE_FROM:
            claims += [f for score in scores for f in _recipe(setting, sides, values, score)]
    return claims


def _declines(
    table: Table, sides: Sequence[Side], values: Values, scores: Sequence[Score]
) -> Iterator[Finding]:
    """Every method loses from its smallest ratio to its largest; ADOS less than the others."""
    methods = list(dict.fromkeys(side.method for side in sides))
    ends = {method: _ends(table, sides, method) for method in methods}
    for method in methods:
        found = ends[method]
        if found is None:
            continue
        for score in scores:
            loss = _loss(values, method, *found, score)
            yield _finding(
                "decline", f"{method} declines", score, mean_interval(loss.values()), _between(found)
            )
        for classes in _rare_classes(table, sides):
            loss = _loss(values, method, *found, (classes, "recall"))
            claim = f"{method} declines on class {classes}"
            yield _finding(
                "decline", claim, (classes, "recall"), mean_interval(loss.values()), _between(found)
            )
    own = ends.get("ados")
    for method in methods:
        if own is None or method == "ados" or ends[method] != own:
            continue
        for score in scores:
            mine, other = (_loss(values, name, *own, score) for name in ("ados", method))
            found_less = mean_interval(other[draw] - mine[draw] for draw in mine if draw in other)
            yield _finding(
                "resilience", f"ados declines less than {method}", score, found_less, _between(own)
            )


def _ends(table: Table, sides: Sequence[Side], method: str) -> tuple[Setting, Setting] | None:
    """Return the lines of the smallest and the largest ratio that a method is in."""
    lines = {side.setting for side in sides if side.method == method}
    own = [s for s in table.settings if s.name in lines and s.ratio is not None]
    own.sort(key=lambda setting: setting.ratio or 0.0)
    return (own[0], own[-1]) if len(own) > 1 else None


def _between(ends: tuple[Setting, Setting]) -> str:
    return f"ρ {ends[0].ratio:g} to ρ {ends[1].ratio:g}"


def _loss(values: Values, method: str, low: Setting, high: Setting, score: Score) -> dict[int, float]:
    return _differences(
        values.get((low.name, method, *score), {}), values.get((high.name, method, *score), {})
    )


def _rare_classes(table: Table, sides: Sequence[Side]) -> list[str]:
    """Return the rare classes by name, where a paper gives numbers for each class."""
    given = {side.classes for side in sides} - set(GROUPS.names)
    return [name for name in (table.settings[0].minority or "").split(",") if name in given]


def _better(table: Table, values: Values, better: str, worse: str, score: Score) -> Iterator[Finding]:
    """One method over another: in each line, and on average over the lines that both have."""
    claim = f"{better} over {worse}"
    by_line = [
        _differences(values.get((s.name, better, *score), {}), values.get((s.name, worse, *score), {}))
        for s in table.settings
    ]
    run = [line for line in by_line if line]
    if len(table.settings) > 1:
        shared = sorted(set.intersection(*(set(line) for line in run))) if run else []
        means = mean_interval(sum(line[draw] for line in run) / len(run) for draw in shared)
        where = f"mean of {len(run)} of {len(by_line)} lines" if run else f"{len(by_line)} lines"
        yield _finding("order", claim, score, means, where)
    for setting, line in zip(table.settings, by_line, strict=True):
        alone = _finding("order", claim, score, mean_interval(line.values()), setting.title)
        yield alone._replace(main=len(table.settings) == 1)


def _recipe(setting: Setting, sides: Sequence[Side], values: Values, score: Score) -> Iterator[Finding]:
    """The recommended recipe over the best published number of a line, and over the best other method here."""
    own = values.get((setting.name, RECIPE, *score), {})
    others = [
        side
        for side in sides
        if side.setting == setting.name and (side.classes, side.metric) == score and side.method != RECIPE
    ]
    published = [(side.published, side.method) for side in others if side.published is not None]
    if not published:
        return
    best, name = max(published)
    found = mean_interval(value - best for value in own.values())
    than = f"{name}, {best:.3f}"
    yield _finding("recipe-published", f"{RECIPE} over best published", score, found, setting.title, than)
    measured = [(side.mean, side.method) for side in others if side.mean is not None]
    if measured:
        best, name = max(measured)
        found = mean_interval(_differences(own, values[(setting.name, name, *score)]).values())
        than = f"{name}, {best:.3f}"
    else:
        found, than = mean_interval([]), ""
    claim = f"{RECIPE} over best other here"
    yield _finding("recipe-measured", claim, score, found, setting.title, than)


def _differences(one: Mapping[int, float], other: Mapping[int, float]) -> dict[int, float]:
    return {draw: one[draw] - other[draw] for draw in one if draw in other}


def _finding(kind: str, claim: str, score: Score, found: MeanInterval, where: str, than: str = "") -> Finding:
    # A class by name is a rare one here.
    name = SCORE_NAMES.get(score, SCORE_NAMES["minority", "recall"])
    return Finding(
        kind, claim, name, judge(found).outcome, found.mean, found.low, found.high, found.n, where, than
    )
