"""The page of a table, in HTML and in Markdown: published beside ours, what follows, and how it was made."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

from counterpoise.files import write_text
from counterpoise.reproduce.findings import SCORE_NAMES

PICTURES = {
    "lines.png": "Each score over the imbalance ratio: published on the left, ours on the right",
    "ranks.png": "Critical-difference diagram: mean ranks of the methods, bars join those that do not differ",
}
_GROUPS = {"all": "all classes", "majority": "frequent classes", "minority": "rare classes"}
_METRICS = {
    "recall": "recall",
    "f1": "F1",
    "gmean": "G-mean",
    "precision": "precision",
    "accuracy": "accuracy",
}
ORDER = {"confirmed": 0, "refuted": 1, "not decided": 2, "not run": 3}


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


def write_pages(summary: dict[str, Any], folder: Path) -> None:
    """Write ``page.html``, which holds its pictures, and ``page.md``, which names them.

    Parameters
    ----------
    summary : dict
        As in ``summary.json``.
    folder : Path
        Where the pictures lie, if there are any, and the pages go.
    """
    from jinja2 import Environment, StrictUndefined

    pictures = {name: words for name, words in PICTURES.items() if (folder / name).exists()}
    encoded = {name: base64.b64encode((folder / name).read_bytes()).decode() for name in pictures}
    content = {
        "s": summary,
        "sections": sections(summary),
        "pictures": pictures,
        "encoded": encoded,
        "count": counted(summary["findings"]),
        "findings": sorted_findings(summary["findings"], main=True),
        "details": sorted_findings(summary["findings"], main=False),
        "signed": signed,
        "ranks": rank_rows(summary),
        "contradictions": [contradiction_words(c, summary) for c in summary["contradictions"]],
        "facts": facts(summary),
    }
    for name, escape in (("page.html", True), ("page.md", False)):
        text = (files(__package__) / f"{name}.j2").read_text(encoding="utf-8")
        environment = Environment(
            autoescape=escape, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
        )
        if not escape:
            environment.filters["cell"] = lambda value: str(value).replace("|", "\\|").replace("<", "&lt;")
        write_text(folder / name, environment.from_string(text).render(content))


def sorted_findings(findings: list[dict[str, Any]], *, main: bool) -> list[dict[str, Any]]:
    """Return the findings of the whole table, or of single lines, by their verdict."""
    return sorted((f for f in findings if f["main"] == main), key=lambda f: ORDER[f["verdict"]])


def counted(findings: list[dict[str, Any]]) -> str:
    """Return how many claims became what, in a sentence.

    Examples
    --------
    >>> counted([{"verdict": "confirmed", "main": True}, {"verdict": "not run", "main": True}])
    'Of 2 claims 1 confirmed, 0 refuted, 0 not decided, 1 not run.'
    """
    verdicts = [f["verdict"] for f in findings if f["main"]]
    return f"Of {len(verdicts)} claims {', '.join(f'{verdicts.count(v)} {v}' for v in ORDER)}."


def sections(summary: dict[str, Any]) -> list[Section]:
    """Return the tables: one for each score, lines down and methods across; of one method alone, its classes down."""
    cells = {(c["setting"], c["method"], c["classes"], c["metric"]): c for c in summary["cells"]}
    flagged = {(c["setting"], c["method"], c["classes"], c["metric"]) for c in summary["contradictions"]}
    methods = list(dict.fromkeys(c["method"] for c in summary["cells"]))
    keys = list(dict.fromkeys((c["classes"], c["metric"]) for c in summary["cells"]))
    titles = {line["name"]: line["title"] for line in summary["lines"]}
    if len(methods) == 1:
        found = []
        for metric in dict.fromkeys(metric for _, metric in keys):
            rows = [
                (
                    f"class {classes}",
                    _row(
                        [cells.get((name, methods[0], classes, metric)) for name in titles],
                        flagged,
                        mark=False,
                    ),
                )
                for classes, own in keys
                if own == metric
            ]
            found.append(
                Section(f"{methods[0]}: {_METRICS.get(metric, metric)}", list(titles.values()), rows)
            )
        return found
    return [
        Section(
            f"{_METRICS.get(metric, metric)}, {_GROUPS.get(classes, classes)}",
            methods,
            [
                (title, _row([cells.get((name, m, classes, metric)) for m in methods], flagged))
                for name, title in titles.items()
            ],
        )
        for classes, metric in keys
    ]


def _row(
    found: list[dict[str, Any] | None], flagged: set[tuple[str, str, str, str]], *, mark: bool = True
) -> list[Shown | None]:
    best = {
        which: max((c[which] for c in found if c is not None and c[which] is not None), default=None)
        for which in ("published", "mean")
    }
    return [
        None
        if c is None
        else Shown(
            published="" if c["published"] is None else f"{c['published']:.3f}",
            ours=ours(c),
            difference="" if c["difference"] is None else f"{c['difference']:+.3f}",
            best_published=mark and c["published"] is not None and c["published"] == best["published"],
            best=mark and c["mean"] is not None and c["mean"] == best["mean"],
            contradicted=(c["setting"], c["method"], c["classes"], c["metric"]) in flagged,
        )
        for c in found
    ]


def ours(cell: Mapping[str, Any]) -> str:
    """Return our mean with half its interval.

    Examples
    --------
    >>> ours({"mean": 0.81, "low": 0.80, "high": 0.82, "n": 5}), ours({"mean": 0.81, "low": None, "n": 1})
    ('0.810 ± 0.010', '0.810')
    >>> ours({"mean": None, "n": 0})
    'not run'
    """
    if cell["mean"] is None:
        return "not run"
    half = "" if cell["low"] is None else f" ± {(cell['high'] - cell['low']) / 2:.3f}"
    return f"{cell['mean']:.3f}{half}"


def signed(finding: Mapping[str, Any]) -> str:
    """Return a finding's difference with half its interval and its draws.

    Examples
    --------
    >>> signed({"difference": 0.02, "low": 0.01, "high": 0.03, "n": 5})
    '+0.020 ± 0.010 (5 draws)'
    """
    if finding["difference"] is None:
        return ""
    half = "" if finding["low"] is None else f" ± {(finding['high'] - finding['low']) / 2:.3f}"
    draws = "1 draw" if finding["n"] == 1 else f"{finding['n']} draws"
    return f"{finding['difference']:+.3f}{half} ({draws})"


def rank_rows(summary: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Return head and rows of the table of mean ranks: a row for each score, 1 the best."""
    tables = summary["ranks"]
    methods = list(dict.fromkeys(m for t in tables for m in t["methods"]))
    rows = []
    for table in tables:
        own = dict(zip(table["methods"], table["mean"], strict=True))
        p, difference = table["p_value"], table["critical_difference"]
        rows.append(
            [
                f"{_METRICS.get(table['metric'], table['metric'])}, {_GROUPS.get(table['classes'], table['classes'])}",
                *(f"{own[m]:.2f}" if m in own else "" for m in methods),
                str(table["blocks"]),
                "" if p is None else f"{p:.3f}",
                "" if difference is None else f"{difference:.2f}",
            ]
        )
    return [*methods, "lines", "p (Friedman)", "critical difference"], rows


