"""The page of a table, in HTML and in Markdown: published beside ours, what follows, and how it was made."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

from counterpoise.evaluation import METRICS, score_title
from counterpoise.files import write_text
from counterpoise.studies.reproduce import words
from counterpoise.studies.reproduce.words import draws, with_sign

PICTURES = {
    "lines.png": "Each score over the imbalance ratio",
    "ranks.png": "Critical-difference diagram",
}
_LEGENDS = {
    "lines.png": "Published dashed on the left, ours solid on the right, with 95 % intervals over draws; the scales "
    "of a row are the same.",
    "ranks.png": "Mean ranks of the methods that all lines have; a bar joins those that do not differ at the 5 % "
    "level. With few lines only large differences show.",
}


class Shown(NamedTuple):
    """A cell as it is shown."""

    published: str
    ours: str
    difference: str
    best_published: bool
    best: bool
    contradicted: bool


class Section(NamedTuple):
    """A table of the page."""

    title: str
    head: list[str]
    rows: list[tuple[str, list[Shown | None]]]


def write_pages(summary: Mapping[str, Any], folder: Path) -> None:
    """Write ``page.html``, which holds its pictures, and ``page.md``, which names them.

    Parameters
    ----------
    summary : dict
        As in ``summary.json``.
    folder : Path
        Where the pictures lie, if there are any, and the pages go.
    """
    from jinja2 import Environment, StrictUndefined

    pictures = {name: title for name, title in PICTURES.items() if (folder / name).exists()}
    content = {
        "s": summary,
        "sections": sections(summary),
        "pictures": pictures,
        "legends": _LEGENDS,
        "encoded": {name: base64.b64encode((folder / name).read_bytes()).decode() for name in pictures},
        "words": words,
        "main": words.claims(summary, main=True),
        "details": words.claims(summary, main=False),
        "agreement": agreement_rows(summary),
        "ranks": rank_rows(summary),
    }
    for name, escape in (("page.html", True), ("page.md", False)):
        text = (files(__package__) / f"{name}.j2").read_text(encoding="utf-8")
        environment = Environment(
            autoescape=escape, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
        )
        environment.filters["cell"] = lambda value: str(value).replace("|", "\\|").replace("<", "&lt;")
        write_text(folder / name, environment.from_string(text).render(content))


def sections(summary: Mapping[str, Any]) -> list[Section]:
    """Return the tables: one for each score, lines down and methods across; of one method alone, its classes down."""
    cells = {(c["setting"], c["method"], c["classes"], c["metric"]): c for c in summary["cells"]}
    methods = list(dict.fromkeys(c["method"] for c in summary["cells"]))
    keys = list(dict.fromkeys((c["classes"], c["metric"]) for c in summary["cells"]))
    titles = {line["name"]: line["title"] for line in summary["lines"]}
    show = _Shower(summary)
    if len(methods) > 1:
        return [
            Section(
                score_title(metric, classes),
                methods,
                [
                    (title, [show(cells.get((name, m, classes, metric))) for m in methods])
                    for name, title in titles.items()
                ],
            )
            for classes, metric in keys
        ]
    (method,) = methods
    return [
        Section(
            f"{method}: {METRICS[metric].short_title}",
            list(titles.values()),
            [
                (f"class {classes}", [show(cells.get((name, method, classes, metric))) for name in titles])
                for classes, own in keys
                if own == metric
            ],
        )
        for metric in dict.fromkeys(metric for _, metric in keys)
    ]


class _Shower:
    """Knows of each cell whether it is the best of its row, and whether it is contradicted."""

    def __init__(self, summary: Mapping[str, Any]) -> None:
        self.draws = summary["draws"]
        self.flagged = {_key(c) for c in summary["contradictions"]}
        single = len({c["method"] for c in summary["cells"]}) == 1
        self.best = {} if single else {(b["setting"], b["classes"], b["metric"]): b for b in summary["best"]}

    def __call__(self, cell: Mapping[str, Any] | None) -> Shown | None:
        if cell is None:
            return None
        best = self.best.get(
            (cell["setting"], cell["classes"], cell["metric"]), {"published": (), "ours": ()}
        )
        return Shown(
            published="" if cell["published"] is None else f"{cell['published']:.3f}",
            ours=ours(cell, self.draws),
            difference="" if cell["difference"] is None else with_sign(cell["difference"]),
            best_published=cell["method"] in best["published"],
            best=cell["method"] in best["ours"],
            contradicted=_key(cell) in self.flagged,
        )


def _key(cell: Mapping[str, Any]) -> tuple[str, str, str, str]:
    return cell["setting"], cell["method"], cell["classes"], cell["metric"]


def ours(cell: Mapping[str, Any], planned: int) -> str:
    """Return our mean with half its interval, and its draws where these are fewer than planned.

    Examples
    --------
    >>> ours({"mean": 0.81, "half_width": 0.01, "n": 5}, 5), ours({"mean": 0.81, "half_width": None, "n": 1}, 5)
    ('0.810 ± 0.010', '0.810 (1 draw)')
    >>> ours({"mean": None, "n": 0}, 5)
    'not run'
    """
    if cell["mean"] is None:
        return "not run"
    half = "" if cell["half_width"] is None else f" ± {cell['half_width']:.3f}"
    return f"{cell['mean']:.3f}{half}" + (f" ({draws(cell['n'])})" if cell["n"] < planned else "")


def agreement_rows(summary: Mapping[str, Any]) -> list[list[str]]:
    """Return, for each method, how many numbers are compared, their mean difference, and where the published are."""
    return [
        [
            a["method"],
            str(a["compared"]),
            with_sign(a["difference"]),
            f"{a['spread']:.3f}",
            *(str(a[name]) if a["judged"] else "" for name in ("inside", "above", "below")),
        ]
        for a in summary["agreement"]
        if a["compared"] and (len(summary["agreement"]) > 2 or a["method"] == "all")
    ]


def rank_rows(summary: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Return head and rows of the table of mean ranks: two rows for each score, published and ours, 1 the best."""
    tables: Sequence[Mapping[str, Any]] = summary["ranks"]
    methods = list(dict.fromkeys(m for t in tables for m in t["methods"]))
    rows = []
    for table in tables:
        own = dict(zip(table["methods"], table["mean"], strict=True))
        p, difference = table["p_value"], table["critical_difference"]
        rows.append(
            [
                score_title(table["metric"], table["classes"]),
                table["of"],
                *(f"{own[m]:.2f}" if m in own else "" for m in methods),
                str(table["blocks"]),
                "" if p is None else f"{p:.3f}",
                "" if difference is None else f"{difference:.2f}",
            ]
        )
    return ["", *methods, "lines", "p (Friedman)", "critical difference"], rows
