"""Page of a table, in HTML and in Markdown, from ``summary.json`` and the pictures: its tables and sentences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from counterpoise.evaluation import METRICS, score_title
from counterpoise.report import NONE, Cell, Line, Table, count, decimals, mean_text, signed, write_page
from counterpoise.studies.reproduce.findings import SCORE_NAMES

if TYPE_CHECKING:
    from counterpoise.studies.reproduce.contradictions import Contradiction
    from counterpoise.studies.reproduce.findings import Finding
    from counterpoise.studies.reproduce.summary import CellEntry, TableSummary

PICTURES = ("lines.png", "ranks.png")
VERDICTS = ("confirmed", "refuted", "not decided", "not meaningful", "not run")
#: What the findings of a kind claim together.
KINDS = {
    "decline": "Every method declines from its smallest imbalance ratio to its largest",
    "resilience": "ADOS declines less than each other method of the paper or of ours, the recipe aside",
    "growth": "The greater the imbalance, the more AOS helps: ",
    "order": "",
    "degradation": "SMOTE in pixels degrades: ",
    "recipe-published": "This project's recipe is better than the best published number",
    "recipe-measured": "This project's recipe is better than the best other method, as measured here",
}
#: Kinds of which every claim has a sentence of its own.
EACH_ALONE = ("growth", "order", "degradation")


def write_pages(summary: TableSummary, folder: Path) -> None:
    """Write ``page.html``, which holds the pictures in `folder`, and ``page.md``, which names them."""
    content = {
        "missing": missing(summary),
        "result": closeness(summary) + verdicts(summary) + easier(summary),
        "agreement": agreement_table(summary),
        "main": claims_table(summary, main=True),
        "details": claims_table(summary, main=False),
        "contradictions": contradictions(summary),
        "pictures": [folder / name for name in PICTURES if (folder / name).exists()],
        "tables": number_tables(summary),
        "ranks": ranks_table(summary),
        "unranked": [m for m in summary["methods"] if all(m not in r["methods"] for r in summary["ranks"])],
        "failed": [
            f"{f.get('name', '')} {f['method']}, repeat {f['draw']}: {f.get('error') or f['reason']}".strip()
            for f in [*summary["failed"], *summary.get("not_applicable", [])]
        ],
    }
    render_pages(summary, content, folder)


def render_pages(summary: Mapping[str, Any], content: Mapping[str, Any], folder: Path) -> None:
    """Write both pages of a summary that have this content."""
    for name in ("page.html", "page.md"):
        write_page(folder / name, f"studies/reproduce/{name}.j2", s=summary, **content)


def number_tables(summary: TableSummary) -> list[Table]:
    """Return one table per score, lines down and methods across; of one method alone, its classes down."""
    cells = {_key(cell): cell for cell in summary["cells"]}
    methods = list(dict.fromkeys(cell["method"] for cell in summary["cells"]))
    keys = list(dict.fromkeys((cell["classes"], cell["metric"]) for cell in summary["cells"]))
    lines = {line["name"]: line["title"] for line in summary["lines"]}
    flagged = {_key(cell) for cell in summary["contradictions"]}
    best = {(b["setting"], b["classes"], b["metric"]): b for b in summary["best"]}

    def show(name: str, method: str, classes: str, metric: str) -> Cell:
        key = (name, method, classes, metric)
        if key not in cells:
            return NONE
        cell, top = cells[key], best[name, classes, metric]
        ours = mean_text(cell["mean"], cell["low"], cell["high"]) + _few(cell["n"], summary["draws"])
        texts = [
            (decimals(cell["published"]) + (" ⚠" if key in flagged else ""), top["published"]),
            ("not run" if cell["mean"] is None else ours, top["ours"]),
        ]
        shown = [Line(text, "best" if len(methods) > 1 and method in best else "") for text, best in texts]
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
    tables = []
    for metric in dict.fromkeys(metric for _, metric in keys):
        rows = [
            [f"class {classes}", *(show(name, methods[0], classes, metric) for name in lines)]
            for classes, own in keys
            if own == metric
        ]
        tables.append(Table(f"{methods[0]}: {METRICS[metric].short_title}", ["", *lines.values()], rows))
    return tables


def _key(cell: CellEntry | Contradiction) -> tuple[str, str, str, str]:
    return cell["setting"], cell["method"], cell["classes"], cell["metric"]


def _few(repeats: int, planned: int) -> str:
    """Return the repeats of a number where they are fewer than planned."""
    return "" if repeats >= planned else f" ({count(repeats, 'repeat')})"


def agreement_table(summary: TableSummary) -> Table:
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


def ranks_table(summary: TableSummary) -> Table:
    """Return the mean ranks: two rows for each score, published and ours, 1 the best."""
    methods = list(dict.fromkeys(m for ranks in summary["ranks"] for m in ranks["methods"]))
    rows = []
    for ranks in summary["ranks"]:
        own = dict(zip(ranks["methods"], ranks["mean"], strict=True))
        p, difference = ranks["p_value"], ranks["critical_difference"]
        texts = [f"{own[m]:.2f}" if m in own else "" for m in methods]
        texts += [f"{ranks['blocks']} of {len(summary['lines'])}", "" if p is None else f"{p:.3f}"]
        texts += ["" if difference is None else f"{difference:.2f}"]
        rows.append([score_title(ranks["metric"], ranks["classes"]), ranks["of"], *texts])
    return Table("Mean ranks", ["", "", *methods, "lines", "p (Friedman)", "critical difference"], rows)


def claims_table(summary: TableSummary, *, main: bool) -> Table:
    """Return a row for each claim, of the whole table or of single lines, and a column for each score."""
    chosen = [f for f in summary["findings"] if f["main"] == main]
    scores = list(dict.fromkeys(f["score"] for f in chosen))
    rows: dict[tuple[str, str], dict[str, list[Line]]] = {}
    for f in chosen:
        rows.setdefault((f["claim"], f["where"]), {})[f["score"]] = _judged(f, summary["draws"])
    return Table(
        "Claims" if main else "Claims, line by line",
        ["claim", "where", *scores],
        [[*key, *(row.get(score, "") for score in scores)] for key, row in rows.items()],
        text=range(len(scores) + 2),
    )


def _judged(finding: Finding, planned: int) -> list[Line]:
    """Return the verdict on a claim, the measured difference, and the number that it is compared with."""
    verdict, n = finding["verdict"], finding["n"]
    undecided, mark = verdict == "not decided", verdict.replace(" ", "-")
    shown = [Line(verdict + (f" by {count(n, 'repeat')}" if undecided else ""), mark)]
    if finding["difference"] is None:
        return shown
    shown.append(Line(_difference(finding) + ("" if undecided else _few(n, planned))))
    return shown + ([Line(f"than {finding['than']}", "quiet")] if finding["than"] else [])


def _difference(finding: Finding) -> str:
    return mean_text(finding["difference"], finding["low"], finding["high"], sign=True)


def verdicts(summary: TableSummary) -> list[str]:
    """Return a sentence for each kind of claim, or for each claim, with its verdicts, also those line by line."""
    groups: dict[str, tuple[list[Finding], list[Finding]]] = {}
    for f in sorted(summary["findings"], key=lambda f: list(KINDS).index(f["kind"])):
        title = KINDS[f["kind"]] + (f["claim"] if f["kind"] in EACH_ALONE else "")
        groups.setdefault(title, ([], []))[not f["main"]].append(f)
    return [
        f"{title}: {'; line by line '.join(map(_counted, filter(None, f)))}." for title, f in groups.items()
    ]


def _counted(findings: Sequence[Finding]) -> str:
    """Return the number of findings by verdict, and the scores of those that are refuted."""
    found = [f["verdict"] for f in findings]
    counts = [f"{found.count(verdict)} {verdict}" for verdict in VERDICTS if verdict in found]
    if set(found) == {"not run"}:
        return "not run"
    if len(counts) == 1:
        one = f" ({findings[0]['where']}, {_difference(findings[0])})"
        return found[0] + (one if len(found) == 1 else f" in all {len(found)} comparisons")
    refuted = ", ".join(dict.fromkeys(f["score"] for f in findings if f["verdict"] == "refuted"))
    by_score = f"; refuted: {refuted}" if refuted and len({f["score"] for f in findings}) > 1 else ""
    return f"of {len(found)} comparisons {', '.join(counts)}{by_score}"


def easier(summary: TableSummary) -> list[str]:
    """Return a sentence on lines where the baseline, too, is above the best published number; none without any."""
    where = dict.fromkeys(f["where"] for f in summary["findings"] if f["verdict"] == "not meaningful")
    names = [line["name"] for line in summary["lines"] if line["title"] in where]
    found = [d for c in summary["cells"] if c["setting"] in names and (d := c["difference"]) is not None]
    if not found:
        return []
    return [
        f"To be above the best published number is not meaningful on {'; '.join(where)}: the baseline alone is above "
        f"it, too, by one score or more. There {sum(d > 0 for d in found)} of {len(found)} numbers of the paper's own "
        f"methods are above the published ones, by {signed(sum(found) / len(found))} on average, so the images, the "
        "network or the protocol are easier here than in the paper, whatever the method."
    ]


def closeness(summary: TableSummary) -> list[str]:
    """Return sentences on the distance from the published numbers, and on whether the same methods are best."""
    whole = summary["agreement"][0]
    if (difference := whole["difference"]) is None:
        return ["No published number has one of ours beside it yet."]
    published = sum(cell["published"] is not None for cell in summary["cells"])
    sentences = [
        f"Of {published} published numbers {whole['compared']} have one of ours beside them. Ours are "
        f"{abs(difference):.3f} {'above' if difference >= 0 else 'below'} the published ones on "
        f"average, and {whole['spread']:.3f} away from them, above or below. These runs do not tell why; what the "
        "paper leaves open is listed below."
    ]
    if whole["judged"]:
        single = whole["compared"] - whole["judged"]
        sentences.append(
            f"A published number comes from one repeat: {whole['inside']} of {whole['judged']} are in the range in "
            f"which one further repeat of ours would fall (95 %), {whole['above']} above it and {whole['below']} below"
            f"{f'; {single} more have but one repeat here' if single else ''}."
        )
    same: dict[str, list[bool]] = {}
    for best in summary["best"]:
        if best["same"] is not None:
            same.setdefault(score_title(best["metric"], best["classes"]), []).append(best["same"])
    judged, rows = sum(map(len, same.values())), len(summary["best"])
    if judged:
        by_score = "; ".join(f"{name} {sum(found)} of {len(found)}" for name, found in same.items())
        few = f"; {rows - judged} further rows have fewer than two such methods" if judged < rows else ""
        sentences.append(
            f"In {sum(map(sum, same.values()))} of {judged} rows the best published method is "
            f"the best here, too, among the methods that have both numbers ({by_score}){few}."
        )
    firsts = Counter(method for best in summary["best"] for method in best["ours"])
    if len(summary["methods"]) > 1 and firsts:
        tops = ", ".join(f"{method} in {times}" for method, times in firsts.most_common())
        run = sum(bool(best["ours"]) for best in summary["best"])
        sentences.append(f"Of all methods that were run, the best of {run} of {rows} rows: {tops}.")
    return sentences


def missing(summary: TableSummary) -> list[str]:
    """Return a sentence for each line whose runs are not all done."""
    cells = sorted(summary["cells"], key=lambda cell: cell["n"])
    finished = {(cell["setting"], cell["method"]): cell["n"] for cell in cells}  # the largest is the last
    sentences = []
    for line in summary["lines"]:
        counts = {method: finished.get((line["name"], method), 0) for method in line["methods"]}
        planned = count(summary["draws"], "repeat")
        few = [f"{name} {n} of {planned}" for name, n in counts.items() if n < summary["draws"]]
        if few:
            sentences.append(f"{line['title']}: {', '.join(few) if any(counts.values()) else 'not run'}.")
    return sentences


def contradictions(summary: TableSummary) -> list[str]:
    """Return a sentence for each published number that contradicts others."""
    titles = {line["name"]: line["title"] for line in summary["lines"]}
    return [
        f"{titles[c['setting']]}, {c['method']}, "
        f"{SCORE_NAMES.get((c['classes'], c['metric'])) or score_title(c['metric'], c['classes'])}: "
        f"{c['value']:.3f} is published, but {c['expected']:.3f} {c['rule']}."
        for c in summary["contradictions"]
    ]
