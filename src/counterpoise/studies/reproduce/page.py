"""The page of a table, in HTML and in Markdown: renders ``summary.json`` and the pictures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from counterpoise.evaluation import METRICS, score_title
from counterpoise.report import NONE, Cell, Line, Table, count, mean_text, signed, write_page
from counterpoise.studies.reproduce import words
from counterpoise.studies.reproduce.words import Summary

PICTURES = {
    "lines.png": "Each score over the imbalance ratio",
    "ranks.png": "Critical-difference diagram",
}
_LEGENDS = {
    "lines.png": "Published dashed on the left, ours solid on the right, with 95 % intervals over repeats; the scales "
    "of a row are the same.",
    "ranks.png": "Mean ranks of the methods that all lines have; a bar joins those that do not differ at the 5 % "
    "level. With few lines only large differences show.",
}


def write_pages(summary: Summary, folder: Path) -> None:
    """Write ``page.html``, which holds the pictures in `folder`, and ``page.md``, which names them."""
    content = {
        "title": summary["title"],
        "subtitle": f"{summary['paper']}: {summary['table']}, published and measured again, "
        f"{count(summary['draws'], 'repeat')}",
        "sections": [
            ("result", "Result"),
            ("claims", "Claims"),
            ("numbers", "Numbers"),
            ("making", "Details"),
        ],
        "s": summary,
        "missing": words.missing(summary),
        "result": words.closeness(summary) + words.verdicts(summary),
        "agreement": agreement_table(summary),
        "main": words.claims_table(summary, main=True),
        "details": words.claims_table(summary, main=False),
        "contradictions": words.contradictions(summary),
        "pictures": [
            (folder / name, title, _LEGENDS[name])
            for name, title in PICTURES.items()
            if (folder / name).exists()
        ],
        "tables": number_tables(summary),
        "ranks": ranks_table(summary),
        "failed": [f"{f['method']}, repeat {f['draw']}: {f['error']}" for f in summary["failed"]],
        "facts": words.facts(summary),
    }
    for name in ("page.html", "page.md"):
        write_page(folder / name, f"studies/reproduce/{name}.j2", **content)


def number_tables(summary: Summary) -> list[Table]:
    """Return one table per score, lines down and methods across; of one method alone, its classes down."""
    cells = {(c["setting"], c["method"], c["classes"], c["metric"]): c for c in summary["cells"]}
    methods = list(dict.fromkeys(c["method"] for c in summary["cells"]))
    keys = list(dict.fromkeys((c["classes"], c["metric"]) for c in summary["cells"]))
    lines = {line["name"]: line["title"] for line in summary["lines"]}
    flagged = {_key(c) for c in summary["contradictions"]}
    best = {(b["setting"], b["classes"], b["metric"]): b for b in summary["best"]} if len(methods) > 1 else {}

    def show(name: str, method: str, classes: str, metric: str) -> Cell:
        key = (name, method, classes, metric)
        cell = cells.get(key)
        if cell is None:
            return NONE
        top = best.get((name, classes, metric), {"published": (), "ours": ()})
        published = NONE if cell["published"] is None else f"{cell['published']:.3f}"
        shown = [
            Line(published + (" ⚠" if key in flagged else ""), "best" if method in top["published"] else ""),
            Line(ours(cell, summary["draws"]), "best" if method in top["ours"] else ""),
        ]
        return shown + ([] if cell["difference"] is None else [Line(signed(cell["difference"]), "quiet")])

    if len(methods) > 1:
        return [
            Table(
                score_title(metric, classes),
                ["", *methods],
                [
                    [title, *(show(name, m, classes, metric) for m in methods)]
                    for name, title in lines.items()
                ],
            )
            for classes, metric in keys
        ]
    (method,) = methods
    return [
        Table(
            f"{method}: {METRICS[metric].short_title}",
            ["", *lines.values()],
            [
                [f"class {classes}", *(show(name, method, classes, metric) for name in lines)]
                for classes, own in keys
                if own == metric
            ],
        )
        for metric in dict.fromkeys(metric for _, metric in keys)
    ]


def _key(cell: Mapping[str, Any]) -> tuple[str, str, str, str]:
    return cell["setting"], cell["method"], cell["classes"], cell["metric"]


def ours(cell: Mapping[str, Any], planned: int) -> str:
    """Return our mean with half its interval, and its repeats where these are fewer than planned."""
    if cell["mean"] is None:
        return "not run"
    few = f" ({count(cell['n'], 'repeat')})" if cell["n"] < planned else ""
    return mean_text(cell["mean"], cell["low"], cell["high"]) + few


def agreement_table(summary: Summary) -> Table:
    """Return, for each method, how many numbers are compared, their mean difference, and where the published are."""
    several = len(summary["agreement"]) > 2
    rows = [
        [
            a["method"],
            str(a["compared"]),
            signed(a["difference"]),
            f"{a['spread']:.3f}",
            *(str(a[name]) if a["judged"] else "" for name in ("inside", "above", "below")),
        ]
        for a in summary["agreement"]
        if a["compared"] and (several or a["method"] == "all")
    ]
    head = ["", "numbers compared", "ours minus published, mean", "distance, mean"]
    head += ["published in the range of one repeat of ours", "above", "below"]
    return Table("Agreement with the published numbers", head, rows)


def ranks_table(summary: Summary) -> Table:
    """Return the mean ranks: two rows for each score, published and ours, 1 the best."""
    methods = list(dict.fromkeys(m for ranks in summary["ranks"] for m in ranks["methods"]))
    rows = []
    for ranks in summary["ranks"]:
        own = dict(zip(ranks["methods"], ranks["mean"], strict=True))
        p, difference = ranks["p_value"], ranks["critical_difference"]
        rows.append(
            [
                score_title(ranks["metric"], ranks["classes"]),
                ranks["of"],
                *(f"{own[m]:.2f}" if m in own else "" for m in methods),
                str(ranks["blocks"]),
                "" if p is None else f"{p:.3f}",
                "" if difference is None else f"{difference:.2f}",
            ]
        )
    return Table("Mean ranks", ["", "", *methods, "lines", "p (Friedman)", "critical difference"], rows)
