"""What the papers claim of their tables, and whether these numbers show it: with intervals, and in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from counterpoise.evaluation import MeanInterval, mean_interval
from counterpoise.reproduce.compare import Side
from counterpoise.reproduce.table import Table

#: (setting, method, classes, metric) -> draw -> value.
Values = Mapping[tuple[str, str, str, str], Mapping[int, float]]

RECIPE = "counterpoise"
#: From which imbalance ratio on the recipe is held against the papers' best.
RECIPE_FROM = 40
#: Better, worse, and on which scores it is claimed.
CLAIMS: dict[str, tuple[tuple[str, str], ...]] = {
    "thesis": (("ados", "fs-smote"), ("ados", "bl-cw")),
    "poster": (("aos", "ros"), ("ros", "bl"), ("aos", "bl")),
}
SCORES = {
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
    """A claim, and what became of it.

    Attributes
    ----------
    claim : str
        In words.
    verdict : str
        ``confirmed``, ``refuted``, ``not decided`` or ``not run``.
    difference : float or None
        The measured difference that the claim says is positive.
    low, high : float or None
        Its 95 % interval over draws.
    n : int
        Draws.
    where : str
        Over which lines of the table.
    main : bool
        Whether it is of the whole table rather than of one line that another finding averages over.
    """

    claim: str
    verdict: str
    difference: float | None
    low: float | None
    high: float | None
    n: int
    where: str
    main: bool = True


def decide(found: MeanInterval) -> str:
    """Return what an interval of a difference says of the claim that it is positive.

    Examples
    --------
    >>> decide(MeanInterval(0.02, 0.01, 0.03, 5)), decide(MeanInterval(0.02, -0.01, 0.05, 5))
    ('confirmed', 'not decided')
    >>> decide(MeanInterval(-0.02, -0.03, -0.01, 5)), decide(MeanInterval(0.02, None, None, 1))
    ('refuted', 'not decided')
    """
    if found.mean is None:
        return "not run"
    if found.low is None or found.high is None or found.low <= 0 <= found.high:
        return "not decided"
    return "confirmed" if found.low > 0 else "refuted"


def find(table: Table, sides: Sequence[Side], values: Values) -> list[Finding]:
    """Return what a table's papers claim, decided by our numbers.

    Parameters
    ----------
    table : Table
        Which.
    sides : sequence of Side
        Its cells.
    values : mapping
        Ours, draw by draw, as `values_of` gives them.
    """
    paper = table.name.partition("-")[0]
    claims = [*_declines(table, values, paper)]
    scores = SCORES.get(paper, ())
    for better, worse in CLAIMS.get(paper, ()):
        claims += [f for score in scores for f in _better(table, values, better, worse, score)]
    claims += [f for score in scores for f in _recipe(table, sides, values, score)]
    return claims


def _declines(table: Table, values: Values, paper: str) -> Iterator[Finding]:
    """Every method loses from the smallest to the largest ratio."""
    ratios = {s.ratio: s for s in table.settings if s.ratio is not None}
    if paper != "thesis" or len(ratios) < 2:
        return
    low, high = ratios[min(ratios)], ratios[max(ratios)]
    where = f"ratio {min(ratios):g} minus ratio {max(ratios):g}, paired by draw"
    for method in low.methods:
        key = (method, "minority", "recall")
        found = _paired(values.get((low.name, *key), {}), values.get((high.name, *key), {}))
        yield _finding(f"{method} declines with the ratio: {SCORE_NAMES['minority', 'recall']}", found, where)


def _better(
    table: Table, values: Values, better: str, worse: str, score: tuple[str, str]
) -> Iterator[Finding]:
    """One method over another: in each line, and on average over the lines that both have."""
    name = SCORE_NAMES[score]
    by_line = []
    for setting in table.settings:
        one = values.get((setting.name, better, *score), {})
        other = values.get((setting.name, worse, *score), {})
        by_line.append({draw: one[draw] - other[draw] for draw in one if draw in other})
    run = [line for line in by_line if line]
    if len(table.settings) > 1:
        shared = sorted(set.intersection(*(set(line) for line in run))) if run else []
        means = mean_interval(sum(line[draw] for line in run) / len(run) for draw in shared)
        yield _finding(f"{better} over {worse}: {name}", means, f"mean of {len(run)} of {len(by_line)} lines")
    for setting, line in zip(table.settings, by_line, strict=True):
        alone = _finding(f"{better} over {worse}: {name}", mean_interval(line.values()), setting.title)
        yield alone._replace(main=len(table.settings) == 1)


def _recipe(table: Table, sides: Sequence[Side], values: Values, score: tuple[str, str]) -> Iterator[Finding]:
    """The recommended recipe over the best published number of a line."""
    for setting in table.settings:
        published = [
            s.published
            for s in sides
            if s.setting == setting.name and (s.classes, s.metric) == score and s.published is not None
        ]
        if published and setting.ratio is not None and setting.ratio >= RECIPE_FROM:
            best = max(published)
            own = values.get((setting.name, RECIPE, *score), {})
            found = mean_interval(value - best for value in own.values())
            claim = f"{RECIPE} over the best published {SCORE_NAMES[score]}, {best:.3f}"
            yield _finding(claim, found, setting.title)


def _paired(one: Mapping[int, float], other: Mapping[int, float]) -> MeanInterval:
    return mean_interval(one[draw] - other[draw] for draw in one if draw in other)


def _finding(claim: str, found: MeanInterval, where: str) -> Finding:
    return Finding(claim, decide(found), found.mean, found.low, found.high, found.n, where)
