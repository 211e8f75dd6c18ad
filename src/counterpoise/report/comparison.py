"""Reading studies and sets of runs into plain dataclasses; what is broken is said in one line."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from counterpoise.evaluation import GROUPS, METRICS, mean_interval
from counterpoise.exceptions import RunFolderError
from counterpoise.files import read_json
from counterpoise.runs.records import Run, number, read_run

_RESULT_COLUMNS = {
    "dataset",
    "imbalance",
    "imbalance_ratio",
    "draw",
    "seed",
    "method",
    "classes",
    "metric",
    "value",
}


@dataclass(frozen=True)
class MeanScore:
    """The mean of a score over draws, with its 95 % interval where there is one."""

    mean: float | None
    low: float | None = None
    high: float | None = None
    n: int = 0


Scores = dict[str, dict[str, dict[str, MeanScore]]]
"""MeanScore by method, group of classes (one of ``GROUPS``) and metric."""


@dataclass
class Comparison:
    """What a report is about: runs of one or more methods on the same data."""

    source: Path
    runs: list[Run]
    scores: Scores
    summary: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    @property
    def methods(self) -> list[str]:
        """The methods in the order of the comparison."""
        return list(self.scores)

    @property
    def metric(self) -> str:
        """Metric by which the winner was chosen; an unknown one raises UnknownNameError."""
        return METRICS.get(str(self.summary.get("metric") or "gmean")).name

    @property
    def draws(self) -> int:
        """How many draws the scores average over, at most."""
        counts = [score.n for groups in self.scores.values() for score in groups["all"].values()]
        return max(counts, default=0)

    def title_of(self, method: str) -> str:
        """Return the method's name for people."""
        for record in self.summary.get("methods") or ():
            if record.get("method") == method and record.get("title"):
                return str(record["title"])
        return next((run.title for run in self.runs if run.method == method), method)

    def score(self, method: str, group: str, metric: str) -> MeanScore:
        """Return one score; an empty one where there is none."""
        return self.scores.get(method, {}).get(group, {}).get(metric, MeanScore(None))


def read_any(paths: Sequence[Path]) -> Comparison:
    """Read one study folder, or one or more run folders.

    Parameters
    ----------
    paths : sequence of Path
        What was given on the command line.

    Returns
    -------
    Comparison
        All of it.

    Raises
    ------
    RunFolderError
        If a path is missing, is neither kind of folder, or the kinds are mixed.
    """
    if not paths:
        raise RunFolderError("nothing to report on; give a study folder or one or more run folders")
    studies = [path for path in paths if _is_study(path)]
    if not studies:
        return read_runs(paths)
    if len(paths) > 1:
        raise RunFolderError(f"{studies[0]} is a study folder; give it alone, or give run folders only")
    return read_comparison(studies[0])


def _is_study(path: Path) -> bool:
    """Tell a study folder from a run folder."""
    path = Path(path)
    if not path.exists():
        raise RunFolderError(f"{path} does not exist; give a folder that `compare` or `train` wrote")
    if not path.is_dir():
        raise RunFolderError(f"{path} is a file; give the folder that holds it")
    if (path / "run.json").is_file():
        return False
    if any((path / name).exists() for name in ("results.csv", "summary.json", "runs")):
        return True
    raise RunFolderError(
        f"{path} holds neither run.json nor results.csv; give a folder that `train` or `compare` wrote"
    )


def read_runs(paths: Sequence[Path]) -> Comparison:
    """Read one or more run folders; means are over the draws of each method.

    Parameters
    ----------
    paths : sequence of Path
        Run folders on the same classes.

    Returns
    -------
    Comparison
        Scores are those in the runs' ``metrics.json``.

    Raises
    ------
    RunFolderError
        If a folder is broken, two speak of different classes, or two are the same method and draw.
    """
    runs = [read_run(Path(path)) for path in paths]
    _check_same_classes(runs)
    seen: dict[tuple[str, int], Path] = {}
    for run in runs:
        other = seen.setdefault((run.method, run.draw), run.folder)
        if other is not run.folder:
            raise RunFolderError(f"{other} and {run.folder} are both {run.method}, draw {run.draw}; give one")
    study = Comparison(source=runs[0].folder, runs=runs, scores=scores_of_runs(runs))
    for draw in sorted({run.draw for run in runs}):
        if len({run.config.get("manifest_hash") for run in runs if run.draw == draw}) > 1:
            study.warnings.append(
                f"The runs of draw {draw} used different splits of the images, so they do not compare."
            )
    return study


def read_comparison(folder: Path) -> Comparison:
    """Read a study folder as `compare` writes it.

    Parameters
    ----------
    folder : Path
        It holds ``results.csv``, ``summary.json`` and ``runs/``.

    Returns
    -------
    Comparison
        Means computed from ``results.csv``, intervals taken from ``summary.json``; what is missing is noted.

    Raises
    ------
    RunFolderError
        If a file is broken, or there is nothing to report.
    """
    folder = Path(folder)
    notes: list[str] = []
    runs = _finished_runs(folder / "runs", notes)
    results = folder / "results.csv"
    scores, counted = read_results(results) if results.is_file() else ({}, set())
    if scores:
        # Runs may lie there from an earlier call with other methods or more draws.
        runs = [run for run in runs if (run.method, run.draw) in counted]
    elif runs:
        notes.append("results.csv holds no scores; shown are those of the runs themselves.")
        scores = scores_of_runs(runs)
    else:
        raise RunFolderError(f"{folder} holds no scores and no finished run; let `compare` finish first")
    _check_same_classes(runs)
    study = Comparison(source=folder, runs=runs, scores=scores, warnings=notes)
    if (folder / "summary.json").is_file():
        summary = read_json(folder / "summary.json")
        if not isinstance(summary, dict):
            raise RunFolderError(f"{folder / 'summary.json'} is not a JSON object; run `compare` again")
        study.summary = summary
        _take_intervals(study)
    else:
        study.warnings.append(
            "summary.json is missing, so the winner is worked out here and there are no tests."
        )
    study.runs.sort(key=lambda run: (study.methods.index(run.method), run.draw))
    return study


