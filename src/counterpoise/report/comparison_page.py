"""Building the page: read, compute, fill the template, write in one move."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path
from typing import Any

from counterpoise.evaluation import METRICS, page_metrics
from counterpoise.exceptions import InputError, RunFolderError
from counterpoise.files import atomic_path
from counterpoise.report import curves, tables
from counterpoise.report import headline as words
from counterpoise.report.comparison import Comparison, read_any
from counterpoise.report.kit import figures
from counterpoise.report.kit.html import json_for_script, script_hash
from counterpoise.runs.records import Run, read_embedding, read_history, read_mistakes, read_predictions

SCRIPTS = ("charts.js", "tables.js", "threshold.js", "report.js")
MOST_RUNS = 30
"""So many runs are shown closely, the first draw of every method before the second of any."""

MOST_CELLS = 400_000
"""So many confusion-matrix cells and threshold counts at most, or the page grows too heavy to open."""


def build_report(paths: Sequence[Path], output: Path, *, title: str | None = None) -> Path:
    """Write one self-contained HTML file about a comparison or about single runs.

    Parameters
    ----------
    paths : sequence of Path
        One study folder, as ``counterpoise compare`` writes it, or one or more run folders.
    output : Path
        The file to write; inside a folder that exists already it is named ``report.html``.
    title : str, optional
        The page's title; by default it names the data set.

    Returns
    -------
    Path
        The file written. It holds all it needs and asks nothing of the network.

    Raises
    ------
    RunFolderError
        If a folder is missing or broken, or the file cannot be written.
    """
    study = read_any([Path(path) for path in paths])
    page = render(study, title=title)
    output = Path(output)
    if output.is_dir():
        output = output / "report.html"
    with atomic_path(output) as temporary:
        # A file name that is not valid UTF-8 may have come in as surrogates, which cannot be written.
        temporary.write_bytes(page.encode("utf-8", "replace"))
    return output


def render(study: Comparison, *, title: str | None = None) -> str:
    """Return the page about `study` as HTML.

    Parameters
    ----------
    study : Comparison
        What :func:`read_comparison` or :func:`read_runs` returns.
    title : str, optional
        The page's title.

    Returns
    -------
    str
        HTML in which every name is escaped and only the page's own scripts may run.
    """
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup
    from plotly.offline import get_plotlyjs

    folder = files("counterpoise.report")
    plotly = get_plotlyjs()
    parts = [folder.joinpath(name).read_text(encoding="utf-8") for name in SCRIPTS]
    script = '(() => {\n"use strict";\n' + "\n".join(parts) + "\n})();\n"
    winner = words.winner_of(study)
    shown = closely(study.runs)
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string(folder.joinpath("report.html.j2").read_text(encoding="utf-8"))
    return template.render(
        title=title or _title(study),
        subtitle=_subtitle(study),
        headline=words.headline(study),
        warnings=words.warnings_of(study),
        study=study,
        several=len(study.methods) > 1,
        split=study.runs[0].split if study.runs else "test",
        metric_titles=[(metric.name, metric.title) for metric in page_metrics()],
        metric_title=METRICS[study.metric].title,
        tables=tables.methods_tables(study, winner if len(study.methods) > 1 else None),
        tests=tables.tests_table(study),
        distribution=_distribution_words(shown),
        shown=shown,
        left_out=len(study.runs) - len(shown),
        provenance=tables.provenance(study, study.runs),
        run_rows=tables.run_rows(study.runs),
        skipped=shown[0].dataset.get("skipped") or [] if shown else [],
        style=Markup(folder.joinpath("report.css").read_text(encoding="utf-8")),
        plotly=Markup(plotly),
        script=Markup(script),
        data=Markup(json_for_script(page_data(study, shown, winner))),
        script_sources=Markup(" ".join((script_hash(plotly), script_hash(script)))),
    )


def closely(runs: Sequence[Run]) -> list[Run]:
    """Return the runs to show closely, in the study's order: early draws before late ones."""
    chosen: list[Run] = []
    cells = 0
    for run in sorted(runs, key=lambda run: run.draw):
        size = len(run.classes)
        cost = min(size * size, sum(run.counts("test") or [size * size])) + 2 * curves.THRESHOLDS * size
        if chosen and (len(chosen) >= MOST_RUNS or cells + cost > MOST_CELLS):
            break
        if run.scores:
            chosen.append(run)
            cells += cost
    return [run for run in runs if run in chosen]


