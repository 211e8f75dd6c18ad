"""What a report shows: runs of one or more methods on the same images, their mean scores, and the winner."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from counterpoise.evaluation import METRICS, MeanInterval
from counterpoise.exceptions import RunFolderError
from counterpoise.runs import (
    ComparisonSummary,
    MeanScores,
    MethodSummary,
    RunFolder,
    WinnerRecord,
    mean_scores,
    read_results,
    read_summary,
    results_table,
    winner_of,
)

MISSING = MeanInterval(None, None, None, 0)


@dataclass
class Comparison:
    """Finished runs of one or more methods on the same data, mean scores by method, and the conclusions of the study.

    `source` is the folder of the study, or of the first run; `warnings` name missing and contradictory data.
    """

    source: Path
    runs: list[RunFolder]
    scores: dict[str, MeanScores]
    summary: ComparisonSummary | None = None
    warnings: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        given = {entry.method: entry for entry in self.summary.methods} if self.summary else {}
        own = {run.record.method: run.record.title for run in self.runs}
        self.methods = list(self.scores)
        self.summaries = {m: given.get(m, MethodSummary(method=m)) for m in self.methods}
        self.titles = {m: self.summaries[m].title or own.get(m, m) for m in self.methods}
        self.repeats = max((self.repeats_of(method, "all") for method in self.methods), default=0)
        self.split = self.runs[0].scored_split if self.runs else "test"
        named = self.summary.dataset if self.summary else ""
        self.dataset = (self.runs[0].record.dataset.name if self.runs else named) or "an image set"
        asked = self.summary.metric if self.summary else "gmean"
        self.choice = self._choice(asked)
        # Where the metric that was asked for says little, another one decides, here as well.
        self.metric = METRICS.get(self.choice.metric if self.choice else asked)
        self.winner = self.summary.winner if self.summary and self.summary.winner in self.scores else None
        if self.winner is None:
            self.winner = (
                self.methods[0] if len(self.methods) == 1 else self.choice.name if self.choice else None
            )

    def _choice(self, asked: str) -> WinnerRecord | None:
        """Return the choice of the study, or, of a study that stored none, what its runs say."""
        if self.summary and self.summary.choice:
            return self.summary.choice
        if len(self.methods) < 2 or not self.runs or (self.summary and self.summary.winner in self.scores):
            return None
        most = max(sum(run.record.method == method for run in self.runs) for method in self.methods)
        found = winner_of(self.runs, asked, repeats=most)
        return None if found is None else WinnerRecord.model_validate(found.to_dict())

    def score(self, method: str, classes: str, metric: str) -> MeanInterval:
        """Return a mean score; its mean is None where there is none."""
        return self.scores.get(method, {}).get(classes, {}).get(metric, MISSING)

    def repeats_of(self, method: str, classes: str) -> int:
        """Return the number of repeats that a method's scores over a class group are the mean of."""
        return max((score.n for score in self.scores[method].get(classes, {}).values()), default=0)

    def best(self, classes: str, metric: str) -> float | None:
        """Return the best mean score over the methods; None where there are no two to choose from."""
        means = [self.score(method, classes, metric).mean for method in self.methods]
        known = [mean for mean in means if mean is not None]
        return max(known, key=METRICS[metric].gain) if len(known) > 1 else None


def read_any(paths: Sequence[Path]) -> Comparison:
    """Read one study folder, or one or more run folders; anything else raises RunFolderError."""
    if not paths:
        raise RunFolderError("nothing to report on; give a study folder or one or more run folders")
    studies = [path for path in paths if _is_study(path)]
    if not studies:
        return read_runs(paths)
    if len(paths) > 1:
        raise RunFolderError(f"{studies[0]} is a study folder; give it alone, or give run folders only")
    return read_comparison(studies[0])


def _is_study(path: Path) -> bool:
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
    """Read run folders; means are over the repeats of each method.

    A damaged folder, different classes, or two of the same method and repeat raise RunFolderError.
    """
    runs = [_read_run(Path(path)) for path in paths]
    _check_same_classes(runs)
    seen: dict[tuple[str, int], Path] = {}
    for run in runs:
        key = (run.record.method, run.record.draw)
        other = seen.setdefault(key, run.path)
        if other is not run.path:
            raise RunFolderError(f"{other} and {run.path} are both {key[0]}, repeat {key[1]}; give one")
    warnings = [
        f"The runs of repeat {draw} used different splits of the images, so they do not compare."
        for draw in sorted({run.record.draw for run in runs})
        if len({run.record.manifest_hash for run in runs if run.record.draw == draw}) > 1
    ]
    return Comparison(runs[0].path, runs, _scores_of_runs(runs), warnings=warnings)


