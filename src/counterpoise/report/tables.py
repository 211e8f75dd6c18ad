"""The tables of a report as dataclasses: what stands in each cell, its exact number, and what is marked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from counterpoise.evaluation import (
    BASELINE,
    GROUPS,
    METRICS,
    MeanInterval,
    Metric,
    judge,
    page_groups,
    page_metrics,
)
from counterpoise.report.comparison import Comparison, MeanScore
from counterpoise.runs.records import Run


@dataclass(frozen=True)
class ScoreCell:
    """One score: the exact number for programs, the rounded one for people."""

    metric: str
    value: float | None
    text: str
    interval: str
    best: bool

    @property
    def exact(self) -> str:
        """The number to the last digit, or an empty string."""
        return "" if self.value is None else repr(float(self.value))


@dataclass(frozen=True)
class MethodRow:
    """One method's scores over one group of classes."""

    method: str
    title: str
    draws: int
    winner: bool
    baseline: bool
    cells: tuple[ScoreCell, ...]


@dataclass(frozen=True)
class GroupTable:
    """All methods' scores over one group of classes."""

    group: str
    title: str
    rows: tuple[MethodRow, ...]


@dataclass(frozen=True)
class TestRow:
    """One paired test between two methods on the same draws."""

    a: str
    b: str
    score: str
    difference: str
    p_value: str
    p_adjusted: str
    verdict: str


def methods_tables(study: Comparison, winner: str | None) -> list[GroupTable]:
    """Return one table per group of classes that has any score.

    Parameters
    ----------
    study : Comparison
        The comparison.
    winner : str or None
        The method to mark as chosen.

    Returns
    -------
    list of GroupTable
        In the order all, rare, common classes.
    """
    tables = []
    for group in page_groups():
        best = {metric.name: _best(study, group.name, metric) for metric in page_metrics()}
        rows = tuple(_method_row(study, method, group.name, best, winner) for method in study.methods)
        if any(cell.value is not None for row in rows for cell in row.cells):
            tables.append(GroupTable(group.name, group.title, rows))
    return tables


def _best(study: Comparison, group: str, metric: Metric) -> float | None:
    """Return the best mean of a column, or None if there is nothing to choose from."""
    means = [study.score(method, group, metric.name).mean for method in study.methods]
    known = [mean for mean in means if mean is not None]
    return max(known, key=metric.gain) if len(known) > 1 else None


def _method_row(
    study: Comparison, method: str, group: str, best: dict[str, float | None], winner: str | None
) -> MethodRow:
    cells = []
    for metric, top in best.items():
        score = study.score(method, group, metric)
        cells.append(
            ScoreCell(
                metric=metric,
                value=score.mean,
                text="–" if score.mean is None else METRICS[metric].format(score.mean),
                interval=interval_text(score, between="–"),
                best=score.mean is not None
                and top is not None
                and METRICS[metric].gain(score.mean, top) >= 0,
            )
        )
    draws = max((study.score(method, group, metric).n for metric in best), default=0)
    return MethodRow(
        method=method,
        title=study.title_of(method),
        draws=draws,
        winner=method == winner,
        baseline=method == BASELINE,
        cells=tuple(cells),
    )


def decimals(value: float | None, *, places: int = 3) -> str:
    """Return a score for people.

    Examples
    --------
    >>> decimals(0.81249), decimals(None)
    ('0.812', '–')
    """
    return "–" if value is None else f"{value:.{places}f}"


def interval_text(score: MeanScore, *, between: str) -> str:
    """Return the 95 % interval for people, cut to the possible range, or an empty string if there is none.

    Examples
    --------
    >>> interval_text(MeanScore(0.8, 0.552, 1.048, 3), between=" to ")
    '0.552 to 1.000'
    """
    if score.low is None or score.high is None:
        return ""
    return f"{max(0.0, score.low):.3f}{between}{min(1.0, score.high):.3f}"


def p_text(value: Any) -> str:
    """Return a p value for people.

    Examples
    --------
    >>> p_text(0.0301), p_text(0.00004), p_text(None)
    ('0.030', '< 0.001', '–')
    """
    if not isinstance(value, (int, float)):
        return "–"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def tests_table(study: Comparison) -> list[TestRow]:
    """Return the paired tests of ``summary.json``, with what each one says."""
    rows = []
    for test in study.summary.get("tests") or ():
        a, b = study.title_of(str(test.get("a"))), study.title_of(str(test.get("b")))
        difference, adjusted = test.get("difference"), test.get("p_adjusted")
        metric, group = METRICS[str(test.get("metric"))], GROUPS[str(test.get("classes"))]
        if not isinstance(difference, (int, float)) or not isinstance(adjusted, (int, float)):
            verdict = "not enough draws to test"
        else:
            gain = MeanInterval(metric.gain(difference), None, None, study.draws)
            outcome = judge(gain, p_value=adjusted).outcome
            better = {"confirmed": f"{a} is better", "refuted": f"{b} is better"}
            verdict = better.get(outcome, "could be chance")
        rows.append(
            TestRow(
                a=a,
                b=b,
                score=f"{metric.title}, {group.title}",
                difference=f"{difference:+.3f}" if isinstance(difference, (int, float)) else "–",
                p_value=p_text(test.get("p_value")),
                p_adjusted=p_text(adjusted),
                verdict=verdict,
            )
        )
    return rows


