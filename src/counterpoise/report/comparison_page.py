"""The page about a comparison or about single runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from counterpoise.evaluation import BASELINE, ChoiceDict, page_groups, page_metrics
from counterpoise.exceptions import InputError, RunFolderError
from counterpoise.report import figures, tables
from counterpoise.report.candidates import candidates_table
from counterpoise.report.comparison import Comparison, read_any
from counterpoise.report.headline import headline, warnings_of
from counterpoise.report.kit.html import Table, json_for_script, resource, script_hash, write_page
from counterpoise.report.kit.wording import count
from counterpoise.runs import RunFolder

SCRIPTS = ("charts.js", "tables.js", "threshold.js", "report.js")
CLOSER = [("confusion", "Confusions"), ("thresholds", "ROC and threshold"), ("learning", "Learning")]
CLOSER += [("embedding", "Map"), ("mistakes", "Mistakes")]
MOST_RUNS = 30
"""So many runs are shown closely, the first repeat of every method before the second of any."""

MOST_CELLS = 400_000
"""So many confusion-matrix cells and threshold counts at most, or the page grows too heavy to open."""
MOST_MISTAKES = 24


def build_report(
    paths: Sequence[Path],
    output: Path,
    *,
    title: str | None = None,
    template: str = "report/comparison.html.j2",
    sections: Sequence[tuple[str, str]] = (),
    more_warnings: Sequence[str] = (),
    charts: Mapping[str, object] | None = None,
    **more: object,
) -> Path:
    """Write one self-contained HTML file about a comparison or about single runs, and return its path.

    `paths` has one study folder, or one or more run folders. In a folder `output` the file is named ``report.html``.
    By default, `title` names the dataset. A `template` that extends that of this page finds `more` beside its content;
    its own `sections` (id, name) come after the result, `more_warnings` before the page's own, and `charts` are drawn
    in the elements with their ids. A missing or damaged folder raises RunFolderError.
    """
    content = _content(read_any([Path(path) for path in paths]), title, charts or {})
    content["sections"][1:1] = sections
    content["warnings"][:0] = more_warnings
    output = Path(output)
    if output.is_dir():
        output = output / "report.html"
    write_page(output, template, **content, **more)
    return output


def _content(study: Comparison, title: str | None, charts: Mapping[str, object]) -> dict[str, Any]:
    from markupsafe import Markup
    from plotly.offline import get_plotlyjs

    plotly, several, shown = get_plotlyjs(), len(study.methods) > 1, closely(study.runs)
    parts = "\n".join(resource(f"report/{name}") for name in SCRIPTS)
    script = f'(() => {{\n"use strict";\n{parts}\n}})();\n'
    known = [run.record.dataset for run in shown if run.record.dataset.counts.get("train")]
    methods = f"{len(study.methods)} methods" if several else study.titles[study.methods[0]]
    return {
        "title": title or f"{methods} on {study.dataset}",
        "subtitle": " · ".join(_sizes(study)),
        "sections": [
            ("result", "Result"),
            *([("data", "Data")] if known else []),
            ("methods", "Methods" if several else "Scores"),
            *(CLOSER if shown else []),
            ("making", "Details"),
        ],
        "headline": headline(study),
        "warnings": warnings_of(study),
        "study": study,
        "several": several,
        "metrics": page_metrics(),
        "groups": [g for g in page_groups() if any(g.name in own for own in study.scores.values())],
        "baseline": BASELINE,
        "candidates": _candidates(study),
        "tests": tables.tests_table(study),
        "datasets": known,
        "differ": len({dataset.minority for dataset in known}) > 1,
        "shown": shown,
        "left_out": len(study.runs) - len(shown),
        "provenance": tables.provenance(study),
        "runs": tables.runs_table(study.runs),
        "skipped": shown[0].record.dataset.skipped if shown else (),
        "plotly": Markup(plotly),
        "script": Markup(script),
        "data": Markup(json_for_script(page_data(study, shown) | {"charts": charts})),
        "script_sources": Markup(" ".join((script_hash(plotly), script_hash(script)))),
    }


def _candidates(study: Comparison) -> Table | None:
    """Return the table of a choice by cross-validation; None where there was none."""
    found = study.choice.candidates if study.choice else None
    return None if found is None else candidates_table(cast(ChoiceDict, found), study.titles)


def closely(runs: Sequence[RunFolder]) -> list[RunFolder]:
    """Return the runs to show closely, in the study's order: early repeats before late ones."""
    chosen: list[RunFolder] = []
    cells = 0
    for run in sorted(runs, key=lambda run: run.record.draw):
        dataset = run.record.dataset
        size = len(dataset.classes)
        matrix = min(size * size, sum(dataset.counts.get("test") or [size * size]))
        cost = matrix + 2 * tables.THRESHOLDS * size
        if chosen and (len(chosen) >= MOST_RUNS or cells + cost > MOST_CELLS):
            break
        if run.scores:
            chosen.append(run)
            cells += cost
    return [run for run in runs if run in chosen]


