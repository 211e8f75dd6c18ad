"""Page of a table, in HTML and in Markdown, from ``summary.json`` and the pictures: its tables and sentences."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from counterpoise.evaluation import METRICS, score_title
from counterpoise.report import NONE, Cell, Line, Table, count, decimals, mean_text, signed, write_page
from counterpoise.studies.reproduce.findings import SCORE_NAMES

if TYPE_CHECKING:
    from counterpoise.studies.reproduce.contradictions import Contradiction
    from counterpoise.studies.reproduce.findings import Finding
    from counterpoise.studies.reproduce.summary import CellEntry, TableSummary

PICTURES = ("lines.png", "ranks.png")
VERDICTS = ("confirmed", "refuted", "not decided", "not run")
#: What the findings of a kind claim together.
KINDS = {
    "decline": "Every method declines as the imbalance ratio grows",
    "resilience": "ADOS declines less than the other methods",
    "order": "",  # the claims name their methods
    "recipe-published": "This project's recipe is better than the best published number",
    "recipe-measured": "This project's recipe is better than the best other method, as measured here",
}


def write_pages(summary: TableSummary, folder: Path) -> None:
    """Write ``page.html``, which holds the pictures in `folder`, and ``page.md``, which names them."""
    content = {
        "s": summary,
        "missing": missing(summary),
        "result": closeness(summary) + verdicts(summary),
        "agreement": agreement_table(summary),
        "main": claims_table(summary, main=True),
        "details": claims_table(summary, main=False),
        "contradictions": contradictions(summary),
        "pictures": [folder / name for name in PICTURES if (folder / name).exists()],
        "tables": number_tables(summary),
        "ranks": ranks_table(summary),
        "failed": [f"{f['method']}, repeat {f['draw']}: {f['error']}" for f in summary["failed"]],
    }
    for name in ("page.html", "page.md"):
        write_page(folder / name, f"studies/reproduce/{name}.j2", **content)


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
        texts += [str(ranks["blocks"]), "" if p is None else f"{p:.3f}"]
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
    mark = verdict.replace(" ", "-")
    if finding["difference"] is None:
        return [Line(verdict, mark)]
    difference = mean_text(finding["difference"], finding["low"], finding["high"], sign=True)
    if verdict == "not decided":
        lines = [Line(f"{verdict} by {count(n, 'repeat')}", mark), Line(difference)]
    else:
        lines = [Line(verdict, mark), Line(difference + _few(n, planned))]
    return lines + ([Line(f"than {finding['than']}", "quiet")] if finding["than"] else [])


def verdicts(summary: TableSummary) -> list[str]:
    """Return a sentence for each kind of claim, with its verdicts."""
    sentences = []
    for kind, title in KINDS.items():
        chosen = [f for f in summary["findings"] if f["kind"] == kind and f["main"]]
        found = [f["verdict"] for f in chosen]
        counts = [f"{found.count(verdict)} {verdict}" for verdict in VERDICTS if verdict in found]
        text = f"of {len(found)} comparisons {', '.join(counts)}"
        if set(found) == {"not run"}:
            text = "not run"
        elif len(counts) == 1:
            text = f"{found[0]} in " + (
                f"all {len(found)} comparisons" if len(found) > 1 else "the one comparison"
            )
        if chosen:
            sentences.append(f"{title or ', '.join(dict.fromkeys(f['claim'] for f in chosen))}: {text}.")
    return sentences


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
        sentences.append(
            f"A published number comes from one repeat: {whole['inside']} of {whole['judged']} are in the range in "
            f"which one further repeat of ours would fall (95 %), {whole['above']} above it and {whole['below']} below."
        )
    same: dict[str, list[bool]] = {}
    for best in summary["best"]:
        if best["same"] is not None:
            same.setdefault(score_title(best["metric"], best["classes"]), []).append(best["same"])
    if same:
        by_score = "; ".join(f"{name} {sum(found)} of {len(found)}" for name, found in same.items())
        sentences.append(
            f"In {sum(map(sum, same.values()))} of {sum(map(len, same.values()))} rows the best published method is "
            f"the best here, too, among the methods that have both numbers ({by_score})."
        )
    return sentences


def missing(summary: TableSummary) -> list[str]:
    """Return a sentence for each line whose runs are not all done."""
    finished: dict[tuple[str, str], int] = {}
    for cell in summary["cells"]:
        key = cell["setting"], cell["method"]
        finished[key] = max(finished.get(key, 0), cell["n"])
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
