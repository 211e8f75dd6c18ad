"""Sentences and the table of claims on the page of a table, from its summary."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from counterpoise.evaluation import score_title
from counterpoise.report import Line, Table, count, mean_text
from counterpoise.studies.reproduce.findings import SCORE_NAMES

Summary = Mapping[str, Any]

VERDICTS = ("confirmed", "refuted", "not decided", "not run")
#: What the findings of a kind claim together.
KINDS = {
    "decline": "Every method declines as the imbalance ratio grows",
    "resilience": "ADOS declines less than the other methods",
    "order": "",  # says itself what it holds against what
    "recipe-published": "This project's recipe is better than the best published number",
    "recipe-measured": "This project's recipe is better than the best other method, as measured here",
}


def claims_table(summary: Summary, *, main: bool) -> Table:
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


def _judged(finding: Mapping[str, Any], planned: int) -> list[Line]:
    """Return what became of a claim, the measured difference, and what it is held against."""
    verdict, n = finding["verdict"], count(finding["n"], "repeat")
    mark = verdict.replace(" ", "-")
    if finding["difference"] is None:
        return [Line(verdict, mark)]
    # The words of an open claim name its repeats; else they are all, if nothing is said.
    few = "" if verdict == "not decided" or finding["n"] == planned else f" ({n})"
    difference = mean_text(finding["difference"], finding["low"], finding["high"], sign=True) + few
    lines = [Line(f"{verdict} by {n}" if verdict == "not decided" else verdict, mark), Line(difference)]
    return lines + ([Line(f"than {finding['than']}", "quiet")] if finding["than"] else [])


def verdicts(summary: Summary) -> list[str]:
    """Return what became of each kind of claim, a sentence each."""
    sentences = []
    for kind, words in KINDS.items():
        chosen = [f for f in summary["findings"] if f["kind"] == kind and f["main"]]
        found = [f["verdict"] for f in chosen]
        words = words or ", ".join(dict.fromkeys(f["claim"] for f in chosen))
        counts = [f"{found.count(verdict)} {verdict}" for verdict in VERDICTS if verdict in found]
        if len(counts) == 1:
            all_of = f"all {len(found)} comparisons" if len(found) > 1 else "the one comparison"
            sentences.append(
                f"{words}: {found[0]} in {all_of}." if found[0] != "not run" else f"{words}: not run."
            )
        elif counts:
            sentences.append(f"{words}: of {len(found)} comparisons {', '.join(counts)}.")
    return sentences


def closeness(summary: Summary) -> list[str]:
    """Say how far our numbers are from the published ones, and whether the same methods are best."""
    whole = summary["agreement"][0]
    if not whole["compared"]:
        return ["No published number has one of ours beside it yet."]
    published = sum(cell["published"] is not None for cell in summary["cells"])
    sentences = [
        f"Of {published} published numbers {whole['compared']} have one of ours beside them. Ours are "
        f"{abs(whole['difference']):.3f} {'above' if whole['difference'] >= 0 else 'below'} the published ones on "
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


def missing(summary: Summary) -> list[str]:
    """Say which runs are not done, line by line."""
    finished: dict[tuple[str, str], int] = {}
    for cell in summary["cells"]:
        key = cell["setting"], cell["method"]
        finished[key] = max(finished.get(key, 0), cell["n"])
    sentences = []
    for line in summary["lines"]:
        counts = {method: finished.get((line["name"], method), 0) for method in line["methods"]}
        if not any(counts.values()):
            sentences.append(f"{line['title']}: not run.")
        elif min(counts.values()) < summary["draws"]:
            few = [
                f"{name} {n} of {count(summary['draws'], 'repeat')}"
                for name, n in counts.items()
                if n < summary["draws"]
            ]
            sentences.append(f"{line['title']}: {', '.join(few)}.")
    return sentences


def contradictions(summary: Summary) -> list[str]:
    """Say which published number contradicts which others."""
    titles = {line["name"]: line["title"] for line in summary["lines"]}
    return [
        f"{titles[c['setting']]}, {c['method']}, "
        f"{SCORE_NAMES.get((c['classes'], c['metric'])) or score_title(c['metric'], c['classes'])}: "
        f"{c['value']:.3f} is published, but {c['expected']:.3f} {c['rule']}."
        for c in summary["contradictions"]
    ]


def facts(summary: Summary) -> list[tuple[str, str]]:
    """Return how the table was made, name and value."""
    runs = summary["runs"]
    found = [
        (
            "runs",
            f"{runs['done']} of {runs['planned']} done"
            + (f", {runs['earlier']} of them taken over from earlier results" if runs["earlier"] else "")
            + f"; {runs['numbers']} numbers of the table",
        ),
        (
            "networks",
            f"{runs['trainings']} for {runs['planned']} runs, a factor of {runs['factor']:.2f}"
            + (": methods that start from the same network share it" if runs["factor"] > 1 else ""),
        ),
        ("time of all runs", f"{runs['seconds'] / 60:.0f} minutes, added up"),
    ]
    if runs["at_once"]:
        found.append(
            (
                "wall time",
                f"{runs['elapsed'] / 60:.0f} minutes in which runs were under way, {runs['at_once']:.1f} at a time",
            )
        )
    for name in ("versions", "hardware"):
        if summary[name]:
            found.append((name, ", ".join(f"{key}: {value}" for key, value in summary[name].items())))
    return found