def page_data(study: Comparison, shown: Sequence[RunFolder]) -> dict[str, Any]:
    """Return everything the page's scripts draw, ready to be written as JSON."""
    distributions: list[dict[str, Any]] = []
    draws: set[int] = set()
    for run in shown:
        figure = None if run.record.draw in draws else figures.distribution(run.record.dataset)
        draws.add(run.record.draw)
        if figure and all(figure != other["figure"] for other in distributions):
            distributions.append({"draw": run.record.draw, "figure": figure})
    return {
        "classes": list(shown[0].record.dataset.classes) if shown else [],
        "first": study.winner if any(run.record.method == study.winner for run in shown) else None,
        "overview": figures.overview(study) if len(study.methods) > 1 else None,
        "distributions": sorted(distributions, key=lambda item: item["draw"]),
        "runs": [_run_data(run, study.titles[run.record.method]) for run in shown],
    }


def _run_data(run: RunFolder, title: str) -> dict[str, Any]:
    """Return one run's numbers and figures."""
    scores, record = run.scores, run.record
    assert scores is not None  # only such runs are shown closely
    dataset, points = record.dataset, run.embedding
    predictions = run.predictions if run.metrics.test else None
    data: dict[str, Any] = {
        "method": record.method,
        "title": title,
        "draw": record.draw,
        "split": run.scored_split,
        "confusion": [
            [i, j, n] for i, row in enumerate(scores.confusion_matrix) for j, n in enumerate(row) if n
        ],
        "rows": tables.class_rows(run),
        "mistakes": [mistake.model_dump() for mistake in run.mistakes[:MOST_MISTAKES]],
        "projection": points.projection if points else "",
        "hasSynthetic": bool(points and "synthetic" in points.kind),
        "figures": {"confusion": figures.confusion(dataset)},
        "thresholds": None,
    }
    if predictions is not None and len(predictions.true):
        areas = [entry.score("auc") for entry in scores.per_class]
        try:
            data["figures"]["roc"] = figures.roc(dataset, tables.drawn_curves(predictions), areas)
            data["thresholds"] = tables.threshold_counts(predictions)
            data["tuned"] = tables.tuned_thresholds(run)
        except InputError as error:
            raise RunFolderError(f"{run.path / 'predictions.csv'}: {error}") from error
    if run.history:
        data["figures"]["loss"], data["figures"]["scores"] = figures.learning(run.history)
    if points:
        data["figures"]["embedding"] = figures.embedding(dataset, points)
    return data


def _sizes(study: Comparison) -> list[str]:
    """Return the size of the data in words."""
    repeats = count(max(study.repeats, 1), "repeat")
    if not study.runs:
        return [repeats]
    dataset = study.runs[0].record.dataset
    totals = {split: sum(dataset.counts.get(split) or ()) for split in ("train", "validation", "test")}
    sizes = ", ".join(f"{total:,} {split}" for split, total in totals.items() if total)
    return [f"{len(dataset.classes)} classes", f"images: {sizes}", repeats]