def page_data(study: Comparison, shown: Sequence[Run], winner: str | None) -> dict[str, Any]:
    """Return everything the page's scripts draw, ready to be written as JSON."""
    distributions: list[dict[str, Any]] = []
    draws: set[int] = set()
    for run in shown:
        figure = None if run.draw in draws else figures.distribution(run)
        draws.add(run.draw)
        if figure and all(figure != other["figure"] for other in distributions):
            distributions.append({"draw": run.draw, "figure": figure})
    return {
        "classes": list(shown[0].classes) if shown else [],
        "first": winner if any(run.method == winner for run in shown) else None,
        "overview": figures.overview(study) if len(study.methods) > 1 else None,
        "distributions": sorted(distributions, key=lambda item: item["draw"]),
        "runs": [_run_data(study, run) for run in shown],
    }


def _run_data(study: Comparison, run: Run) -> dict[str, Any]:
    """Return one run's numbers and figures."""
    scores = run.scores or {}
    predictions = read_predictions(run) if run.test else None
    history = read_history(run)
    points = read_embedding(run)
    data: dict[str, Any] = {
        "method": run.method,
        "title": study.title_of(run.method),
        "draw": run.draw,
        "split": run.split,
        "confusion": [
            [row, column, count]
            for row, counts in enumerate(scores["confusion_matrix"])
            for column, count in enumerate(counts)
            if count
        ],
        "rows": tables.class_rows(run),
        "mistakes": read_mistakes(run),
        "projection": points["projection"] if points else "",
        "hasSynthetic": bool(points and any(points["synthetic"])),
        "figures": {"confusion": figures.confusion(run)},
        "thresholds": None,
    }
    if predictions is not None and len(predictions.true):
        try:
            per_class, macro = curves.class_curves(
                predictions, [record.get("auc") for record in scores["per_class"]]
            )
            data["thresholds"] = asdict(curves.threshold_counts(predictions))
        except InputError as error:
            raise RunFolderError(f"{run.folder / 'predictions.csv'}: {error}") from error
        data["figures"]["roc"] = figures.roc(run, per_class, macro)
    if history:
        data["figures"]["loss"], data["figures"]["scores"] = figures.learning(history)
    if points:
        data["figures"]["embedding"] = figures.embedding(run, points)
    return data


def _title(study: Comparison) -> str:
    if len(study.methods) == 1:
        return f"{study.title_of(study.methods[0])} on {_name(study)}"
    return f"{len(study.methods)} methods on {_name(study)}"


def _name(study: Comparison) -> str:
    name = study.runs[0].dataset.get("name") if study.runs else study.summary.get("dataset")
    return str(name or "an image set")


def _subtitle(study: Comparison) -> str:
    """Return the data's size in words."""
    if not study.runs:
        return f"{study.draws} draws"
    run = study.runs[0]
    totals = {split: sum(run.counts(split) or ()) for split in ("train", "validation", "test")}
    sizes = ", ".join(f"{total:,} {split}" for split, total in totals.items() if total)
    draws = "one draw" if study.draws <= 1 else f"{study.draws} draws"
    return f"{len(run.classes)} classes · images: {sizes} · {draws}"


def _distribution_words(shown: Sequence[Run]) -> dict[str, Any] | None:
    """Return the imbalance in numbers: per draw the ratio and the names of the rare classes."""
    lines: list[dict[str, Any]] = []
    for run in shown:
        counts = run.counts("train")
        line = {"draw": run.draw, "rare": [run.classes[index] for index in run.minority]}
        if counts and line["draw"] not in [other["draw"] for other in lines]:
            least = min(counts)
            ratio = f"{max(counts) / least:.3g}" if least else "infinite"
            lines.append({**line, "least": f"{least:,}", "most": f"{max(counts):,}", "ratio": ratio})
    return (
        {"draws": lines, "differ": any(line["rare"] != lines[0]["rare"] for line in lines)} if lines else None
    )