def read_comparison(folder: Path) -> Comparison:
    """Read a study folder as `compare` writes it: ``results.csv``, ``summary.json`` and ``runs/``.

    Means are computed from ``results.csv``, intervals are those of ``summary.json``; missing data is noted. A
    damaged file, or nothing to report, raises RunFolderError.
    """
    folder = Path(folder)
    warnings: list[str] = []
    runs = _finished_runs(folder / "runs", warnings)
    path = folder / "results.csv"
    table = read_results(path) if path.is_file() else pd.DataFrame()
    if len(table):
        # Runs may lie there from an earlier call with other methods or more repeats.
        counted = {*zip(table["method"], table["draw"], strict=True)}
        runs = [run for run in runs if (run.record.method, run.record.draw) in counted]
        scores = {method: mean_scores(table, method, runs) for method in dict.fromkeys(table["method"])}
    elif runs:
        warnings.append("results.csv holds no scores; shown are those of the runs themselves.")
        scores = _scores_of_runs(runs)
    else:
        raise RunFolderError(f"{folder} holds no scores and no finished run; let `compare` finish first")
    _check_same_classes(runs)
    summary = read_summary(folder)
    if summary is None:
        warnings.append("summary.json is missing, so the winner is worked out here and there are no tests.")
    else:
        _take_intervals(scores, summary, warnings)
        warnings += [f"{note[:1].upper()}{note[1:]}." for note in summary.grouping.notes]
    order = list(scores)
    runs.sort(key=lambda run: (order.index(run.record.method), run.record.draw))
    return Comparison(folder, runs, scores, summary, warnings)


def _read_run(path: Path) -> RunFolder:
    """Open a finished run and read its scores, so that damage is found before anything is rendered."""
    run = RunFolder.open(path)
    run.metrics  # noqa: B018
    return run


def _finished_runs(folder: Path, warnings: list[str]) -> list[RunFolder]:
    """Read the finished runs in `folder`, and note the others."""
    runs = []
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.is_dir() and not path.name.startswith("."):
            run = RunFolder(path)
            if run.is_complete() and (path / "metrics.json").is_file():
                runs.append(_read_run(path))
            elif run.status == "running":
                warnings.append(f"The run {path.name} is still running and is left out.")
            else:
                reason = f" ({run.failure.text})" if run.failure else ""
                warnings.append(f"The run {path.name} is not finished{reason} and is left out.")
    return runs


def _check_same_classes(runs: Sequence[RunFolder]) -> None:
    for run in runs[1:]:
        if run.record.dataset.classes != runs[0].record.dataset.classes:
            raise RunFolderError(
                f"{runs[0].path} and {run.path} have different classes; report on one dataset at a time"
            )


def _scores_of_runs(runs: Sequence[RunFolder]) -> dict[str, MeanScores]:
    table = results_table(runs, None)
    methods = dict.fromkeys(run.record.method for run in runs)
    return {method: mean_scores(table, method, runs, None) for method in methods}


def _take_intervals(scores: dict[str, MeanScores], summary: ComparisonSummary, warnings: list[str]) -> None:
    """Take the intervals from ``summary.json``, except where its mean is not that of ``results.csv``."""
    differing: list[str] = []
    for entry in summary.methods:
        for group, metrics in entry.scores.items():
            for metric, given in metrics.items():
                own = scores.get(entry.method, {}).get(group, {}).get(metric)
                if own is None or own.mean is None:
                    continue
                same = given.mean is not None and abs(given.mean - own.mean) <= 1e-6
                low, high = (given.low, given.high) if same else (None, None)
                images = given.images or own.images
                scores[entry.method][group][metric] = own._replace(low=low, high=high, images=images)
                if not same:
                    differing.append(
                        f"{entry.method}, {metric}, {group}: {given.mean} in summary.json, {own.mean} in results.csv"
                    )
    if differing:
        warnings.append(
            f"summary.json and results.csv disagree on {len(differing)} scores (first: {differing[0]}). "
            "Shown are those of results.csv, without interval; run `compare` again to bring them together."
        )