def class_rows(run: Run) -> list[list[Any]]:
    """Return a row per class: name, rare, training images, then tp, fp, fn, tn and five scores.

    Parameters
    ----------
    run : Run
        With scores.

    Returns
    -------
    list of list
        Undefined scores and unrecorded counts are None.
    """
    train: list[Any] = run.counts("train") or [None] * len(run.classes)
    rows: list[list[Any]] = []
    for index, record in enumerate((run.scores or {}).get("per_class") or ()):
        counts = [record.get(key) for key in ("support", "tp", "fp", "fn", "tn")]
        scores = [record.get(key) for key in ("precision", "recall", "specificity", "f1", "auc")]
        rows.append([run.classes[index], index in run.minority, train[index], *counts, *scores])
    return rows


def provenance(study: Comparison, runs: Sequence[Run]) -> list[tuple[str, list[tuple[str, str]]]]:
    """Return how the report's numbers came about: titled lists of name and value."""
    summary = study.summary
    blocks: list[tuple[str, list[tuple[str, str]]]] = []
    study_facts = {
        "command": summary.get("command"),
        "folder": study.source.name or str(study.source),
        "draws": summary.get("draws") or study.draws,
        "chosen by": f"{METRICS[study.metric].title} on validation images" if summary else None,
        "wall time of its last call": _seconds(summary.get("wall_seconds")),
    }
    blocks.append(("This comparison" if summary else "This report", _pairs(study_facts)))
    if not runs:
        return blocks
    first = runs[0].config
    dataset = dict(first["dataset"])
    data_facts = {
        "name": dataset.get("name"),
        "source": dataset.get("source"),
        "image size (height, width)": dataset.get("image_size"),
        "channels": dataset.get("channels"),
        "fingerprint": dataset.get("fingerprint"),
        **{f"imbalance: {key}": value for key, value in (first.get("imbalance") or {}).items()},
    }
    blocks.append(("Data", _pairs(data_facts)))
    blocks.append(("Network", _pairs(first.get("network") or {})))
    blocks.append(("Training", _pairs(first.get("training") or {})))
    blocks.append(("Hardware", _pairs(first.get("hardware") or {})))
    blocks.append(
        ("Versions", _pairs({"counterpoise": first.get("version"), **(first.get("versions") or {})}))
    )
    return [(title, pairs) for title, pairs in blocks if pairs]


def run_rows(runs: Sequence[Run]) -> list[list[str]]:
    """Return a row per run: method, draw, seed, options, hashes, date, and the time that each stage took."""
    rows = []
    for run in runs:
        config = run.config
        timings = dict(config.get("timings") or {})
        total = timings.pop("total", None)
        rows.append(
            [
                run.method,
                str(run.draw),
                _plain(config.get("seed")),
                _plain(config.get("method_options") or {}),
                str(config.get("manifest_hash") or "")[:12],
                str(config.get("config_hash") or "")[:12],
                str(config.get("created") or ""),
                ", ".join(f"{stage} {_seconds(value)}" for stage, value in timings.items() if value),
                _seconds(total) or "",
            ]
        )
    return rows


def _pairs(values: dict[str, Any]) -> list[tuple[str, str]]:
    return [(str(key), _plain(value)) for key, value in values.items() if value not in (None, "", [], {})]


def _plain(value: Any) -> str:
    """Return a setting for people: lists by commas, mappings as name=value."""
    if isinstance(value, dict):
        return ", ".join(f"{key}={_plain(item)}" for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(_plain(item) for item in value)
    if isinstance(value, float):
        return f"{value:.6g}"
    return str(value)


def _seconds(value: Any) -> str | None:
    """Return a duration for people.

    Examples
    --------
    >>> _seconds(3.21), _seconds(125)
    ('3.2 s', '2 min 5 s')
    """
    if not isinstance(value, (int, float)):
        return None
    if value < 60:
        return f"{value:.1f} s"
    return f"{int(value // 60)} min {int(value % 60)} s"