def _finished_runs(folder: Path, notes: list[str]) -> list[Run]:
    """Read the finished runs in `folder`, and note the others."""
    runs = []
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.is_dir() and not path.name.startswith("."):
            if _is_finished(path):
                runs.append(read_run(path))
            else:
                notes.append(f"The run {path.name} is not finished and is left out.")
    return runs


def _is_finished(folder: Path) -> bool:
    """Tell whether a run folder is complete."""
    record = folder / "run.json"
    if not record.is_file() or not (folder / "metrics.json").is_file():
        return False
    config = read_json(record)
    return not isinstance(config, dict) or config.get("status", "complete") == "complete"


def _check_same_classes(runs: Sequence[Run]) -> None:
    """Raise unless all runs speak of the same classes of the same data set."""
    for run in runs[1:]:
        if run.classes != runs[0].classes:
            raise RunFolderError(
                f"{runs[0].folder} and {run.folder} have different classes; report on one data set at a time"
            )


def read_results(path: Path) -> tuple[Scores, set[tuple[str, int]]]:
    """Read the long table ``results.csv`` and average each score over its draws.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    scores : Scores
        Means with intervals; empty if the table is. Where a class bears the name of a group ("all"), the
        first row counts, which is the group's.
    counted : set of (str, int)
        The methods and draws in the table.

    Raises
    ------
    RunFolderError
        If columns are missing, a value is not a number, or it holds more than one comparison.
    """
    values: dict[tuple[str, str, str], dict[str, float | None]] = {}
    settings: set[tuple[str, str, str]] = set()
    counted: set[tuple[str, int]] = set()
    try:
        with path.open(encoding="utf-8", newline="") as handle:
            reader = csv.DictReader(handle)
            missing = _RESULT_COLUMNS - set(reader.fieldnames or ())
            if missing:
                raise RunFolderError(
                    f"{path} lacks the column {sorted(missing)[0]!r}; let `compare` write it again"
                )
            for row in reader:
                # A natural imbalance is measured, so it differs a little from draw to draw.
                ratio = "" if row["imbalance"] == "natural" else row["imbalance_ratio"]
                settings.add((row["dataset"], row["imbalance"], ratio))
                draws = values.setdefault((row["method"], row["classes"], row["metric"]), {})
                where = f"{path}, line {reader.line_num}"
                draws.setdefault(row["draw"], number(row["value"], where))
                counted.add((row["method"], int(number(row["draw"], where) or 0)))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise RunFolderError(f"cannot read {path}: {error}") from error
    if len(settings) > 1:
        raise RunFolderError(
            f"{path} holds {len(settings)} data sets or ratios; a report takes one comparison"
        )
    return _mean_scores(values), counted


def scores_of_runs(runs: Iterable[Run]) -> Scores:
    """Average the scores in the runs' ``metrics.json`` over their draws."""
    values: dict[tuple[str, str, str], dict[str, float | None]] = {}
    for run in runs:
        for group in GROUPS.names:
            scores = (run.scores or {}).get(group) or {}
            for metric in METRICS.names:
                value = number(scores.get(metric), f"{run.folder / 'metrics.json'}")
                values.setdefault((run.method, group, metric), {})[str(run.draw)] = value
    return _mean_scores(values)


def _mean_scores(values: dict[tuple[str, str, str], dict[str, float | None]]) -> Scores:
    """Average over draws; scores undefined in a draw are left out of the mean."""
    scores: Scores = {}
    for (method, group, metric), draws in values.items():
        groups = scores.setdefault(method, {name: {} for name in GROUPS.names})
        if group in groups and metric in METRICS:
            groups[group][metric] = MeanScore(*mean_interval(draws.values()))
    return scores


def _take_intervals(study: Comparison) -> None:
    """Take the intervals from ``summary.json``, except where its mean is not that of ``results.csv``."""
    differing: list[str] = []
    for record in study.summary.get("methods") or ():
        method = record.get("method")
        for group, metrics in (record.get("scores") or {}).items():
            for metric, given in (metrics or {}).items():
                own = study.scores.get(method, {}).get(group, {}).get(metric)
                if own is None or own.mean is None or not isinstance(given, dict):
                    continue
                mean, low, high = (number(given.get(key), "summary.json") for key in ("mean", "low", "high"))
                if mean is None or abs(mean - own.mean) > 1e-6:
                    differing.append(
                        f"{method}, {metric}, {group}: {mean} in summary.json, {own.mean} in results.csv"
                    )
                    study.scores[method][group][metric] = MeanScore(own.mean, n=own.n)
                    continue
                study.scores[method][group][metric] = MeanScore(own.mean, low, high, own.n)
    if differing:
        study.warnings.append(
            f"summary.json and results.csv disagree on {len(differing)} scores (first: {differing[0]}). "
            "Shown are those of results.csv, without interval; run `compare` again to bring them together."
        )