def contradiction_words(contradiction: Mapping[str, Any], summary: dict[str, Any]) -> str:
    """Say which published number contradicts which others."""
    titles = {line["name"]: line["title"] for line in summary["lines"]}
    c = contradiction
    score = (
        SCORE_NAMES.get((c["classes"], c["metric"]))
        or f"{c['metric']} of the {_GROUPS.get(c['classes'], c['classes'])}"
    )
    return f"{titles[c['setting']]}, {c['method']}: {score} {c['value']:.3f}, but {c['expected']:.3f}: {c['rule']}."


def facts(summary: dict[str, Any]) -> list[tuple[str, str]]:
    """Return how the table was made, name and value."""
    runs = summary["runs"]
    found = [
        ("runs", f"{runs['done']} of {runs['planned']} done"),
        (
            "networks trained",
            f"{runs['trainings']} for {runs['planned']} runs, {runs['planned'] / max(1, runs['trainings']):.2f} each: "
            "methods that start from the same network share it",
        ),
        ("time of all runs", f"{runs['seconds'] / 60:.0f} minutes, added up"),
    ]
    if runs["elapsed"]:
        found.append(("from start to end", f"{runs['elapsed'] / 60:.0f} minutes"))
    if summary["versions"]:
        found.append(("versions", ", ".join(f"{name} {v}" for name, v in summary["versions"].items())))
    if summary["hardware"]:
        found.append(("hardware", ", ".join(f"{name}: {v}" for name, v in summary["hardware"].items())))
    return found
